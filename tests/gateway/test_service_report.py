import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.service_report import HOPELESS_S, ServiceReport, Standing, is_well, standing_of, status_line
from gateway.supervisor import Phase
from gateway.systemd import Notifier
from pools.net.scoreboard import Cell, ChildState, Duty, Layout, Scoreboard

SERVING = Standing(phase=Phase.RUNNING, wanted=2, silent_s=(0.1, 0.2), silence_limit_s=10.0, sessions=132, generation=3)


@pytest.mark.parametrize(
    ("standing", "line"),
    [
        (SERVING, "serving: 2 workers, 132 sessions; config generation 3"),
        (
            replace(SERVING, reload_failed=True),
            "serving: 2 workers, 132 sessions; config generation 3, the last reload was refused",
        ),
        (replace(SERVING, silent_s=(0.1,)), "serving: 1 of 2 workers, 132 sessions; config generation 3"),
        (replace(SERVING, wanted=1, silent_s=(0.1,)), "serving: 1 worker, 132 sessions; config generation 3"),
        (replace(SERVING, phase=Phase.STARTING, silent_s=()), "starting: 0 of 2 workers ready"),
        (replace(SERVING, phase=Phase.DRAINING, left_s=24.6), "draining: 132 sessions left, up to 25 s"),
        (replace(SERVING, phase=Phase.DRAINING, sessions=1), "draining: 1 session left, up to 0 s"),
        (replace(SERVING, phase=Phase.STOPPING), "stopping"),
    ],
)
def test_the_line_says_how_the_gateway_stands(standing: Standing, line: str) -> None:
    assert status_line(standing) == line


@pytest.mark.parametrize(
    ("standing", "well"),
    [
        (SERVING, True),
        (replace(SERVING, silent_s=(0.1,)), True),  # the other is being replaced
        (replace(SERVING, silent_s=()), False),  # nobody serves
        (replace(SERVING, silent_s=(0.1, 10.0 + HOPELESS_S)), True),  # about to be killed
        (replace(SERVING, silent_s=(0.1, 10.1 + HOPELESS_S)), False),  # should be dead, and is not
        (replace(SERVING, phase=Phase.STARTING, silent_s=()), True),
        (replace(SERVING, phase=Phase.DRAINING, silent_s=()), True),  # they have ended
        (replace(SERVING, phase=Phase.DRAINING, silent_s=(99.0,)), False),
        (replace(SERVING, phase=Phase.STOPPING, silent_s=(99.0,)), True),
    ],
)
def test_the_watchdog_starves_where_nobody_here_can_help(standing: Standing, well: bool) -> None:
    assert is_well(standing) is well


def test_the_standing_is_read_from_what_workers_write(tmp_path: Path) -> None:
    path = tmp_path / "scoreboard"
    used = Layout(workers=3, listeners=1)
    with closing(
        Scoreboard.create(path, used, supervisor_pid=1, started_ns=0, heartbeat_limit_ns=10_000_000_000)
    ) as board:
        for row, state, duty, sessions in zip(
            board.workers,
            (ChildState.READY, ChildState.BOOTING, ChildState.DRAINING),
            (Duty.SERVES, Duty.SERVES, Duty.RETIRES),
            (5, 0, 2),
            strict=True,
        ):
            row[Cell.STATE], row[Cell.DUTY], row[Cell.SESSIONS] = state, duty, sessions
            row[Cell.HEARTBEAT_NS] = 99_500_000_000
        board.carried[Cell.SESSIONS] = 3  # of a supervisor that retires
        board.note_reload_failed()
        found = standing_of(board, Phase.RUNNING, now_s=100.0, left_s=0.0)
    assert found == replace(SERVING, silent_s=(0.5,), sessions=10, generation=1, reload_failed=True)


class Scene:
    """A gateway that stands as a test says, and what its service manager hears."""

    def __init__(self, path: Path) -> None:
        self.standing = replace(SERVING, phase=Phase.STARTING, silent_s=())
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(str(path))
        self._notifier = Notifier(str(path), watchdog_s=10.0)
        self.speaks = True
        self.report = ServiceReport(self._notifier, lambda _: self.standing, speaks=lambda: self.speaks)

    def turn(self, now_s: float, **change: object) -> list[str]:
        self.standing = replace(self.standing, **change)  # type: ignore[arg-type]  # mypy cannot see which
        self.report.turn(now_s)
        return self.heard()

    def heard(self) -> list[str]:
        self._manager.setblocking(False)
        said = []
        try:
            while message := self._manager.recv(4096):
                said.append(message.decode())
        except BlockingIOError:
            return said
        raise AssertionError("expected messages that say something; found an empty one")

    def close(self) -> None:
        self._notifier.close()
        self._manager.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with closing(Scene(tmp_path / "notify")) as made:
        yield made


def test_a_gateway_from_start_to_stop(scene: Scene) -> None:
    assert scene.turn(100.0) == ["STATUS=starting: 0 of 2 workers ready", "WATCHDOG=1"]
    scene.standing = replace(SERVING, sessions=0, generation=1)
    scene.report.ready(100.1)
    line = "STATUS=serving: 2 workers, 0 sessions; config generation 1"
    assert scene.heard() == [f"READY=1\n{line}"]
    assert scene.turn(100.1) == []
    assert scene.turn(100.5, sessions=7) == []  # news, but not so soon
    assert scene.turn(102.1) == ["STATUS=serving: 2 workers, 7 sessions; config generation 1"]
    assert scene.turn(104.1) == []  # no news
    assert scene.turn(104.2, phase=Phase.DRAINING, left_s=30.0) == [
        "STOPPING=1", "STATUS=draining: 7 sessions left, up to 30 s", "EXTEND_TIMEOUT_USEC=20000000",
    ]  # fmt: skip
    assert scene.turn(104.3, left_s=29.9) == []
    assert scene.turn(106.3, left_s=27.9) == [
        "STATUS=draining: 7 sessions left, up to 28 s", "EXTEND_TIMEOUT_USEC=20000000", "WATCHDOG=1",
    ]  # fmt: skip
    assert scene.turn(106.4, phase=Phase.STOPPING) == ["STATUS=stopping"]


def test_a_start_that_fails_ends_too(scene: Scene) -> None:
    scene.turn(100.0)
    assert scene.turn(100.1, phase=Phase.STOPPING) == ["STOPPING=1", "STATUS=stopping"]


def test_a_reload_is_told_from_begin_to_end(scene: Scene) -> None:
    scene.turn(100.0, phase=Phase.RUNNING, silent_s=(0.1, 0.1))
    scene.report.reloading()
    scene.standing = replace(scene.standing, generation=4)
    scene.report.ready(100.2)
    begin, end = scene.heard()
    assert begin.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert end == "READY=1\nSTATUS=serving: 2 workers, 132 sessions; config generation 4"


def test_a_reload_that_is_refused_is_told_with_the_reason_until_another_is_done(scene: Scene) -> None:
    scene.turn(100.0, phase=Phase.RUNNING, silent_s=(0.1, 0.1), reload_failed=True)
    scene.report.reloading()
    scene.report.ready(100.2, refusal="an upgrade is under way")
    begin, end = scene.heard()
    assert begin.startswith("RELOADING=1\nMONOTONIC_USEC=")
    line = "config generation 3, the last reload was refused: an upgrade is under way"
    assert end == f"READY=1\nSTATUS=serving: 2 workers, 132 sessions; {line}"
    assert scene.turn(103.0, sessions=1)[0] == f"STATUS=serving: 2 workers, 1 session; {line}"
    scene.standing = replace(scene.standing, generation=4, reload_failed=False)
    scene.report.ready(104.0)
    assert scene.heard() == ["READY=1\nSTATUS=serving: 2 workers, 1 session; config generation 4"]


def test_nothing_is_said_while_another_speaks_for_the_service(scene: Scene) -> None:
    scene.speaks = False
    scene.report.reloading()
    scene.report.ready(100.0)
    assert scene.turn(100.0, phase=Phase.RUNNING) == []
    scene.speaks = True
    scene.report.ready(101.0)
    assert len(scene.heard()) == 1


def test_a_gateway_where_nobody_serves_starves_the_watchdog(scene: Scene) -> None:
    scene.turn(100.0, phase=Phase.RUNNING, silent_s=(0.1, 0.1))
    assert "WATCHDOG=1" not in scene.turn(110.0, silent_s=())
    assert "WATCHDOG=1" in scene.turn(111.0, silent_s=(0.1, 0.1))


def test_where_nobody_listens_nothing_is_looked_at() -> None:
    def look(now_s: float) -> Standing:
        raise AssertionError("expected no look at the gateway")

    ServiceReport(Notifier(), look).turn(1.0)
