"""When to dial connections that are to be ready at one destination, and how long they keep. Pure: time is an argument.

A server ends a connection on which nothing is asked (nginx: client_header_timeout, OpenSSH: LoginGraceTime). How soon
is learned from the first that it ends; later ones are replaced before. A server that refuses, or ends them as good as
at once, is left alone for longer and longer.
"""

import math
from typing import Final

AT_ONCE: Final = 16
"""Dials to one destination at a time, in one worker."""

EARLY_S: Final = 10.0
"""A server that ends an unused connection sooner does not want any: that is a failure, and no lesson."""

_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 30.0
_DOUBT_S: Final = 2 * EARLY_S
_SAFE_SHARE: Final = 0.8  # of the age at which the server ended one
_LESSON_S: Final = 600.0


class Standby:
    """What is known of a destination that connections are kept ready to.

    Args:
        wanted: how many, at least 1.
    """

    __slots__ = ("_doubted_until_s", "_failures", "_learned_s", "_resume_s", "_told_s", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._failures = 0
        self._resume_s = self._doubted_until_s = -math.inf
        self._told_s = math.inf
        self._learned_s = 0.0

    def dials(self, *, ready: int, dialling: int, now_s: float) -> int:
        """Give how many dials to begin.

        After a refusal one at a time finds out whether the server is back. After an early end one connection at a time
        finds out whether the server bears with it now.
        """
        if now_s < self._resume_s:
            return 0
        room = min(self.wanted - ready, AT_ONCE) - dialling
        if now_s < self._doubted_until_s:
            room = min(room, 1 - ready - dialling)
        elif self._failures:
            room = min(room, 1 - dialling)
        return max(0, room)

    def keep_s(self, now_s: float) -> float:
        """Give the age in seconds at which an unused connection is to be replaced; infinite while nothing is known.

        A lesson may come from a restart of the server, or its settings may change: after ten minutes twice the age is
        tried, and so on.
        """
        doublings = min(64, (now_s - self._learned_s) // _LESSON_S)
        return float(_SAFE_SHARE * self._told_s * 2.0**doublings)

    def connected(self, now_s: float) -> None:
        """Hear that a dial made a connection."""
        if now_s >= self._doubted_until_s:
            self._failures = 0

    def failed(self, *, now_s: float, jitter: float) -> None:
        """Hear that a dial made none; those that fail together count once.

        Args:
            jitter: 0 to 1, by chance.
        """
        if now_s < self._resume_s:
            return
        pause_s = min(_FIRST_PAUSE_S * 2.0**self._failures, _LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 16)
        self._resume_s = now_s + pause_s * (0.5 + jitter / 2)

    def ended(self, age_s: float, *, now_s: float, jitter: float) -> None:
        """Hear that the server ended a connection which nobody had used, `age_s` after it was made."""
        if age_s >= EARLY_S:
            self._told_s = age_s
            self._learned_s = now_s
        elif now_s >= self._resume_s:
            self.failed(now_s=now_s, jitter=jitter)
            self._doubted_until_s = self._resume_s + _DOUBT_S
