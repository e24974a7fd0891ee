"""Compares each look at the gateway with the one before, and notes what is worth an operator's time.

Log lines are other processes' and pass by here; each of their kinds also has a counter, so the counters' movements are
what is told, with the time at which they were seen.
"""

from collections.abc import Sequence
from typing import Final

from gateway.page.incidents import Incidents
from gateway.page.reading import LinkReading, Reading
from gateway.page.troubles import TROUBLES, Weight
from gateway.reasons import Code, Level, Reason, Verdict
from pools.link_health import LinkState

_WEIGHTS: Final = {Level.DEGRADED: Weight.WARNING, Level.DEAD: Weight.ERROR}
_TOLD_BY_COUNTERS: Final = frozenset({Code.PEER_DOWN})


class Watch:
    """What was seen last. The first look of each kind notes nothing: what was before is not news.

    Args:
        incidents: where it is noted.
        peers: names in the order of a reading's links.
    """

    def __init__(self, incidents: Incidents, peers: Sequence[str]) -> None:
        self._incidents = incidents
        self._peers = peers
        self._reading: Reading | None = None
        self._reasons: dict[tuple[Code, str], Reason] | None = None

    def see(self, reading: Reading) -> None:
        """Note which counters moved, and which links went down or came back."""
        before, self._reading = self._reading, reading
        if before is None:
            return
        for cell, (weight, text) in TROUBLES.items():
            self._count(weight, text, reading.at_ms, reading.totals[cell] - before.totals[cell])
        for name, then, now in zip(self._peers, before.links, reading.links, strict=True):
            self._compare(name, then, now, reading.at_ms)

    def judge(self, verdict: Verdict, *, at_ms: int) -> None:
        """Note which reasons for not being well are new, and which are none any more."""
        now = {(reason.code, reason.of): reason for reason in verdict.reasons if reason.code not in _TOLD_BY_COUNTERS}
        before, self._reasons = self._reasons, now
        if before is None:
            return
        for key in [key for key in now if key not in before]:
            self._incidents.add(_WEIGHTS[now[key].level], now[key].text, at_ms=at_ms)
        for code, of in [key for key in before if key not in now]:
            self._incidents.add(Weight.NOTE, f"{of}: {code.value} is over", at_ms=at_ms)

    def _compare(self, name: str, then: LinkReading, now: LinkReading, at_ms: int) -> None:
        self._count(Weight.WARNING, f"{name}: leg could not be dialled", at_ms, now.dial_failed - then.dial_failed)
        self._count(Weight.ERROR, f"{name}: link went down", at_ms, now.went_down - then.went_down)
        if then.state is not LinkState.UP and now.state is LinkState.UP:
            self._incidents.add(Weight.NOTE, f"{name}: link is up", at_ms=at_ms, count=1)

    def _count(self, weight: Weight, text: str, at_ms: int, count: int) -> None:
        if count > 0:
            self._incidents.add(weight, text, at_ms=at_ms, count=count)
