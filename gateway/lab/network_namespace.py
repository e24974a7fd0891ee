"""Network namespaces without names: each lives as long as somebody holds its descriptor or runs in it.

Nothing is mounted below /run/netns, so there is nothing that a process killed with -9 could leave behind.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_HERE: Final = "/proc/thread-self/ns/net"
_libc: Final = ctypes.CDLL(None, use_errno=True)  # os.unshare and os.setns came with Python 3.12


def create() -> int:
    """Make a network namespace: no address, no route, its loopback device down.

    Returns:
        A descriptor that keeps it alive; the caller closes it.

    Raises:
        PermissionError: the caller lacks CAP_SYS_ADMIN.

    Source: unshare(2), network_namespaces(7).
    """
    with _returning():
        _check(_libc.unshare(_CLONE_NEWNET))
        return os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def entered(namespace: int | Path) -> Iterator[None]:
    """Be in a namespace: sockets, devices and children made in the block belong to it, also after the block.

    Only this thread enters it. While the block lasts /proc/sys/net shows the settings of that namespace.

    Args:
        namespace: a descriptor, or a path such as /proc/PID/ns/net.

    Source: setns(2), proc(5).
    """
    own = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC) if isinstance(namespace, Path) else os.dup(namespace)
    try:
        with _returning():
            _check(_libc.setns(own, _CLONE_NEWNET))
            yield
    finally:
        os.close(own)


@contextmanager
def _returning() -> Iterator[None]:
    home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            _check(_libc.setns(home, _CLONE_NEWNET))
        finally:
            os.close(home)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
