"""A worker's heartbeat: several times a second, from its own loop, it shows on the scoreboard that it lives and how."""

from collections.abc import Callable
from typing import Final

import gevent

from pools.net.clock import monotonic_ns
from pools.net.pump import PumpRoom
from pools.net.scoreboard import Cell, Row
from workers.tally import Tally

BEAT_S: Final = 0.25
_BEAT_NS: Final = 250_000_000
_RATE_BEATS: Final = 4  # the rate of new sessions is that of the last second


class Pulse:
    """Writes one worker's row. Make it in the worker, after the fork.

    Args:
        setting_up: gives how many sessions are being set up.
        on_beat: called with each beat, for what else is to be done a few times a second.
    """

    def __init__(
        self, row: Row, *, tally: Tally, room: PumpRoom, setting_up: Callable[[], int], on_beat: Callable[[], None]
    ) -> None:
        self._row = row
        self._tally = tally
        self._room = room
        self._setting_up = setting_up
        self._on_beat = on_beat
        self._copied = row[Cell.COPIED_BYTES]
        self._spliced = row[Cell.SPLICED_BYTES]
        self._totals = [row[Cell.SESSIONS_TOTAL]] * _RATE_BEATS
        self._due_ns = monotonic_ns()
        self._timer = gevent.get_hub().loop.timer(BEAT_S, BEAT_S)

    def start(self) -> None:
        """Beat now and from now on."""
        self._beat()
        self._timer.start(self._beat)

    def stop(self) -> None:
        """Beat a last time."""
        self._beat()
        self._timer.stop()
        self._timer.close()

    def _beat(self) -> None:
        now_ns = monotonic_ns()
        row = self._row
        row.beat(now_ns, due_ns=self._due_ns)
        self._due_ns = now_ns + _BEAT_NS
        self._tally.write()
        row[Cell.COPIED_BYTES] = self._copied + self._room.copied_bytes
        row[Cell.SPLICED_BYTES] = self._spliced + self._room.spliced_bytes
        row[Cell.GREENLETS] = self._room.greenlets.made
        row[Cell.GREENLETS_IDLE] = self._room.greenlets.idle
        row[Cell.PIPES] = self._room.pipes.lent
        row[Cell.CONNECTING] = self._setting_up()
        row[Cell.SESSIONS_PER_SECOND] = self._rate(row[Cell.SESSIONS_TOTAL])
        self._on_beat()

    def _rate(self, total: int) -> int:
        self._totals.append(total)
        return total - self._totals.pop(0)
