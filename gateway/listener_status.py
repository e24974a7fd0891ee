"""How the listeners are, as numbers: what all workers wrote on the scoreboard about each, summed.

Names and addresses of listeners are not on the scoreboard; whoever shows them has them from the configuration.
"""

from dataclasses import dataclass

from pools.net.scoreboard import ListenCell, Scoreboard


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """One listener, over all workers.

    Attributes:
        sessions: live ones.
        sessions_total: accepted since the gateway started.
        failed: of those, ended without a relay.
    """

    sessions: int
    sessions_total: int
    forward_bytes: int
    backward_bytes: int
    failed: int


def read_listener(scoreboard: Scoreboard, number: int) -> ListenerStatus:
    """Read how the listener is whose place on the scoreboard is `number`."""
    return ListenerStatus(
        sessions=summed(scoreboard, number, ListenCell.SESSIONS),
        sessions_total=summed(scoreboard, number, ListenCell.SESSIONS_TOTAL),
        forward_bytes=summed(scoreboard, number, ListenCell.FORWARD_BYTES),
        backward_bytes=summed(scoreboard, number, ListenCell.BACKWARD_BYTES),
        failed=summed(scoreboard, number, ListenCell.FAILED),
    )


def summed(scoreboard: Scoreboard, number: int, cell: ListenCell) -> int:
    """Give what all rows together say of a listener; rows of the dead count too, which keeps totals monotonic."""
    return sum(scoreboard.row(index).listener(number, cell) for index in range(scoreboard.rows))
