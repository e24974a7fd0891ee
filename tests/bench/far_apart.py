"""Relays far apart: two in a row with an emulated line between them, clients beside the near one, the origin beside
the far one.

The line is a process that carries packets between two network namespaces, on the loads' core and ahead of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from gateway.lab.delay_line import LineTerms
from gateway.lab.network_namespace import entered
from gateway.lab.wan import Wan
from pools.net.errors import StartError
from tests.bench import configurations, origins
from tests.bench.configurations import Command, Doors, Plan, RelayName
from tests.bench.machine import Cores
from tests.bench.processes import BenchError, Tree, UnpunctualError
from tests.bench.relays import Relay, started

RTT_MS: Final = 200
_LATE: Final = 0.1
_SYSCTLS: Final = {"ipv4.tcp_slow_start_after_idle": "0"}  # as docs/operating.md advises for legs that are kept


@contextmanager
def with_pool(name: RelayName, plan: Plan, cores: Cores) -> Iterator[Relay]:
    """Run a relay on either side of the line, its clients' side being ours, for as long as the block lasts.

    Nothing has warmed it up: a session takes as long as the line does.

    Raises:
        BenchError: a relay does not start.
        UnpunctualError: the line kept its times badly, so that figures of the block mean little.
    """
    with ExitStack() as held:
        wan = held.enter_context(_line())
        to = Doors.free(wan.address("far"))
        with entered(wan.namespace("far")):
            held.enter_context(origins.http(plan.directory, doors=to, core=cores.loads, sessions=plan.sessions))
        commands = _commands(name, replace(plan, to=to))
        roots = []
        for site, command in zip(("far", "near"), commands, strict=False):
            with entered(wan.namespace(site)):
                roots.append(held.enter_context(started(command, core=cores.relay)))
        with entered(wan.namespace("near")):
            yield Relay(name, plan.doors if roots else to, Tree(roots) if roots else None, commands)
        _require_punctual(wan)


def _commands(name: RelayName, plan: Plan) -> Sequence[Command]:
    """Configure nothing, or two relays that meet at the far site."""
    return () if name is RelayName.DIRECT else configurations.chain(name, plan, middle=Doors.free(plan.to.host))


@contextmanager
def without_pool(name: RelayName, plan: Plan, cores: Cores) -> Iterator[Relay]:
    """Run relays as `with_pool` does, but gateways that keep no leg ready: the first session must dial its own."""
    with with_pool(name, replace(plan, pool_min=0), cores) as relay:
        yield relay


@contextmanager
def _line() -> Iterator[Wan]:
    try:
        wan = Wan(("near", "far"), {("near", "far"): LineTerms(delay_s=RTT_MS / 2e3)}, sysctls=_SYSCTLS)
    except StartError as error:
        raise BenchError(str(error)) from error
    with wan:
        yield wan


def _require_punctual(wan: Wan) -> None:
    traffic = wan.traffic()
    if traffic.late > _LATE * traffic.left:
        raise UnpunctualError(
            f"the emulated line must keep its times: {traffic.late} of {traffic.left} packets left over 1 ms late, "
            f"the worst {traffic.worst_s * 1e3:.0f} ms; the machine has other work"
        )
