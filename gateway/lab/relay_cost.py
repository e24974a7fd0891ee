"""Measures what relaying costs for each byte, by copying, by splice(2) and by sockmap, and who keeps back-pressure.

Copying and splicing are done by a gateway, as it runs anywhere. A sockmap has no process: the kernel moves the bytes
on behalf of whoever sends, and in threads of its own. So what is compared is the processor time of the whole machine,
less what the same stream takes without a relay.
"""

from collections.abc import Sequence
from statistics import median
from typing import Final

import psutil

from gateway.lab.relay_ways import COPY, DIRECT, SOCKMAP, SPLICE, RelayWays
from gateway.lab.results import RelayCost, RelayResult
from gateway.lab.scene import Progress
from gateway.lab.sockmap import SockmapUnavailable
from pools.net.clock import monotonic_s

_RELAYS: Final = (COPY, SPLICE, SOCKMAP)
_GB: Final = 1e9
_WARM_BYTES: Final = 20_000_000  # past the point from which a gateway splices
_UNREAD_BYTES: Final = 200_000_000  # at most, for a reader that reads nothing
_REST_S: Final = 1.0
_BUSY: Final = 0.05  # of one core


def run_relay(*, size_bytes: int = 4_000_000_000, repeats: int = 5, progress: Progress) -> RelayResult:
    """Relay `size_bytes` bytes in each way, `repeats` times, in turns; then send to a reader that does not read.

    Args:
        progress: is told of each measurement.

    Raises:
        StartError: it needs root, or something of the system.
        FetchError: bytes did not come through.
    """
    with RelayWays() as ways:
        missing = _missing(ways)
        hows = [DIRECT, *(how for how in _RELAYS if how not in missing)]
        busy = _busy_cores()
        spent: dict[str, list[tuple[float, float | None]]] = {how: [] for how in hows}
        for turn in range(1, repeats + 1):
            for how in hows:
                spent[how].append(_spent(ways, how, size_bytes))
                progress(f"{turn}/{repeats} {how}: {spent[how][-1][0]:.2f} s of processor time for 1 GB, in all")
        costs = [_cost(ways, how, spent, missing.get(how, "")) for how in _RELAYS]
    return RelayResult(costs, size_bytes, _warnings(busy))


def _missing(ways: RelayWays) -> dict[str, str]:
    """Give the ways that this host does not have, and why."""
    try:
        with ways.open(SOCKMAP):
            return {}
    except SockmapUnavailable as reason:
        return {SOCKMAP: str(reason)}


def _spent(ways: RelayWays, how: str, size_bytes: int) -> tuple[float, float | None]:
    """Carry a stream and give the processor seconds for each GB of it: the machine's, and the way's own processes'."""
    with ways.open(how) as ends:
        ends.carry(_WARM_BYTES)
        machine_s, own_s = _machine_cpu_s(), ways.own_cpu_s(how)
        ends.carry(size_bytes)
        all_s, own_after_s = _machine_cpu_s() - machine_s, ways.own_cpu_s(how)
    own = None if own_s is None or own_after_s is None else (own_after_s - own_s) * _GB / size_bytes
    return all_s * _GB / size_bytes, own


def _cost(ways: RelayWays, how: str, spent: dict[str, list[tuple[float, float | None]]], note: str) -> RelayCost:
    if note:
        return RelayCost(how, note=note)
    machine = median(each for each, _ in spent[how]) - median(each for each, _ in spent[DIRECT])
    own = [each for _, each in spent[how] if each is not None]
    with ways.open(how) as ends:
        taken_in = ends.taken_in(at_most_bytes=_UNREAD_BYTES)
    return RelayCost(how, machine, median(own) if own else None, taken_in, taken_in < _UNREAD_BYTES)


def _machine_cpu_s() -> float:
    """Give how long all processors have worked, by proc(5), /proc/stat; interrupts are part of it."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _busy_cores() -> float:
    """Give how many cores others use, while the lab itself waits."""
    before_s, start_s = _machine_cpu_s(), monotonic_s()
    psutil.cpu_percent(interval=_REST_S)
    return (_machine_cpu_s() - before_s) / (monotonic_s() - start_s)


def _warnings(busy: float) -> Sequence[str]:
    if busy <= _BUSY:
        return []
    return [f"the machine must have no other work; found {busy:.2f} of a core in use before anything was measured"]
