"""Which counters tell of trouble, in an operator's words, and how much it weighs. Values only."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from gateway.metrics import TOTALS
from pools.net.scoreboard import Cell


class Weight(StrEnum):
    """How much an entry asks for.

    Attributes:
        NOTE: clients do such things, and peers come back.
        WARNING: a session failed that ought not to, or room ran out.
        ERROR: something of ours broke, or a peer is lost.
    """

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


TROUBLES: Final[Mapping[Cell, tuple[Weight, str]]] = {
    Cell.INTERNAL_ERRORS: (Weight.ERROR, "fault of ours, its traceback is in the log"),
    Cell.RESTARTS: (Weight.ERROR, "process replaced"),
    Cell.PEER_PROTOCOL_ERRORS: (Weight.ERROR, "peer broke the protocol"),
    Cell.ACCEPT_ERRORS: (Weight.WARNING, "accept failed"),
    Cell.ACCEPT_PAUSES: (Weight.WARNING, "worker stopped accepting for want of room"),
    Cell.SOURCE_REFUSED: (Weight.WARNING, "client beyond sessions_per_source"),
    Cell.AUTH_FAILED: (Weight.WARNING, "wrong password"),
    Cell.CONNECT_REFUSED: (Weight.WARNING, "destination refused"),
    Cell.CONNECT_TIMED_OUT: (Weight.WARNING, "destination did not answer"),
    Cell.CONNECT_UNREACHABLE: (Weight.WARNING, "destination unreachable"),
    Cell.CONNECT_FAILED: (Weight.WARNING, "connecting failed"),
    Cell.RESOLVE_FAILED: (Weight.WARNING, "session without an address for its name"),
    Cell.LOOKUPS_FAILED: (Weight.WARNING, "name asked for in vain"),
    Cell.RESET_BY_OUTBOUND: (Weight.WARNING, "destination broke off"),
    Cell.OPENS_REFUSED: (Weight.WARNING, "peer asked for what our rules refuse"),
    Cell.STRANGERS: (Weight.WARNING, "stranger at the overlay"),
    Cell.SYNS_LOST: (Weight.WARNING, "SYN not captured in time"),
    Cell.EARLY_SKIPPED: (Weight.WARNING, "SYN beyond a limit of early SYN"),
    Cell.EARLY_PAUSES: (Weight.WARNING, "early SYN paused: too many SYNs"),
    Cell.PRECONNECT_FAILED: (Weight.WARNING, "ready connection could not be made"),
    Cell.LOG_LINES_DROPPED: (Weight.WARNING, "log line dropped, nobody read it"),
    Cell.NOT_CAPTURED: (Weight.NOTE, "client the firewall did not lead here"),
    Cell.BAD_REQUESTS: (Weight.NOTE, "bad request"),
    Cell.HANDSHAKE_TIMED_OUT: (Weight.NOTE, "client said too little in time"),
    Cell.IDLE_TIMED_OUT: (Weight.NOTE, "session idle for too long"),
    Cell.HALF_CLOSED_TIMED_OUT: (Weight.NOTE, "half-closed session idle for too long"),
    Cell.RESET_BY_INBOUND: (Weight.NOTE, "client broke off"),
    Cell.NULL_SESSIONS: (Weight.NOTE, "client left without a request"),
    Cell.RETRIES: (Weight.NOTE, "further address tried"),
    Cell.OPEN_RETRIES: (Weight.NOTE, "session begun again on another leg or path"),
    Cell.LEGS_STALE: (Weight.NOTE, "pool leg found dead"),
}
"""What each counter says when it moves."""

_FAILURES: Final = frozenset(cell for cell, (family, _) in TOTALS.items() if family.label == "reason")
FAILED: Final = frozenset(cell for cell in _FAILURES if TROUBLES[cell][0] is not Weight.NOTE)
"""Sessions that failed, and not by what their clients did: a port scan, or a balancer's check, is no failure."""
