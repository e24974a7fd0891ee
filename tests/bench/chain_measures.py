"""Two relays in a row, as on the way through two regions: the near one takes sessions in, the far one meets the origin.

Both share one core. Midmile's two are gateways with an overlay between them; others forward to each other.
"""

from typing import Final

from tests.bench import loads, relays
from tests.bench.figures import Metric, Target
from tests.bench.measures import BULK_CPU, PROCESSES, Figures, Measure, Setting, requests
from tests.bench.relays import Relay

_RATE: Final = Metric("two in a row: new sessions", "1/s", Target(0.85, at_most=False))
_CPU: Final = Metric("two in a row: new sessions", "CPU µs each")
_MESSAGE_RATE: Final = Metric("two in a row: messages, 50 sessions", "1/s")
_MESSAGE_CPU: Final = Metric("two in a row: messages, 50 sessions", "CPU µs each")
_BULK_RATE: Final = Metric("two in a row: bulk, 1 stream", "Gbit/s")
_BULK_CPU: Final = Metric("two in a row: bulk, 1 stream", "CPU s/GB", Target(1.0))
_FAR_CPU: Final = Metric("of which the far one", "CPU s/GB")
_NEAR_CPU: Final = Metric("of which the near one", "CPU s/GB")

# What frames cost: a gateway of the chain next to the same gateway that forwards the same stream by itself.
_FAR_TIMES: Final = Metric("the far one / one by itself", "×", Target(1.10, own=True))
_NEAR_TIMES: Final = Metric("the near one / one by itself", "×", Target(1.10, own=True))
QUOTIENTS: Final = ((_FAR_TIMES, _FAR_CPU, BULK_CPU), (_NEAR_TIMES, _NEAR_CPU, BULK_CPU))


def _new_sessions(relay: Relay, setting: Setting) -> Figures:
    """Measure the second run of the load: a pool follows demand, and what it takes to grow is not a session's price."""
    requests(relay, setting, close=True)
    done, cpu_us = requests(relay, setting, close=True)
    return {_RATE: done.rate, _CPU: cpu_us}


def _messages(relay: Relay, setting: Setting) -> Figures:
    done, cpu_us = requests(relay, setting, close=False)
    return {_MESSAGE_RATE: done.rate, _MESSAGE_CPU: cpu_us}


def _bulk(relay: Relay, setting: Setting) -> Figures:
    """Measure one stream from the origin: the far relay reads it plain, and the near one writes it plain."""
    assert relay.tree is not None
    setting.origins.wait_bulk_free()
    far, near = relay.tree.parts()
    before = far.cpu_s(), near.cpu_s()
    done = loads.transfer(relay.doors.bulk_port, streams=1, amount=setting.scale.amount, core=setting.core)
    used = [part.cpu_since(then) / done.size * 1e9 for part, then in zip((far, near), before, strict=True)]
    return {_BULK_RATE: done.bits_per_second / 1e9, _BULK_CPU: sum(used), _FAR_CPU: used[0], _NEAR_CPU: used[1]}


CHAIN_MEASURES: Final = (
    Measure("chain-sessions", _new_sessions, start=relays.chain),
    Measure("chain-messages", _messages, start=relays.chain),
    Measure("chain-bulk", _bulk, relays=PROCESSES, start=relays.chain),
)
