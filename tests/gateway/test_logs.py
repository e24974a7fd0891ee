"""The process log's lines carry time and role, and cannot be forged or block."""

import json
import logging
import os
import re
from collections.abc import Iterator

import pytest

from gateway.logs import configure
from workers.settings import LogFormat


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    reader, writer = os.pipe()
    yield reader, writer
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    os.close(reader)
    os.close(writer)


def test_text_says_when_who_how_bad_and_what(pipe: tuple[int, int]) -> None:
    configure(LogFormat.TEXT, "worker 0", descriptor=pipe[1])
    logging.getLogger("workers.worker").warning("accept paused: %d sessions", 7)
    line = os.read(pipe[0], 4096).decode()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z worker 0 warning: accept paused: 7 sessions\n", line)


def test_a_message_with_control_characters_cannot_pass_for_another_line(pipe: tuple[int, int]) -> None:
    configure(LogFormat.TEXT, "admin", descriptor=pipe[1])
    logging.getLogger("x").error("bad name %s", "a\r\x1b[2J\n2026-01-01T00:00:00.000Z admin error: forged")
    first, second = os.read(pipe[0], 4096).decode().splitlines()
    assert first.endswith(r"bad name a\r\x1b[2J")
    assert second.startswith("    2026")


def test_a_traceback_follows_indented(pipe: tuple[int, int]) -> None:
    configure(LogFormat.TEXT, "supervisor", descriptor=pipe[1])
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("x").exception("child failed")
    lines = os.read(pipe[0], 65536).decode().splitlines()
    assert lines[0].endswith("supervisor error: child failed")
    assert lines[-1] == "    RuntimeError: boom"
    assert all(line.startswith("    ") for line in lines[1:])


def test_json_is_one_object_a_line_with_the_traceback_inside(pipe: tuple[int, int]) -> None:
    configure(LogFormat.JSON, "worker 3", descriptor=pipe[1])
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("x").exception("child failed")
    facts = json.loads(os.read(pipe[0], 65536))
    assert (facts["role"], facts["level"], facts["logger"], facts["message"]) == (
        "worker 3",
        "error",
        "x",
        "child failed",
    )
    assert facts["traceback"].endswith("RuntimeError: boom")


def test_a_second_call_replaces_the_first_role(pipe: tuple[int, int]) -> None:
    configure(LogFormat.TEXT, "supervisor", descriptor=pipe[1])
    configure(LogFormat.TEXT, "worker 1", descriptor=pipe[1])
    logging.getLogger("x").info("ready")
    assert os.read(pipe[0], 4096).decode().count("worker 1 info: ready\n") == 1


def test_a_full_stderr_does_not_hold_the_process(pipe: tuple[int, int]) -> None:
    configure(LogFormat.TEXT, "supervisor", descriptor=pipe[1])
    for _ in range(1000):
        logging.getLogger("x").info("y" * 1000)
    assert len(os.read(pipe[0], 1 << 20)) > 0
