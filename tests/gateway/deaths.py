"""Waiting for processes that are nobody's here, or not this test's, to end."""

import os
import select

from tests.gateway.conftest import LIMIT_S


def wait_dead(pid: int) -> None:
    """Wait until a process has ended, be it that nobody has collected it."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        waiting = select.poll()
        waiting.register(pidfd, select.POLLIN)
        assert waiting.poll(LIMIT_S * 1000), f"expected pid {pid} to end"
    finally:
        os.close(pidfd)
