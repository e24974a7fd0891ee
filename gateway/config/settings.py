"""What a gateway is told, complete and frozen, and how a document that breaks no rule becomes it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.schema import Document, ListenTable, PeerTable, PreconnectTable
from gateway.reasons import Thresholds
from pools.egress_rules import EgressRules
from pools.net.endpoint import Endpoint
from pools.net.keepalive import Keepalive
from pools.net.transport import Transport
from pools.peer import SEGMENT_BYTES, Peer
from workers.settings import (
    AccessLog,
    Limits,
    Listen,
    LogFormat,
    Mode,
    Outbound,
    Preconnected,
    Relay,
    Timeouts,
    WorkerSettings,
)

Users = dict[str, str]
"""Passwords by name."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """All that a gateway is told.

    Attributes:
        name: this gateway, among others.
        workers: how many; None for one on each core that this process may use.
        runtime_dir: where control socket, pid file and scoreboard are.
        log_format: of the log and of the access log.
        listens: in the file's order; the one that [overlay] makes is last.
        peers: the gateways that this one holds legs to.
        key_file: where the overlay's keys are, absolute; empty where there is no need for any.
        egress: what peers may open from here.
        preconnect: connections that are kept ready for their sessions.
        admin: where metrics and health are told over HTTP; None for nowhere.
        ready_when_filled: readiness waits until the pools of peers were filled once.
        health: from where on the gateway calls itself degraded.
    """

    name: str
    workers: int | None
    runtime_dir: Path
    log_format: LogFormat
    listens: tuple[Listen, ...]
    peers: tuple[Peer, ...]
    key_file: str
    egress: EgressRules
    preconnect: tuple[Preconnected, ...]
    timeouts: Timeouts
    limits: Limits
    keepalive: Keepalive
    outbound: Outbound
    relay: Relay
    access_log: AccessLog
    admin: Endpoint | None
    ready_when_filled: bool
    health: Thresholds

    def for_workers(self, workers: int, shard_seed: int) -> WorkerSettings:
        """Give what each of `workers` workers is told, who share connections by `shard_seed`, 0 to 2**32 - 1."""
        return WorkerSettings(
            listens=tuple(replace(listen, number=number) for number, listen in enumerate(self.listens)),
            workers=workers,
            shard_seed=shard_seed,
            gateway=self.name if self.key_file else "",
            peers=tuple(replace(peer, number=number) for number, peer in enumerate(self.peers)),
            key_file=self.key_file,
            egress=self.egress,
            preconnect=self.preconnect,
            timeouts=self.timeouts,
            limits=self.limits,
            keepalive=self.keepalive,
            outbound=self.outbound,
            relay=self.relay,
            access_log=self.access_log,
        )


def freeze(document: Document, *, users: Sequence[Users], key_file: str, runtime_dir: Path) -> GatewaySettings:
    """Freeze a document without problems.

    Args:
        users: of each listener, in the document's order.
        key_file: its whole path; empty for none.
        runtime_dir: where the document names none.
    """
    table = document.gateway
    return GatewaySettings(
        name=table.name,
        workers=table.workers,
        runtime_dir=Path(table.runtime_dir) if table.runtime_dir else runtime_dir,
        log_format=table.log_format,
        listens=_listens(document, users),
        peers=tuple(_peer(table) for table in document.peer),
        key_file=key_file,
        egress=EgressRules(tuple(document.egress.allow)),
        preconnect=tuple(map(_preconnected, document.egress.preconnect)),
        timeouts=Timeouts(**dict(document.timeouts)),
        limits=Limits(**dict(document.limits)),
        keepalive=Keepalive(**dict(document.keepalive)),
        outbound=Outbound(**dict(document.outbound)),
        relay=Relay(**dict(document.relay)),
        access_log=AccessLog(enabled=table.access_log == "on", format=table.log_format),
        admin=document.admin.http,
        ready_when_filled=document.admin.ready_when_filled,
        health=Thresholds(**dict(document.health)),
    )


def _listens(document: Document, users: Sequence[Users]) -> tuple[Listen, ...]:
    listens = [_listen(*pair) for pair in zip(document.listen, users, strict=True)]
    if document.overlay is not None and document.overlay.bind is not None:
        listens.append(_overlay(document, document.overlay.bind, document.overlay.transport))
    return tuple(listens)


def _overlay(document: Document, bind: Endpoint, transport: Transport) -> Listen:
    return Listen(
        name=Mode.OVERLAY.value,
        bind=bind,
        mode=Mode.OVERLAY,
        preserve_source=document.egress.preserve_source,
        transport=transport,
        window_bytes=max((table.initial_window or 0 for table in document.peer), default=0) * SEGMENT_BYTES,
    )


def _listen(table: ListenTable, users: Users) -> Listen:
    """Freeze one listener; the rules have seen to it that it has a name, a place and a mode."""
    assert table.name is not None
    assert table.bind is not None
    assert table.mode is not None
    return Listen(
        name=table.name,
        bind=table.bind,
        mode=Mode(table.mode),
        to=table.to,
        dual_stack=table.dual_stack,
        accept_proxy=table.accept_proxy,
        send_proxy=table.send_proxy,
        paths=_paths(table),
        choose=table.choose,
        early_syn=table.early_syn,
        capture=tuple(table.capture),
        users=users,
        preserve_source=table.preserve_source,
        congestion=table.congestion,
        backlog=table.backlog,
        preconnect=table.preconnect,
    )


def _paths(table: ListenTable) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, [table.via] if table.paths is None else table.paths))


def _preconnected(table: PreconnectTable) -> Preconnected:
    assert table.to is not None
    assert table.connections is not None
    return Preconnected(table.to, table.connections)


def _peer(table: PeerTable) -> Peer:
    """Freeze one peer; the rules have seen to it that it has a name and an address."""
    assert table.name is not None
    assert table.address is not None
    return Peer(
        name=table.name,
        address=table.address,
        transport=table.transport,
        congestion=table.congestion,
        initial_window=table.initial_window or 0,
        warm=table.warm,
        pool_min=table.pool_min,
        pool_max=table.pool_max,
        magazine=table.magazine,
        max_age=table.max_age,
    )
