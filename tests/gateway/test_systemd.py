import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway import systemd
from gateway.systemd import Notifier, inherited_listeners
from pools.net.errors import StartError

LIMIT_S = 30.0
ROOT = Path(__file__).parents[2]


class Manager:
    """The service manager's end of the conversation."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(LIMIT_S)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def heard(self) -> list[str]:
        """Give the assignments of the next message."""
        return self._socket.recv(4096).decode().split("\n")

    def has_nothing_more(self) -> bool:
        return select.select([self._socket], [], [], 0) == ([], [], [])

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with closing(Manager(str(tmp_path / "notify"))) as made:
        yield made


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    notifier.ready("serving")
    notifier.reloading()
    notifier.turn(1.0, well=True)
    notifier.stopping()
    assert not notifier.is_heard
    assert notifier.environment() == {}


def test_abstract_names_are_reached_too() -> None:
    address = f"@midmile-test-{os.getpid()}"
    with (
        closing(Manager(address)) as manager,
        closing(Notifier.from_environment({"NOTIFY_SOCKET": address})) as notifier,
    ):
        notifier.stopping()
        assert manager.heard() == ["STOPPING=1"]


def test_a_life_from_ready_to_stopping(manager: Manager) -> None:
    with closing(Notifier(manager.address)) as notifier:
        notifier.status("starting")
        notifier.ready("serving: 2 workers")
        notifier.status("serving: 2 workers")  # no news
        notifier.reloading()
        notifier.ready("serving: 3 workers", main_pid=77)
        notifier.status("draining\nREADY=1")  # a line, whatever is in it
        notifier.extend(12.5)
        notifier.stopping()
    assert manager.heard() == ["STATUS=starting"]
    assert manager.heard() == ["READY=1", "STATUS=serving: 2 workers"]
    reloading, at = manager.heard()
    assert reloading == "RELOADING=1"
    assert at.startswith("MONOTONIC_USEC=")
    assert manager.heard() == ["READY=1", "STATUS=serving: 3 workers", "MAINPID=77"]
    assert manager.heard() == ["STATUS=draining READY=1"]
    assert manager.heard() == ["EXTEND_TIMEOUT_USEC=12500000"]
    assert manager.heard() == ["STOPPING=1"]
    assert manager.has_nothing_more()


def test_the_watchdog_is_fed_at_half_its_time_and_only_while_all_is_well(manager: Manager) -> None:
    with closing(Notifier(manager.address, watchdog_s=10.0)) as notifier:
        for now_s, well in ((100.0, True), (104.9, True), (105.0, True), (110.0, False), (111.0, True)):
            notifier.turn(now_s, well=well)
            notifier.status(f"at {now_s}")
    said = [manager.heard()[0] for _ in range(8)]
    assert said == [
        "WATCHDOG=1", "STATUS=at 100.0", "STATUS=at 104.9", "WATCHDOG=1", "STATUS=at 105.0", "STATUS=at 110.0",
        "WATCHDOG=1", "STATUS=at 111.0",
    ]  # fmt: skip


def test_variables_are_taken_out_and_kept_for_a_successor(manager: Manager) -> None:
    asked = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    environment = {**asked, "HOME": "/"}
    with closing(Notifier.from_environment(environment)) as notifier:
        assert environment == {"HOME": "/"}
        assert notifier.environment() == {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000000"}


@pytest.mark.parametrize("wrong", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "-5"}])
def test_a_watchdog_for_somebody_else_or_without_a_time_is_not_fed(manager: Manager, wrong: dict[str, str]) -> None:
    asked = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"} | wrong
    with closing(Notifier.from_environment(asked)) as notifier:
        notifier.turn(5.0, well=True)
    assert manager.has_nothing_more()


def test_after_handing_over_nothing_is_said(manager: Manager) -> None:
    notifier = Notifier(manager.address, watchdog_s=1.0)
    notifier.hand_over(4711)
    notifier.stopping()
    notifier.turn(9.0, well=True)
    assert manager.heard() == ["MAINPID=4711"]
    assert manager.has_nothing_more()


def test_what_finds_the_managers_queue_full_is_sent_later(manager: Manager) -> None:
    with closing(Notifier(manager.address)) as notifier:
        full = 0
        while not notifier._unsent:
            notifier.extend(1.0)
            full += 1
        notifier.ready("serving")
        notifier.status("no news while others wait")
        for _ in range(full):
            manager.heard()
            notifier.turn(1.0, well=True)
    assert manager.heard() == ["READY=1", "STATUS=serving"]
    assert manager.has_nothing_more()


def test_a_manager_that_is_late_hears_of_the_hand_over(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_PARTING_S", LIMIT_S)
    notifier = Notifier(manager.address)
    full = 0
    while not notifier._unsent:
        notifier.extend(1.0)
        full += 1
    handing = threading.Thread(target=notifier.hand_over, args=(4711,))
    handing.start()
    for _ in range(full):
        manager.heard()
    assert manager.heard() == ["MAINPID=4711"]
    handing.join(LIMIT_S)


@pytest.mark.parametrize("address", ["vsock:2:1234", "@", "/nowhere/notify", "/" + "x" * 200])
def test_an_address_that_leads_nowhere_is_told_once_and_hurts_nobody(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), closing(Notifier(address, watchdog_s=1.0)) as notifier:
        for now_s in range(10):
            notifier.turn(float(now_s), well=True)
    assert len(caplog.records) == 1


def in_activated_process(*sockets: socket.socket, names: str, pid: str = "os.getpid()") -> str:
    """Give what a process says that gets `sockets` as a service manager passes them: from descriptor 3 on."""
    code = (
        "import os, socket\n"
        f"os.environ |= dict(LISTEN_FDS='{len(sockets)}', LISTEN_PID=str({pid}), LISTEN_FDNAMES='{names}')\n"
        "from gateway.systemd import inherited_listeners\n"
        "for name, sock in inherited_listeners():\n"
        "    print(name, sock.fileno(), sock.getsockname()[1], sock.get_inheritable(), sock.getblocking())\n"
        "print([name for name in os.environ if name.startswith('LISTEN_')])\n"
    )
    moves = "".join(f" {3 + at}<&{sock.fileno()}" for at, sock in enumerate(sockets))
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1"{moves}', sys.executable, code],
        cwd=ROOT,
        pass_fds=[sock.fileno() for sock in sockets],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture
def listening() -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def one() -> socket.socket:
        while (sock := socket.create_server(("127.0.0.1", 0))).fileno() < 10:  # out of the way of bash's moves
            opened.append(sock)
        opened.append(sock)
        return sock

    yield one
    for sock in opened:
        sock.close()


def test_passed_sockets_come_with_their_names_in_order(listening: Callable[[], socket.socket]) -> None:
    one, two = listening(), listening()
    first, second, variables = in_activated_process(one, two, names="web:web").splitlines()
    assert first == f"web 3 {one.getsockname()[1]} False False"
    assert second == f"web 4 {two.getsockname()[1]} False False"
    assert variables == "[]"


def test_sockets_for_another_process_are_left_alone(listening: Callable[[], socket.socket]) -> None:
    assert in_activated_process(listening(), names="web", pid="1") == "[]\n"


def test_names_that_do_not_fit_are_no_names(listening: Callable[[], socket.socket]) -> None:
    assert in_activated_process(listening(), names="").startswith("unknown 3 ")


def test_what_does_not_listen_is_refused_in_words(listening: Callable[[], socket.socket]) -> None:
    listening()
    with socket.socket() as idle:
        said = in_activated_process(idle, names="web")
    assert StartError.__name__ in said
    assert (
        "descriptor 3 of the service manager (web): expected a listening TCP socket; found AF_INET SOCK_STREAM" in said
    )


def test_without_variables_nothing_was_passed() -> None:
    assert inherited_listeners({}) == []
