"""What is said to the service manager that started us, and what it hands us: sd_notify(3) and sd_listen_fds(3).

Only the protocol: datagrams to a Unix socket, and descriptors from 3 on. When to say what is decided elsewhere. By
hand, for it is a page of code: the libraries that exist load libsystemd, or have not been touched for years.
"""

import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

from pools.net.clock import monotonic_ns
from pools.net.errors import StartError

_log = logging.getLogger(__name__)

_NOTIFY: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_LISTEN: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START of systemd/sd-daemon.h
_MOST_DESCRIPTORS: Final = 4096  # one for each worker and listener is far below
_PARTING_S: Final = 1.0  # that a manager whose queue is full is waited for, before another process speaks to it
_BACKLOG: Final = 16  # messages kept for a manager that does not read


class Notifier:
    """Tells the service manager how this gateway is. Without one, every call does nothing.

    No call waits and none raises: a gateway serves whether or not somebody hears how it is. What finds the manager's
    queue full is sent again at the next turn, but for what says itself again soon.

    Args:
        address: of the manager's socket: a path, or "@" and a name in the abstract namespace; empty for none.
        watchdog_s: seconds without WATCHDOG=1 after which the manager gives us up; 0 for never.
    """

    def __init__(self, address: str = "", *, watchdog_s: float = 0.0) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._fed_s: float | None = None
        self._status = ""
        self._unsent: list[str] = []
        self._refused = ""
        self._socket: socket.socket | None = None
        if address:
            self._open()

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Make the one that the environment asks for, and take its variables out: children notify nobody."""
        address, watchdog_usec, watchdog_pid = (environment.pop(name, "") for name in _NOTIFY)
        ours = watchdog_pid in ("", str(os.getpid()))
        return cls(address, watchdog_s=int(watchdog_usec) / 1e6 if ours and watchdog_usec.isdecimal() else 0.0)

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self._socket is not None

    def environment(self) -> dict[str, str]:
        """Give the variables by which another supervisor, started by this one, becomes the notifier.

        Without WATCHDOG_PID, which would name this process.
        """
        entries = {"NOTIFY_SOCKET": self._address} if self._address else {}
        return entries | ({"WATCHDOG_USEC": str(round(self._watchdog_s * 1e6))} if self._watchdog_s else {})

    def ready(self, status: str, *, main_pid: int | None = None) -> None:
        """Say that the start, or a reload, is done.

        Args:
            main_pid: who is the service from now on; None for who has been.
        """
        self._status = status
        self._tell("READY=1", f"STATUS={_line(status)}", *([] if main_pid is None else [f"MAINPID={main_pid}"]))

    def reloading(self) -> None:
        """Say that a reload begins. `ready` ends it, done or refused."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end has begun. The manager's TimeoutStopSec runs from here."""
        self._tell("STOPPING=1")

    def hand_over(self, main_pid: int) -> None:
        """Say that another process of this service is the service from now on, and say nothing more.

        Only the main process may say so (NotifyAccess=main), and what it would say later is not about the service.
        """
        self._tell(f"MAINPID={main_pid}")
        if self._unsent and self._socket is not None:
            self._socket.settimeout(_PARTING_S)  # unheard, it would end the service with this process
            self._flush()
        self.close()

    def extend(self, seconds: float) -> None:
        """Ask to be given `seconds` from now for what is under way, a start, or an end, should that be more."""
        self._tell(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def status(self, text: str) -> None:
        """Show one line about the gateway in `systemctl status`; sent where it is another than before."""
        if text != self._status and not self._unsent:
            self._status = text
            self._tell(f"STATUS={_line(text)}")

    def turn(self, now_s: float, *, well: bool) -> None:
        """Send what is unsent, and feed the watchdog when that is due, at half its time (sd_watchdog_enabled(3)).

        Args:
            well: the gateway does its work. Else it starves, and the manager does what its WatchdogSec is for.
        """
        self._flush()
        is_due = self._fed_s is None or now_s - self._fed_s >= self._watchdog_s / 2
        if self._watchdog_s and well and is_due and not self._unsent:
            self._fed_s = now_s
            self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Tell nobody any more: in a child, or at the end."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        if self._address[0] not in "/@" or len(self._address) < 2:
            expected = "expected a path or an abstract name in $NOTIFY_SOCKET"
            _log.warning("the service manager hears nothing: %s; found %r", expected, self._address)
            return
        try:  # one for life: a gateway without a descriptor left must still be able to feed the watchdog
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            _log.warning("the service manager hears nothing: %s", error)

    def _tell(self, *assignments: str) -> None:
        if self._socket is not None and len(self._unsent) < _BACKLOG:
            self._unsent.append("\n".join(assignments))
            self._flush()

    def _flush(self) -> None:
        """Send in order, until the manager's queue is full."""
        while self._unsent and self._socket is not None:
            try:
                self._socket.sendto(self._unsent[0].encode(), _address(self._address))
            except BlockingIOError:
                return
            except OSError as error:
                self._warn(str(error))
            self._unsent.pop(0)

    def _warn(self, reason: str) -> None:
        if reason != self._refused:  # it may be the same every second from here on
            _log.warning("the service manager did not hear %r: %s", self._unsent[0], reason)
        self._refused = reason


def inherited_listeners(environment: MutableMapping[str, str] = os.environ) -> list[tuple[str, socket.socket]]:
    """Take the sockets that the service manager opened for us, and their variables out of the environment.

    Returns:
        The name of each (FileDescriptorName= of its unit, which is the unit's own where it says nothing) and itself,
        in the manager's order. Close-on-exec and non-blocking; the caller owns them.

    Raises:
        StartError: what was passed is no listening TCP socket.
    """
    count, pid, names, _ = (environment.pop(name, "") for name in _LISTEN)
    if pid != str(os.getpid()) or not count.isdecimal() or int(count) > _MOST_DESCRIPTORS:
        return []  # for somebody else, who started us without clearing them away
    descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    given = names.split(":") if names else []
    called = given if len(given) == len(descriptors) else ["unknown"] * len(descriptors)
    return [(name, _listener(descriptor, name)) for name, descriptor in zip(called, descriptors, strict=True)]


def _listener(descriptor: int, name: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(_unfit(descriptor, name, f"no socket ({error.strerror})")) from error
    sock.setblocking(False)
    is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    if not (is_tcp and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)):
        found = f"{sock.family.name} {sock.type.name} at {sock.getsockname()!r}"
        sock.close()
        raise StartError(_unfit(descriptor, name, found))
    return sock


def _unfit(descriptor: int, name: str, found: str) -> str:
    return f"descriptor {descriptor} of the service manager ({name}): expected a listening TCP socket; found {found}"


def _address(name: str) -> str:
    return "\0" + name[1:] if name.startswith("@") else name


def _line(text: str) -> str:
    """A newline would begin another assignment."""
    return " ".join(text.split())
