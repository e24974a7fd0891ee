"""Every error Midmile raises on purpose.

`OSError` becomes one of these at the ground floor and nowhere above it. A message says what was tried, on what,
which rule broke, and the value found.
"""

import errno
import os
from dataclasses import dataclass
from enum import StrEnum


class MidmileError(Exception):
    """Root of the errors below, so that a caller can tell ours from Python's."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file.

    Attributes:
        key: dotted path of the key, list entries by position, as in `listen[1].bind`.
        rule: what was expected, as a sentence without a full stop.
        found: the value, as the operator wrote it; never a secret.
    """

    key: str
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.key}: {self.rule}; found {self.found}"


class ConfigurationError(MidmileError):
    """A configuration that cannot be used, with all its problems at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class StartError(MidmileError):
    """The gateway could not start for a reason outside its configuration: a port taken, a right missing."""


class Side(StrEnum):
    """Which leg of a session, seen from this gateway."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Phase(StrEnum):
    """How far a session had come. The value is the second letter of the end code in the access log."""

    REQUEST = "R"
    RESOLVE = "Q"
    CONNECT = "C"
    DATA = "D"
    LAST = "L"


class LegError(MidmileError):
    """One leg failed: refused, unreachable, timed out, reset.

    Attributes:
        side: the leg that failed.
        phase: how far the session had come.
        errno: the kernel's number; ETIMEDOUT for our own timers, EHOSTUNREACH for a name without addresses.
        retryable: whether another address of the same destination may be tried, no byte having been confirmed.
    """

    def __init__(self, side: Side, phase: Phase, number: int, target: str, *, retryable: bool = False) -> None:
        super().__init__(f"{side} leg, {target}: {errno.errorcode.get(number, number)} ({os.strerror(number)})")
        self.side = side
        self.phase = phase
        self.errno = number
        self.retryable = retryable


class Fault(StrEnum):
    """Whose mistake a protocol error is."""

    OURS = "ours"
    THEIRS = "theirs"


class ProtocolError(MidmileError):
    """Bytes or a call that a protocol does not allow.

    Attributes:
        fault: ours is a bug here, theirs is bad input.
        reply: what the protocol wants said before the connection closes; empty for nothing.
        errno: EACCES for somebody who may not do what they ask, 0 for bytes that make no sense.
    """

    def __init__(self, message: str, *, fault: Fault = Fault.THEIRS, reply: bytes = b"", number: int = 0) -> None:
        super().__init__(message)
        self.fault = fault
        self.reply = reply
        self.errno = number


class ChildError(MidmileError):
    """A child process could not do its work; carries the exit code that the supervisor ends with."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
