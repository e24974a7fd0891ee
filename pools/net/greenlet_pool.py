"""Greenlets that are made once and given one job after another.

A new greenlet on CPython 3.11 maps and unmaps 16 KiB for its data stack; one that is used again pays that once
(about half again as many sessions a second). KTCP kept a pool of kernel threads for the same reason: "give the
function at run time".
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import gevent
from greenlet import getcurrent, greenlet

_log = logging.getLogger(__name__)
_KEEP: Final = 1024


class GreenletPool:
    """Runs jobs in greenlets that return here afterwards. Make it in the process that uses it, after the fork.

    Args:
        keep: idle greenlets kept for later; more than these end. One costs 6 to 7 KB.

    Attributes:
        made: greenlets alive, at work and idle.
    """

    def __init__(self, *, keep: int = _KEEP) -> None:
        self._hub = gevent.get_hub()
        self._keep = keep
        self._idle: list[greenlet] = []
        self.made = 0

    @property
    def idle(self) -> int:
        """Greenlets that wait for a job."""
        return len(self._idle)

    def run(self, job: Callable[..., object], *arguments: Any) -> None:
        """Start `job` now and return when it first waits, or ends. Call it in the hub only.

        An exception that the job lets out is logged with its traceback; the pool goes on.
        """
        (self._idle.pop() if self._idle else self._make()).switch(job, arguments)

    def _make(self) -> greenlet:
        """Make one that waits: a greenlet started with its first job would hold that job's arguments all its life."""
        self.made += 1
        fresh = greenlet(self._live, self._hub)
        fresh.switch()
        return fresh

    def _live(self) -> None:
        while True:
            job, arguments = self._hub.switch()
            try:
                job(*arguments)
            except Exception:  # noqa: BLE001  # the top of a session: nothing may reach the hub
                _log.exception("a job ended with an error nobody expected")
            if len(self._idle) >= self._keep:
                self.made -= 1
                return
            del job, arguments  # an idle greenlet must not keep a session alive
            self._idle.append(getcurrent())
