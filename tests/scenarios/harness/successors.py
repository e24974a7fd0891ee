"""A gateway's new supervisor after an upgrade: no child of the tests, so it is watched as a service manager would."""

import os
import select
import signal
import subprocess


class Successor:
    """A process that somebody else started, with what is used here of subprocess.Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._has_ended = False

    def poll(self) -> int | None:
        """Give 0 once it has ended: only its parent is told how."""
        if not self._has_ended and self._is_readable(0):
            self._has_ended = True
            os.close(self._pidfd)
        return 0 if self._has_ended else None

    def wait(self, timeout: float) -> int:
        """Wait until it has ended, and give 0."""
        if self.poll() is None and not self._is_readable(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        self.poll()
        return 0

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def _is_readable(self, timeout: float) -> bool:
        waiting = select.poll()  # select(2) stops at descriptor 1024
        waiting.register(self._pidfd, select.POLLIN)
        return bool(waiting.poll(timeout * 1000))
