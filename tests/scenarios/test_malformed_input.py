"""Thousands of broken SOCKS 5, HTTP and PROXY openings against one worker: it answers, lives on, and keeps nothing."""

import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pools.net.endpoint import Endpoint
from pools.net.errors import ProtocolError
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import forward, proxy
from tests.scenarios.peers_under_test import LOOPBACK, connect, hear, refusing, reset
from tests.workers.ingress.transcripts import Outcome, converse, spoiled
from workers.ingress import proxy_protocol
from workers.ingress.modes import conversation_for
from workers.settings import Listen, Mode

ENOUGH = 2_000
BATCH = 20
USERS = {"alice": "open sesame"}
_NOWHERE = Endpoint(LOOPBACK, 1)
_MODES = {
    "socks5": Listen("socks5", _NOWHERE, Mode.SOCKS5),
    "connect": Listen("connect", _NOWHERE, Mode.CONNECT),
    "mixed": Listen("mixed", _NOWHERE, Mode.MIXED),
    "locked": Listen("locked", _NOWHERE, Mode.MIXED, users=USERS),
}
_SOCKS = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01early"
_LOGIN = b"\x05\x02\x00\x02\x01\x05alice\x0bopen sesame\x05\x01\x00\x03\x0912.0.0.1.\x00\x01"
_CONNECT = b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nProxy-Authorization: Basic YTpi\r\n\r\nearly"
_GET = b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
_PROXY_V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
_PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"


class Goodbye(Enum):
    """What a client does once it has said its piece."""

    WAIT = auto()
    FIN = auto()
    RESET = auto()


@dataclass(frozen=True, slots=True)
class Attack:
    listener: str
    data: bytes
    goodbye: Goodbye

    @property
    def outcome(self) -> Outcome:
        """What the parsers, tested by themselves, make of it without a network."""
        if self.listener != "proxied":
            conversation = conversation_for(_MODES[self.listener])
            assert conversation is not None
            return converse(conversation, self.data)
        try:
            return Outcome(destination=_NOWHERE if proxy_protocol.parse(self.data) else None)
        except ProtocolError as error:
            return Outcome(error=str(error))

    @property
    def asks_for_nothing(self) -> bool:
        """It does not make the gateway dial; who knows where a spoiled address leads."""
        return self.outcome.destination is None or self.listener == "proxied"


def attacks() -> st.SearchStrategy[Attack]:
    data = st.one_of(spoiled([_SOCKS, _LOGIN, _CONNECT, _GET]), spoiled([_PROXY_V1, _PROXY_V2]), st.binary(max_size=80))
    listeners = st.sampled_from([*_MODES, "proxied"])
    return st.builds(Attack, listeners, data, st.sampled_from(Goodbye)).filter(lambda attack: attack.asks_for_nothing)


def test_malformed_openings(
    start_gateway: StartGateway, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    users = tmp_path / "users"
    users.touch(mode=0o600)
    users.write_text("".join(f"{name}:{word}\n" for name, word in USERS.items()))
    with refusing() as nowhere:
        gateway = start_gateway(
            *(proxy(name, name=name) for name in ("socks5", "connect", "mixed")),
            proxy(name="locked", users_file=str(users)),
            forward(nowhere, name="proxied", accept_proxy=True),
            gateway={"workers": 1},
        )
        (worker,) = gateway.worker_pids()
        ports = {name: gateway.port(name) for name in (*_MODES, "proxied")}
        _throw([Attack("mixed", b"", Goodbye.FIN)], ports)
        gateway.expect_rest()
        descriptors = psutil.Process(worker).num_fds()
        thrown = _throw_thousands(ports)
        record_property("inputs", thrown)
        assert thrown >= ENOUGH
        gateway.wait_until(lambda: gateway.metrics()["midmile_sessions_open"] == 0, expected="no session is left")
        gateway.expect_rest()
        assert psutil.Process(worker).num_fds() <= descriptors
        assert gateway.worker_pids() == [worker]
        assert gateway.metrics()['midmile_sessions_failed_total{reason="internal_error"}'] == 0


def _throw_thousands(ports: dict[str, int]) -> int:
    thrown = 0

    @settings(
        max_examples=-(-ENOUGH // BATCH) + 5,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(st.lists(attacks(), min_size=BATCH, max_size=BATCH))
    def throw(batch: list[Attack]) -> None:
        nonlocal thrown
        _throw(batch, ports)
        thrown += len(batch)

    throw()
    return thrown


def _throw(batch: list[Attack], ports: dict[str, int]) -> None:
    """Say all openings at once, then hold each answer to what the protocol has to say."""
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(ports[attack.listener])) for attack in batch]
        for attack, client in zip(batch, clients, strict=True):
            client.sendall(attack.data)
            if attack.goodbye is Goodbye.FIN:
                with suppress(OSError):  # ENOTCONN: the answer was a reset, and it is here already
                    client.shutdown(socket.SHUT_WR)
            elif attack.goodbye is Goodbye.RESET:
                reset(client)
        for attack, client in zip(batch, clients, strict=True):
            outcome = attack.outcome
            if attack.goodbye is Goodbye.FIN or (attack.goodbye is Goodbye.WAIT and outcome.decided):
                assert hear(client).data == outcome.said, attack
