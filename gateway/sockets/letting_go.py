"""When sockets end that no worker is wanted for any more: once workers have let go of them, and nobody waits there."""

from typing import Final

from gateway.sockets.holdings import Holdings
from pools.net.orders import LINGER_S

LET_GO_S: Final = LINGER_S + 0.5
"""After which workers have let go of what they were not given again."""

QUEUE_S: Final = 10.0
"""How much longer we wait for a worker to take those who wait in such a queue."""


class LettingGo:
    """The wait for that, after a change of the holdings. One at a time: all that nobody wants ends with it.

    Args:
        holdings: borrowed.
        now_s: when workers were told to let go, monotonic clock.
    """

    def __init__(self, holdings: Holdings, *, now_s: float) -> None:
        self._holdings = holdings
        self._due_s = now_s + LET_GO_S

    def turn(self, now_s: float) -> bool:
        """End those sockets if it is time to, and tell whether it was."""
        if now_s < self._due_s or (self._holdings.awaited and now_s < self._due_s + QUEUE_S):
            return False
        self._holdings.finish()
        return True
