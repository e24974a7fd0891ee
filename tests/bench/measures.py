"""The measurements of one relay, and what all measurements share.

Each takes one fresh, warmed relay that has its core to itself, and gives figures by metric. CPU is what the relay's
whole process tree used, from before the load started to after it ended; on loopback a sender's CPU time includes the
kernel's delivery to the receiver. The direct row has no processes, so no CPU and no memory: None.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.bench import loads
from tests.bench.configurations import RelayName
from tests.bench.figures import Metric, Target
from tests.bench.origins import Origins
from tests.bench.relays import Relay, Start, alone

Figures = dict[Metric, float | None]
_T = TypeVar("_T")

BULK_RATE = Metric("bulk, 1 stream", "Gbit/s")
BULK_CPU = Metric("bulk, 1 stream", "CPU s/GB", Target(0.80))
PARALLEL_RATE = Metric("bulk, 8 streams", "Gbit/s")
PARALLEL_CPU = Metric("bulk, 8 streams", "CPU s/GB", Target(0.80))
COPY_RATE = Metric("bulk, 1 stream, splice off", "Gbit/s")
COPY_CPU = Metric("bulk, 1 stream, splice off", "CPU s/GB")
COPY_TIMES = Metric("CPU of copying / of splicing", "×", Target(2.0, at_most=False, own=True))
SESSION_RATE = Metric("new sessions", "1/s", Target(0.75, at_most=False))
SESSION_CPU = Metric("new sessions", "CPU µs each")
MESSAGE_RATE = Metric("messages, 50 sessions", "1/s", Target(0.85, at_most=False))
MESSAGE_CPU = Metric("messages, 50 sessions", "CPU µs each")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: for figures, or only to see that all of it runs.

    Attributes:
        amount: how long or how much iperf3 transfers, as its own options.
        wrk_s, drive_s: seconds of a wrk run and of a drive at a fixed rate.
        latency_rate, crowd_rate: messages a second that every relay and the generator must hold.
        arrival_rate: new sessions a second over the emulated WAN.
        arrival_s: seconds of them to warm up, and seconds of them to measure.
        idle: two counts of idle sessions, the smaller first.
        crowds: counts of open sessions over which messages go round.
    """

    rounds: int
    amount: tuple[str, str]
    wrk_s: float
    drive_s: float
    latency_rate: int
    crowd_rate: int
    idle: tuple[int, int]
    crowds: tuple[int, ...]
    arrival_rate: int
    arrival_s: tuple[float, float]

    @property
    def sessions(self) -> int:
        """The most sessions that are ever open at once, with some to spare."""
        return max(*self.idle, *self.crowds) + 200


FULL = Scale(5, ("--time", "5"), 5.0, 5.0, 10_000, 5_000, (1_000, 9_000), (10, 1_000, 9_000), 200, (10.0, 60.0))
SMOKE = Scale(1, ("--bytes", "200M"), 0.4, 0.3, 2_000, 2_000, (100, 600), (10,), 50, (1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Setting:
    """What all measurements share: the scale, the origins, the loads' core, and a file for what loads complain of."""

    scale: Scale
    origins: Origins
    core: int
    log: Path


def metered(relay: Relay, load: Callable[[], _T]) -> tuple[_T, float | None]:
    """Give what the load says, and the CPU seconds it cost the relay."""
    if relay.tree is None:
        return load(), None
    before = relay.tree.cpu_s()
    return load(), relay.tree.cpu_since(before)


def each(cpu_s: float | None, count: float, *, unit_s: float = 1e-6) -> float | None:
    """Share out CPU seconds, into microseconds unless told otherwise."""
    return None if cpu_s is None else cpu_s / count / unit_s


def _bulk(relay: Relay, setting: Setting, *, streams: int, rate: Metric, cpu: Metric) -> Figures:
    setting.origins.wait_bulk_free()
    port, amount, core = relay.doors.bulk_port, setting.scale.amount, setting.core
    done, cpu_s = metered(relay, lambda: loads.transfer(port, streams=streams, amount=amount, core=core))
    return {rate: done.bits_per_second / 1e9, cpu: each(cpu_s, done.size / 1e9, unit_s=1.0)}


def _one_stream(relay: Relay, setting: Setting) -> Figures:
    return _bulk(relay, setting, streams=1, rate=BULK_RATE, cpu=BULK_CPU)


def _eight_streams(relay: Relay, setting: Setting) -> Figures:
    return _bulk(relay, setting, streams=8, rate=PARALLEL_RATE, cpu=PARALLEL_CPU)


def _copying(relay: Relay, setting: Setting) -> Figures:
    return _bulk(relay, setting, streams=1, rate=COPY_RATE, cpu=COPY_CPU)


def requests(relay: Relay, setting: Setting, *, close: bool) -> tuple[loads.Requests, float | None]:
    """Let wrk ask as fast as it can; give what it counted, and the CPU microseconds of each answer."""
    seconds, core, log = setting.scale.wrk_s, setting.core, setting.log
    done, cpu_s = metered(
        relay, lambda: loads.request(relay.doors.http_port, seconds=seconds, close=close, core=core, log=log)
    )
    return done, each(cpu_s, done.count)


def _new_sessions(relay: Relay, setting: Setting) -> Figures:
    done, cpu_us = requests(relay, setting, close=True)
    return {SESSION_RATE: done.rate, SESSION_CPU: cpu_us}


def _messages(relay: Relay, setting: Setting) -> Figures:
    done, cpu_us = requests(relay, setting, close=False)
    return {MESSAGE_RATE: done.rate, MESSAGE_CPU: cpu_us}


def _latency(relay: Relay, setting: Setting) -> Figures:
    """Latency of messages over 50 open sessions at a constant rate, from when each was due."""
    scale, title = setting.scale, f"latency at {setting.scale.latency_rate:,} messages/s"
    with loads.crowd(relay.doors.http_port, core=setting.core, log=setting.log) as crowd:
        crowd.open(50)
        told = crowd.drive(rate=scale.latency_rate, seconds=scale.drive_s)
    figures: Figures = {Metric(title, "p50 µs"): told["p50_us"], Metric(title, "p99 µs", Target(1.5)): told["p99_us"]}
    return figures | {Metric("of which the generator's lateness", "p99 µs"): told["late_p99_us"]}


def _idle(relay: Relay, setting: Setting) -> Figures:
    """Growth of the tree's memory for each session that has carried one message, without the kernel's sockets."""
    assert relay.tree is not None
    few, many = setting.scale.idle
    sizes = [relay.tree.memory_bytes()]
    with loads.crowd(relay.doors.http_port, core=setting.core, log=setting.log) as crowd:
        for count in (few, many):
            crowd.open(count)
            sizes.append(relay.tree.memory_bytes())
    first, rest = (sizes[1] - sizes[0]) / few, (sizes[2] - sizes[1]) / (many - few)
    unit, target = "bytes each", Target(1.0)
    return {
        Metric(f"idle sessions, 0 to {few:,}", unit, target): first,
        Metric(f"idle sessions, {few:,} to {many:,}", unit, target): rest,
    }


def _crowds(relay: Relay, setting: Setting) -> Figures:
    """What a message and a new session cost while N sessions are open, for each N.

    First messages go over all N in turn, at a rate that is the same for every N and relay. Then the N stay open and
    silent while wrk makes new sessions as fast as it can. A relay that walks all its sessions for an event shows here.
    """
    figures: Figures = {}
    with loads.crowd(relay.doors.http_port, core=setting.core, log=setting.log) as crowd:
        for count in setting.scale.crowds:
            crowd.open(count)
            figures |= _with_open(relay, setting, crowd, title=f"{count:,} sessions open")
    return figures


def _with_open(relay: Relay, setting: Setting, crowd: loads.CrowdProcess, *, title: str) -> Figures:
    scale = setting.scale
    told, cpu_s = metered(relay, lambda: crowd.drive(rate=scale.crowd_rate, seconds=scale.drive_s))
    message_us = each(cpu_s, told["messages"])
    session_us = requests(relay, setting, close=True)[1]
    unit = "CPU µs each"
    return {Metric(f"message, {title}", unit): message_us, Metric(f"new session, {title}", unit): session_us}


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurement, by the name that --only takes, and how the relays for it are started.

    Attributes:
        most_rounds: it is taken in no more of them; for one that is long enough to be its own repetition.
        needs_root: others leave it out of a full run.
    """

    name: str
    run: Callable[[Relay, Setting], Figures]
    relays: Sequence[RelayName] = tuple(RelayName)
    splice: bool = True
    start: Start = alone
    most_rounds: int = 1_000
    needs_root: bool = False


PROCESSES = tuple(name for name in RelayName if name is not RelayName.DIRECT)
MEASURES = (
    Measure("bulk", _one_stream),
    Measure("parallel", _eight_streams),
    Measure("copy", _copying, relays=PROCESSES, splice=False),
    Measure("sessions", _new_sessions),
    Measure("messages", _messages),
    Measure("latency", _latency),
    Measure("idle", _idle, relays=PROCESSES),
    Measure("crowd", _crowds, relays=PROCESSES),
)
