"""Who is at the other end of a Unix socket, as the kernel says it: nobody can claim to be another there."""

import os
import select
import socket
import struct
from dataclasses import dataclass
from typing import Final

_UCRED: Final = struct.Struct("iII")  # pid, uid, gid


@dataclass(frozen=True, slots=True)
class PeerProcess:
    """The process that connected, or that listens."""

    pid: int
    uid: int

    def __str__(self) -> str:
        return f"pid {self.pid} of user {self.uid}"


def peer_process(connection: socket.socket) -> PeerProcess:
    """Give the process that `connection` was made by or to. Source: unix(7), SO_PEERCRED and struct ucred."""
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return PeerProcess(pid, uid)


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended, be it that nobody has collected it yet; False where that cannot be known."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # no descriptor left to ask by
        return False
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    try:
        return bool(waiting.poll(0))
    finally:
        os.close(pidfd)
