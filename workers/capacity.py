"""How many sessions and legs of peers a worker may hold, and their descriptors. Arithmetic only: no limit is set."""

from typing import Final

RESERVED_DESCRIPTORS: Final = 192
"""What a worker needs besides its sessions' legs: 64 pipes, the hub, the channel, the log, listeners, lookups."""

HANDSHAKES: Final = 128
"""Newcomers to the overlay that a worker listens to at once."""

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


def legs_within(descriptors: int, *, sessions: int) -> int:
    """Give the legs of peers that a worker may hold under a limit of so many descriptors; at least 1.

    Not more than it may have sessions, for each carries one at a time. A leg in use is one of its session's two
    descriptors; idle ones come on top, and get what sessions leave. Where they leave nothing they get an eighth, so
    that peers can come in at all; when both are full together, accepting pauses until a descriptor is free.

    Args:
        descriptors: the process's limit.
        sessions: that the worker may hold.
    """
    free = max(0, descriptors - RESERVED_DESCRIPTORS - HANDSHAKES)
    return max(1, min(sessions, max(free - _LEGS * sessions, free // 8)))
