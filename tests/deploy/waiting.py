"""Waiting for facts, with a deadline."""

import threading
from collections.abc import Callable
from typing import Final

from pools.net.clock import monotonic_s

_EVERY_S: Final = 0.1


def until(is_so: Callable[[], bool], what: str, *, within_s: float) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not, at the deadline.
    """
    deadline_s, pause = monotonic_s() + within_s, threading.Event()
    while not is_so():
        assert monotonic_s() < deadline_s, f"not within {within_s:g} s: {what}"
        pause.wait(_EVERY_S)
