"""The configuration of a gateway, complete and frozen, from a file, from the command line, or from neither.

Files are opened in `config_files`, keys judged one by one in `config_schema` and `config_reading`, together in
`config_rules`. Here they become what the gateway and its workers are told; nothing below sees a table of a file.
"""

from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from gateway import config_rules
from gateway.config_files import read_tables, read_users
from gateway.config_reading import Tables, understand
from gateway.config_schema import Document, ListenTable, PeerTable
from gateway.surroundings import Surroundings
from pools.egress_rules import EgressRules
from pools.key_file import read_keys
from pools.net.endpoint import Endpoint
from pools.net.errors import ConfigurationError, Problem
from pools.net.keepalive import Keepalive
from pools.peer import Peer
from workers.settings import (
    AccessLog,
    Limits,
    Listen,
    LogFormat,
    Mode,
    Outbound,
    Relay,
    Timeouts,
    WorkerSettings,
)

Users = dict[str, str]

_DEFAULT_LISTEN = Endpoint("127.0.0.1", 1080)


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
        admin: where metrics and health are told over HTTP; None for nowhere.
        ready_when_filled: readiness waits until the pools of peers were filled once.
    """

    name: str
    workers: int | None
    runtime_dir: Path
    log_format: LogFormat
    listens: tuple[Listen, ...]
    peers: tuple[Peer, ...]
    key_file: str
    egress: EgressRules
    timeouts: Timeouts
    limits: Limits
    keepalive: Keepalive
    outbound: Outbound
    relay: Relay
    access_log: AccessLog
    admin: Endpoint | None
    ready_when_filled: bool

    def for_workers(self, workers: int, shard_seed: int) -> WorkerSettings:
        """Give what each of `workers` workers is told, who share connections by `shard_seed`, 0 to 2**32 - 1."""
        return WorkerSettings(
            listens=self.listens,
            workers=workers,
            shard_seed=shard_seed,
            gateway=self.name if self.key_file else "",
            peers=self.peers,
            key_file=self.key_file,
            egress=self.egress,
            timeouts=self.timeouts,
            limits=self.limits,
            keepalive=self.keepalive,
            outbound=self.outbound,
            relay=self.relay,
            access_log=self.access_log,
        )


def load(path: Path, *, surroundings: Surroundings | None = None) -> GatewaySettings:
    """Read a configuration file; paths in it count from its own directory.

    Args:
        path: a TOML file.
        surroundings: user and kernel; looked up where not given.

    Raises:
        ConfigurationError: with every problem of the file, and of the files it names.
    """
    return settle(read_tables(path), folder=path.parent, surroundings=surroundings or Surroundings.read())


def default(
    *, listen: Endpoint | None = None, to: Endpoint | None = None, surroundings: Surroundings | None = None
) -> GatewaySettings:
    """Give the settings of a gateway without a file.

    Args:
        listen: where clients come in, 127.0.0.1:1080 where not given.
        to: where all of them are led; where not given, each asks by SOCKS5 or HTTP CONNECT.
        surroundings: user and kernel; looked up where not given.

    Raises:
        ConfigurationError: as for a file, with the options of the command line as keys.
    """
    if to is not None and listen is None:
        raise ConfigurationError([Problem("--listen", "is required with --to", "nothing")])
    table = {"name": "default", "bind": str(listen or _DEFAULT_LISTEN), "mode": "mixed"}
    if to is not None:
        table |= {"mode": "forward", "to": str(to)}
    try:
        return settle({"listen": [table]}, folder=Path(), surroundings=surroundings or Surroundings.read())
    except ConfigurationError as error:
        raise ConfigurationError([_as_option(problem) for problem in error.problems]) from error


def example() -> str:
    """Give the text of a configuration file that names and explains every key."""
    return resources.files("gateway").joinpath("example.toml").read_text(encoding="utf-8")


def settle(tables: Tables, *, folder: Path, surroundings: Surroundings) -> GatewaySettings:
    """Turn the tables of a file into settings.

    Args:
        tables: a TOML document, used up.
        folder: what the relative paths in it count from.
        surroundings: user and kernel.

    Raises:
        ConfigurationError: with every problem.
    """
    document, problems = understand(tables)
    users, users_problems = _all_users(document, folder)
    key_file, key_problems = _key_file(document, folder, surroundings)
    judged = tuple(problem.key for problem in problems)
    rules = [*config_rules.broken(document, surroundings), *users_problems, *key_problems]
    problems += [problem for problem in rules if not _is_under(problem.key, judged)]
    if problems:
        raise ConfigurationError(problems)
    return replace(_settings(document, surroundings), listens=_listens(document, users), key_file=key_file)


def _is_under(key: str, judged: tuple[str, ...]) -> bool:
    """Tell whether `key`, or a table that it is in, was wrong by itself; a rule has nothing to add to that."""
    return any(key == each or key.startswith((f"{each}.", f"{each}[")) for each in judged)


def _all_users(document: Document, folder: Path) -> tuple[list[Users], list[Problem]]:
    """Read each listener's users, in their order."""
    found = [_users(listen, folder, key=f"listen[{index}].users_file") for index, listen in enumerate(document.listen)]
    return [users for users, _ in found], [problem for _, problems in found for problem in problems]


def _users(listen: ListenTable, folder: Path, *, key: str) -> tuple[Users, list[Problem]]:
    if listen.users_file is None or listen.mode not in config_rules.ASKING_MODES:
        return {}, []
    return read_users(folder / listen.users_file, key=key)


def _key_file(document: Document, folder: Path, surroundings: Surroundings) -> tuple[str, list[Problem]]:
    """Give the key file's path, and what is wrong with it; its keys are read where they are used."""
    if document.overlay is None or document.overlay.key_file is None:
        return "", []
    path = (folder / document.overlay.key_file).absolute()
    _, problems = read_keys(path, key="overlay.key_file", uid=surroundings.uid)
    return str(path), problems


def _as_option(problem: Problem) -> Problem:
    options = {"listen[0].bind": "--listen", "listen[0].to": "--to"}
    return replace(problem, key=options.get(problem.key, problem.key))


def _settings(document: Document, surroundings: Surroundings) -> GatewaySettings:
    """Freeze a document without problems, all but what depends on other files."""
    table = document.gateway
    return GatewaySettings(
        name=table.name,
        workers=table.workers,
        runtime_dir=Path(table.runtime_dir) if table.runtime_dir else surroundings.runtime_dir,
        log_format=table.log_format,
        listens=(),
        peers=tuple(_peer(table) for table in document.peer),
        key_file="",
        egress=EgressRules(tuple(document.egress.allow)),
        timeouts=Timeouts(**dict(document.timeouts)),
        limits=Limits(**dict(document.limits)),
        keepalive=Keepalive(**dict(document.keepalive)),
        outbound=Outbound(**dict(document.outbound)),
        relay=Relay(**dict(document.relay)),
        access_log=AccessLog(enabled=table.access_log == "on", format=table.log_format),
        admin=document.admin.http,
        ready_when_filled=document.admin.ready_when_filled,
    )


def _listens(document: Document, users: list[Users]) -> tuple[Listen, ...]:
    listens = [_listen(*pair) for pair in zip(document.listen, users, strict=True)]
    if document.overlay is not None and document.overlay.bind is not None:
        listens.append(Listen(name=Mode.OVERLAY.value, bind=document.overlay.bind, mode=Mode.OVERLAY))
    return tuple(listens)


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
        users=users,
        congestion=table.congestion,
        backlog=table.backlog,
    )


def _paths(table: ListenTable) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, [table.via] if table.paths is None else table.paths))


def _peer(table: PeerTable) -> Peer:
    """Freeze one peer; the rules have seen to it that it has a name and an address."""
    assert table.name is not None
    assert table.address is not None
    return Peer(
        name=table.name,
        address=table.address,
        congestion=table.congestion,
        pool_min=table.pool_min,
        pool_max=table.pool_max,
        magazine=table.magazine,
        max_age=table.max_age,
    )
