"""The relays side by side, alone on their core: one by itself, or two in a row."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import psutil

from tests.bench import configurations
from tests.bench.configurations import Command, Doors, Plan, RelayName
from tests.bench.machine import Cores
from tests.bench.processes import Tree, running, wait_for, wait_listening
from tests.bench.session import open_session

_WARM_SESSIONS: Final = 200


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that runs, or two in a row that sessions see as one.

    Attributes:
        doors: where it takes sessions in; those of the origins for DIRECT.
        tree: its processes; None for DIRECT.
        commands: what it was started with, the far one of a chain first.
    """

    name: RelayName
    doors: Doors
    tree: Tree | None
    commands: Sequence[Command] = ()


Start = Callable[[RelayName, Plan, Cores], AbstractContextManager[Relay]]
"""Runs a relay, warmed up, for as long as the block lasts. It may raise BenchError."""


@contextmanager
def alone(name: RelayName, plan: Plan, cores: Cores) -> Iterator[Relay]:
    """Run one relay on its core, warmed up, for as long as the block lasts.

    Raises:
        BenchError: it does not start, does not stay on its core, or does not relay.
    """
    commands = () if name is RelayName.DIRECT else (configurations.alone(name, plan),)
    with _warm(name, plan, cores, commands) as relay:
        yield relay


@contextmanager
def chain(name: RelayName, plan: Plan, cores: Cores) -> Iterator[Relay]:
    """Run two relays in a row, both on the one core, warmed up, for as long as the block lasts.

    Raises:
        BenchError: one does not start, does not stay on the core, or does not relay.
    """
    middle = Doors.free()
    commands = () if name is RelayName.DIRECT else configurations.chain(name, plan, middle=middle)
    with _warm(name, plan, cores, commands) as relay:
        yield relay


@contextmanager
def _warm(name: RelayName, plan: Plan, cores: Cores, commands: Sequence[Command]) -> Iterator[Relay]:
    """Run a relay and let 200 sessions pass, one after another.

    So code is loaded and the allocator has its arenas, but no memory of many sessions at once is left over that would
    hide what the first thousand cost.
    """
    if not commands:
        yield Relay(name, plan.to, None)
        return
    with ExitStack() as held:
        roots = [held.enter_context(started(command, core=cores.relay)) for command in commands]
        for _ in range(_WARM_SESSIONS):
            open_session(plan.doors.http_port).close()
        tree = Tree(roots)
        tree.require_pinned(cores.relay)
        yield Relay(name, plan.doors, tree, commands)


@contextmanager
def started(command: Command, *, core: int) -> Iterator[psutil.Process]:
    """Run one relay, ready, for as long as the block lasts."""
    log = command.plan.directory / "output.log"
    with running(command.words, core=core, log=log) as process:
        wait_listening(process, command.ports, log)
        wait_for(process, lambda: command.says in log.read_text(errors="replace"), expected="says it is ready", log=log)
        yield psutil.Process(process.pid)
