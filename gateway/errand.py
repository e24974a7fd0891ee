"""Sends a short-lived child to do one thing, for what the supervisor must not load or wait for itself."""

import json
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, NoReturn

from gateway import signals
from pools.net.clock import monotonic_s
from pools.net.errors import MidmileError

_READ_BYTES: Final = 65_536


class ErrandError(MidmileError):
    """The child did not come back in time, or not with an answer."""


def run(task: Callable[[], Any], *, limit_s: float) -> Any:
    """Have a forked child call `task`, and give what it returned.

    Args:
        task: returns what JSON can say. What it loads, opens or leaves behind in memory is gone with the child.
        limit_s: seconds, after which the child is killed.

    Raises:
        ErrandError: it failed, in which case its traceback is on stderr, or took too long, or no process or descriptor
            is left.
    """
    try:
        return _run(task, limit_s)
    except OSError as error:
        raise ErrandError(f"cannot send a child: {error}") from error


def _run(task: Callable[[], Any], limit_s: float) -> Any:
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with closing(os.fdopen(reader, "rb", buffering=0)) as answers:
        with closing(os.fdopen(writer, "wb", buffering=0)) as ours, signals.held_back():
            pid = os.fork()
            if pid == 0:
                _live(task, ours.fileno())
        try:
            return _decoded(_read(answers.fileno(), until_s=monotonic_s() + limit_s))
        finally:
            os.kill(pid, signal.SIGKILL)  # ours until it is waited for, so this hits nobody else
            os.waitpid(pid, 0)


def _live(task: Callable[[], Any], writer: int) -> NoReturn:
    try:
        signals.ignore_all()
        answer = json.dumps(task()).encode()
        while answer:
            answer = answer[os.write(writer, answer) :]
    except BaseException:  # noqa: BLE001  # the top of a child's life, which must never get into its parent's
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _read(reader: int, *, until_s: float) -> bytes:
    told = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while selector.select(max(0.0, until_s - monotonic_s())):
            part = os.read(reader, _READ_BYTES)
            if not part:
                return told
            told += part
    raise ErrandError("expected an answer of a child in time; found none")


def _decoded(told: bytes) -> Any:
    if not told:
        raise ErrandError("expected an answer of a child; it ended without one")
    return json.loads(told)
