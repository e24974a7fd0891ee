"""A service manager as systemd is one to a gateway: it opens its sockets, and hears how it is."""

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.scenarios.harness.programs import LIMIT_S

WATCHDOG_S: Final = 1.0

_ACTIVATE: Final = """
import fcntl, os, socket, sys
port, count, *words = sys.argv[1:]
passed = []
for _ in range(int(count)):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", int(port)))
    sock.listen()
    passed.append(fcntl.fcntl(sock, fcntl.F_DUPFD, 20))
for place, descriptor in enumerate(passed, 3):
    os.dup2(descriptor, place)
os.environ |= {"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": ":".join(["web"] * int(count))}
os.execvp(words[0], words)
"""


def activated(port: int, *, count: int) -> list[str]:
    """Give a command that becomes the one that follows it, which then has `count` sockets that listen on `port`."""
    return [sys.executable, "-c", _ACTIVATE, str(port), str(count)]


class ServiceManager:
    """Hears one gateway.

    Attributes:
        heard: every message so far, as its assignments.
    """

    def __init__(self, path: Path) -> None:
        self.heard: list[dict[str, str]] = []
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    @property
    def environment(self) -> dict[str, str]:
        """What the gateway finds in its environment."""
        return {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}

    def wait_for(self, wanted: Callable[[dict[str, str]], bool], *, expected: str) -> dict[str, str]:
        """Give the next message that is wanted."""
        deadline_s = time.monotonic() + LIMIT_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                message = self._socket.recv(65_536).decode()
            except TimeoutError:
                break
            self.heard.append(dict(line.split("=", 1) for line in message.split("\n")))
            if wanted(self.heard[-1]):
                return self.heard[-1]
        raise AssertionError(f"expected {expected}; heard {self.heard}")

    def wait_for_key(self, key: str) -> dict[str, str]:
        """Give the next message that says `key`."""
        return self.wait_for(lambda message: key in message, expected=key)

    def wait_for_status(self, *words: str) -> None:
        """Wait until a status has all of these words."""
        self.wait_for(
            lambda message: all(word in message.get("STATUS", "") for word in words),
            expected=f"a status with {words}",
        )

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()
        os.unlink(self._path)
