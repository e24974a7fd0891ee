"""How many sessions a worker may hold, and how many descriptors they take. Arithmetic only: no limit is read or set."""

from typing import Final

RESERVED_DESCRIPTORS: Final = 192
"""What a worker needs besides its sessions' legs: 64 pipes, the hub, the channel, the log, listeners, lookups."""

_LEGS: Final = 2  # of a session, a descriptor each; a pipe that cannot be had is copied around


def share_of(sessions: int, *, workers: int) -> int:
    """Give how many of `sessions` each of `workers` holds, rounded up."""
    return -(-sessions // workers)


def descriptors_for(sessions: int) -> int:
    """Give the descriptors that a worker needs for so many sessions."""
    return _LEGS * sessions + RESERVED_DESCRIPTORS


def sessions_within(descriptors: int) -> int:
    """Give the sessions that a worker has room for under a limit of so many descriptors; never below 0."""
    return max(0, descriptors - RESERVED_DESCRIPTORS) // _LEGS
