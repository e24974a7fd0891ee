"""The page's numbers: taken while nobody looks, put together when somebody does.

Counters are read each INTERVAL_S, which costs next to nothing. What only the kernel knows of each process costs 20 ms
with 64 workers: it is read for those who look, at most once a second however many they are, and otherwise now and
then, so that a change of health has its time in the list of incidents.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from gateway.listener_status import read_listener
from gateway.page.document import describe, describe_listener
from gateway.page.facts import Facts, ListenerFacts
from gateway.page.history import COLUMNS, History
from gateway.page.incidents import Incidents
from gateway.page.reading import read_counters
from gateway.page.watch import Watch
from gateway.processes import Processes
from gateway.reasons import Verdict
from gateway.status import GatewayStatus, read
from pools.net.scoreboard import Scoreboard

INTERVAL_S: Final = 2.0
MINUTES: Final = 10
_LENGTH: Final = round(MINUTES * 60 / INTERVAL_S) + 1
_UNWATCHED_S: Final = 10.0
_WATCHED_S: Final = 1.0
_DIRECTIONS_OVER_MS: Final = 60_000


class Live:
    """All that the page shows, as of now.

    Args:
        scoreboard: read anew each time.
        judge: gives the verdict that /healthz gives, too.
    """

    def __init__(self, scoreboard: Scoreboard, facts: Facts, *, judge: Callable[[GatewayStatus], Verdict]) -> None:
        self._scoreboard = scoreboard
        self._facts = facts
        self._judge = judge
        self._processes = Processes()
        self._history = History(_LENGTH)
        self._incidents = Incidents()
        self._watch = Watch(self._incidents, [peer.name for peer in facts.peers])
        self._looked_ns: int | None = None
        self._seen: dict[str, Any] = {}

    def turn(self, now_ns: int) -> None:
        """Take the counters. To be called each INTERVAL_S.

        Args:
            now_ns: monotonic clock.
        """
        peers = [peer.number for peer in self._facts.peers]
        reading = read_counters(self._scoreboard, peers=peers, now_ns=now_ns)
        self._history.add(reading)
        self._watch.see(reading)
        self._look(now_ns, older_than_s=_UNWATCHED_S)

    def document(self, *, after_ms: int, now_ns: int) -> dict[str, Any]:
        """Give what /page.json says.

        Args:
            after_ms: the last point that the page has, on the gateway's own clock; -1 for none.
            now_ns: monotonic clock.
        """
        self._look(now_ns, older_than_s=_WATCHED_S)
        forward, backward = self._history.directions(over_ms=_DIRECTIONS_OVER_MS)
        return self._seen | {
            "life": str(self._scoreboard.started_ns),  # a number of JavaScript has 53 bits
            "now_ms": self._now_ms(now_ns),
            "interval_ms": round(INTERVAL_S * 1000),
            "minutes": MINUTES,
            "forward_bytes_per_s": round(forward),
            "backward_bytes_per_s": round(backward),
            "listeners": [self._listener(each) for each in self._facts.listeners],
            "incidents": [asdict(incident) for incident in self._incidents.newest_first()],
            "columns": COLUMNS,
            "points": self._history.points(after_ms=after_ms),
        }

    def _look(self, now_ns: int, *, older_than_s: float) -> None:
        """Read what only the kernel knows, unless that was done lately."""
        if self._looked_ns is not None and now_ns - self._looked_ns < older_than_s * 1e9:
            return
        self._looked_ns = now_ns
        status = read(self._scoreboard, self._processes, now_ns=now_ns)
        verdict = self._judge(status)
        self._watch.judge(verdict, at_ms=self._now_ms(now_ns))
        self._seen = describe(self._facts, status, verdict)

    def _listener(self, facts: ListenerFacts) -> dict[str, Any]:
        return describe_listener(facts, read_listener(self._scoreboard, facts.number))

    def _now_ms(self, now_ns: int) -> int:
        return max(0, now_ns - self._scoreboard.started_ns) // 1_000_000
