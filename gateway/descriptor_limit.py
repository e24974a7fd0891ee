"""The limit on descriptors that every child inherits (getrlimit(2)), and what is said where it is too low."""

import resource

from workers.capacity import descriptors_for, sessions_within, share_of


def raise_to_hard() -> int:
    """Raise this process's soft limit to the hard one, and give it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def shortage(sessions: int, *, workers: int, allowed: int) -> str:
    """Say what `sessions`, over all of `workers`, lack under a limit of `allowed` descriptors; empty for nothing."""
    needed = descriptors_for(share_of(sessions, workers=workers))
    if needed <= allowed:
        return ""
    room = workers * max(1, sessions_within(allowed))  # a worker always takes one
    return (
        f"room for {room} of limits.sessions = {sessions}: the limit is {allowed} descriptors, "
        f"and {needed} are needed; set LimitNOFILE={needed} in systemd, or lower limits.sessions"
    )
