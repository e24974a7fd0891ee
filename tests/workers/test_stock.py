"""Connections kept ready to one destination, which the test speaks for."""

import errno
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.keepalive import Keepalive
from pools.net.resolver import Address, Resolver
from pools.net.scoreboard import Cell
from tests.floor import Floor, receive, refusing_address, reset, send_all, settle, turn, turn_until
from tests.workers.world import empty_row
from workers.egress import Egress, Ready
from workers.settings import Outbound
from workers.stock import Stock

CELLS = {
    "hit": Cell.PRECONNECT_HITS,
    "miss": Cell.PRECONNECT_MISSES,
    "dialled": Cell.PRECONNECT_DIALLED,
    "failed": Cell.PRECONNECT_FAILED,
    "closed": Cell.PRECONNECT_CLOSED,
}


class Server:
    """A destination, and a stock of connections to it.

    Attributes:
        later_s: how much later it is for the stock than on the true clock.
    """

    def __init__(self, floor: Floor, at: tuple[str, int], wanted: int, allowed: Callable[[Address], bool]) -> None:
        self.floor = floor
        self.row = empty_row()
        self.later_s = 0.0
        self.accepted: list[socket.socket] = []
        resolver = Resolver(again_after_s=60.0, on_failure=lambda: None)
        self.stock = Stock(
            Endpoint(*at),
            wanted,
            egress=Egress(readiness=floor.readiness, resolver=resolver, settings=Outbound(), on_retry=lambda: None),
            readiness=floor.readiness,
            keepalive=Keepalive(idle=45),
            connect_s=5.0,
            row=self.row,
            allowed=allowed,
        )

    @property
    def counts(self) -> dict[str, int]:
        """What was counted, without what was not."""
        return {name: self.row[cell] for name, cell in CELLS.items() if self.row[cell]}

    def look(self) -> None:
        self.floor.in_hub(self.stock.look)

    def fill(self, listener: socket.socket, count: int) -> None:
        """Look until `count` connections are ready and accepted."""
        self.look()
        turn_until(lambda: len(self.stock) == count)
        while len(self.accepted) < self.row[Cell.PRECONNECT_DIALLED]:
            self.accepted.append(listener.accept()[0])
            self.accepted[-1].setblocking(False)
            self.floor.keep(self.accepted[-1])

    def take(self) -> Ready:
        taken = self.stock.take()
        assert taken is not None
        return taken

    def end_of(self, ready: Ready) -> socket.socket:
        """Give the server's end of a connection."""
        return next(end for end in self.accepted if end.getpeername() == ready.stream.socket.getsockname())


@contextmanager
def stocked(
    monkeypatch: pytest.MonkeyPatch, wanted: int = 2, allowed: Callable[[Address], bool] = lambda _: True
) -> Iterator[tuple[Server, socket.socket]]:
    with Floor() as floor, socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(floor, listener.getsockname(), wanted, allowed)
        monkeypatch.setattr("workers.stock.monotonic_s", lambda: monotonic_s() + server.later_s)
        yield server, listener
        floor.in_hub(server.stock.close)
        turn_until(lambda: len(floor.readiness) == 0)


def test_one_that_is_ready_is_taken_the_youngest_first_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch) as (server, listener):
        server.fill(listener, 2)
        first, second = server.take(), server.take()
        assert first.born_s >= second.born_s
        assert first.sockaddr == listener.getsockname()
        assert first.stream.on_readable is None
        first.stream.socket.send(b"hello")
        assert receive(server.end_of(first), 5) == b"hello"
        server.fill(listener, 2)
        assert server.counts == {"hit": 2, "dialled": 4}
        for ready in (first, second):
            ready.stream.close()


def test_one_that_lies_idle_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch, wanted=1) as (server, listener):
        server.fill(listener, 1)
        ready = server.take()
        assert ready.stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert ready.stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 45
        ready.stream.close()


def test_none_at_hand_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch) as (server, _):
        assert server.stock.take() is None
        assert server.counts == {"miss": 1}
        turn_until(lambda: len(server.stock) == 2)  # asking makes them, too


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_one_that_the_server_ends_is_replaced(
    end: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with stocked(monkeypatch, wanted=1) as (server, listener):
        server.fill(listener, 1)
        server.later_s = 60.0  # old enough for an end to be no offence
        end(server.accepted[0])
        turn_until(lambda: server.row[Cell.PRECONNECT_CLOSED] == 1)
        server.fill(listener, 1)
        assert server.counts == {"dialled": 2, "closed": 1}


def test_how_soon_the_server_ends_them_is_learned_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch, wanted=3) as (server, listener):
        server.fill(listener, 3)
        server.later_s = 60.0
        server.accepted[0].close()
        turn_until(lambda: server.row[Cell.PRECONNECT_CLOSED] == 3)  # the others are above 80 % of that age
        server.fill(listener, 3)
        server.later_s = 60.0 + 47.0
        server.look()
        assert server.counts == {"dialled": 6, "closed": 3}
        server.later_s = 60.0 + 49.0
        server.look()
        assert server.row[Cell.PRECONNECT_CLOSED] == 6


def test_a_server_that_ends_them_at_once_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with stocked(monkeypatch) as (server, listener):
        server.fill(listener, 2)
        for end in server.accepted:
            end.close()
        turn_until(lambda: server.row[Cell.PRECONNECT_CLOSED] == 2)
        server.look()
        assert server.row[Cell.PRECONNECT_DIALLED] == 2
        server.later_s = 1.0
        server.look()
        turn_until(lambda: len(server.stock) == 1)
        server.look()
        settle()
        assert server.counts == {"dialled": 3, "closed": 2}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "ended a connection that was kept ready, after 0.0 s" in caplog.text


def test_what_the_server_says_first_is_for_whoever_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch, wanted=1) as (server, listener):
        server.fill(listener, 1)
        send_all(server.accepted[0], b"220 ready\r\n")
        turn()
        ready = server.take()
        turn_until(lambda: ready.stream.readable)
        assert ready.stream.socket.recv(100) == b"220 ready\r\n"
        ready.stream.close()
        assert server.row[Cell.PRECONNECT_HITS] == 1


def test_words_with_an_end_behind_them_are_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch, wanted=1) as (server, listener):
        server.fill(listener, 1)
        server.later_s = 60.0
        send_all(server.accepted[0], b"421 too many\r\n")
        server.accepted[0].close()
        turn_until(lambda: server.row[Cell.PRECONNECT_CLOSED] == 1)


def test_an_end_that_nobody_was_told_of_yet_is_found_when_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch, wanted=1) as (server, listener):
        server.fill(listener, 1)
        server.accepted[0].close()
        assert server.stock.take() is None  # the loop has not turned: no event has told
        assert server.counts == {"miss": 1, "dialled": 1, "closed": 1}


def test_a_server_that_refuses_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Floor() as floor, refusing_address() as address:
        server = Server(floor, address, 4, lambda _: True)
        monkeypatch.setattr("workers.stock.monotonic_s", lambda: monotonic_s() + server.later_s)
        server.look()
        turn_until(lambda: server.row[Cell.PRECONNECT_FAILED] == 4)
        server.look()
        settle()
        assert server.counts == {"failed": 4}
        server.later_s = 1.0
        server.look()
        turn_until(lambda: server.row[Cell.PRECONNECT_FAILED] == 5)
        floor.in_hub(server.stock.close)
    assert len(caplog.records) == 1
    assert errno.errorcode[errno.ECONNREFUSED] in caplog.text


def test_no_address_is_dialled_that_is_not_allowed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with stocked(monkeypatch, allowed=lambda address: address.sockaddr[0] != "127.0.0.1") as (server, listener):
        server.look()
        turn_until(lambda: server.row[Cell.PRECONNECT_FAILED] == 2)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert "EACCES" in caplog.text


def test_after_the_end_nothing_is_kept_nor_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch) as (server, listener):
        server.fill(listener, 2)
        taken = server.take()
        server.floor.in_hub(server.stock.close)
        taken.stream.close()
        server.look()
        settle()
        assert len(server.stock) == 0
        assert len(server.floor.readiness) == 0


def test_the_end_breaks_off_what_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    with stocked(monkeypatch) as (server, _):

        def begin_and_end() -> None:
            server.stock.look()
            server.stock.close()

        server.floor.in_hub(begin_and_end)
        settle()
        assert len(server.floor.readiness) == 0
        assert server.counts == {}
