import os
import resource
import signal

import pytest

from gateway import errand

LIMIT_S = 20.0


def test_the_answer_comes_back_and_what_the_child_did_to_its_memory_does_not() -> None:
    seen: list[int] = []

    def task() -> dict[str, int]:
        seen.append(1)
        return {"pid": os.getpid(), "seen": len(seen)}

    answer = errand.run(task, limit_s=LIMIT_S)
    assert answer["pid"] != os.getpid()
    assert answer["seen"] == 1
    assert not seen


def test_an_answer_longer_than_a_pipe_comes_whole() -> None:
    assert errand.run(lambda: "x" * 300_000, limit_s=LIMIT_S) == "x" * 300_000


def test_a_task_that_fails_says_so_and_shows_where(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(errand.ErrandError, match="ended without one"):
        errand.run(lambda: 1 // 0, limit_s=LIMIT_S)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_task_that_hangs_is_ended_in_time() -> None:
    with pytest.raises(errand.ErrandError, match="in time"):
        errand.run(signal.pause, limit_s=0.05)
    with pytest.raises(ChildProcessError):  # and collected
        os.waitpid(-1, os.WNOHANG)


def test_where_there_is_no_descriptor_left_that_is_an_answer_too() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most[1]))
    try:
        with pytest.raises(errand.ErrandError, match="cannot send a child: .*Too many open files"):
            errand.run(lambda: 1, limit_s=LIMIT_S)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
