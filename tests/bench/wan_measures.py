"""What the pool is for: sessions over a long line, with legs that stand already, and with legs dialled for them."""

import json
import subprocess
from typing import Any, Final

from tests.bench import far_apart, loads
from tests.bench.configurations import GATEWAY, RelayName
from tests.bench.figures import Metric, Target
from tests.bench.measures import Figures, Measure, Setting
from tests.bench.processes import BenchError
from tests.bench.relays import Relay

_TITLE: Final = f"first byte, {far_apart.RTT_MS} ms RTT"
_P50: Final = Metric(_TITLE, "p50 ms")
_P99: Final = Metric(_TITLE, "p99 ms")
_DIALLED_P50: Final = Metric(f"{_TITLE}, no leg ready", "p50 ms")
_MISSES: Final = Metric("sessions that found no leg ready", "per 1,000", Target(1.0, own=True), may_be_zero=True)
_DIALLED: Final = Metric("legs dialled", "per 1,000 sessions", Target(1.0, own=True), may_be_zero=True)

_BURST: Final = {"rate": 200.0, "seconds": 0.05}  # ten sessions, all begun before the first dial can have ended
_ANSWER_S: Final = 30.0
_TRIES: Final = 20


def _steady(relay: Relay, setting: Setting) -> Figures:
    """Measure a minute of new sessions at a constant rate, once they have come for a while."""
    rate, (warm_s, measured_s) = setting.scale.arrival_rate, setting.scale.arrival_s
    with loads.arrivals(relay.doors, core=setting.core, log=setting.log) as arrivals:
        arrivals.run(rate=rate, seconds=warm_s)
        before = _link(relay, sessions=int(rate * warm_s))
        told = arrivals.run(rate=rate, seconds=measured_s)
        after = _link(relay, sessions=int(rate * warm_s) + int(rate * measured_s))
    figures: Figures = {_P50: told["p50_ms"], _P99: told["p99_ms"]}
    if not before or not after:
        return figures
    grown = {name: 1_000 * (after[name] - before[name]) / told["sessions"] for name in ("misses", "dialled")}
    return figures | {_MISSES: grown["misses"], _DIALLED: grown["dialled"]}


def _first(relay: Relay, setting: Setting) -> Figures:
    """Measure the very first sessions of a gateway that keeps no legs."""
    with loads.arrivals(relay.doors, core=setting.core, log=setting.log) as arrivals:
        told = arrivals.run(**_BURST)
    link = _link(relay, sessions=int(told["sessions"]))
    if link["hits"]:
        raise BenchError(f"expected that all of {told['sessions']} sessions dialled, found {link}")
    return {_DIALLED_P50: told["p50_ms"]}


def _link(relay: Relay, *, sessions: int) -> dict[str, Any]:
    """Give what the near gateway says of its link once it has counted so many sessions; nothing of other relays.

    Raises:
        BenchError: it has not counted them in time; the message has what it says.
    """
    if relay.name is not RelayName.MIDMILE:
        return {}
    for _ in range(_TRIES):
        link = _told(relay)
        if link["hits"] + link["misses"] >= sessions:
            return link
    raise BenchError(f"expected that {sessions} sessions are counted as hits and misses, found {link}")


def _told(relay: Relay) -> dict[str, Any]:
    """Ask the near gateway; a question takes some tenths of a second."""
    runtime_dir = relay.commands[-1].plan.directory / "run"
    argv = [*GATEWAY, "links", "--json", "--runtime-dir", str(runtime_dir)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    if done.returncode:
        raise BenchError(f"gateway links ended with {done.returncode}: {done.stderr}")
    (link,) = json.loads(done.stdout)["links"]
    return dict(link)


_COMPARED: Final = (RelayName.DIRECT, RelayName.HAPROXY, RelayName.MIDMILE)
WAN_MEASURES: Final = (
    Measure("wan", _steady, relays=_COMPARED, start=far_apart.with_pool, most_rounds=1, needs_root=True),
    Measure("wan-dialled", _first, relays=(RelayName.MIDMILE,), start=far_apart.without_pool, needs_root=True),
)
