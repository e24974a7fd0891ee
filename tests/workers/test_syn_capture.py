"""A worker's capture on its hub: what comes, when, what a pause holds back, and what a predecessor left."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import gevent
import pytest

from pools.net.scoreboard import Cell
from tests.floor import Floor, settle, turn_until
from tests.lonely_network import inject, lonely_network, needs_root
from tests.packets import ACK, SYN, ipv4, ipv6, tcp
from tests.workers.world import empty_row
from workers.shard import ShardHash
from workers.syn_capture import SynCapture
from workers.syn_filter import ANY_IPV4, ANY_IPV6, Target
from workers.syn_packet import Syn
from workers.syn_sockets import Capture, open_captures

pytestmark = needs_root

PORT = 443


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as made:
        yield made


@pytest.fixture
def capture() -> Iterator[Capture]:
    """Give the whole of what one worker captures of a network of its own."""
    with lonely_network(), ExitStack() as owned:
        (only,) = open_captures([Target(ANY_IPV4, PORT), Target(ANY_IPV6, PORT)], shard=ShardHash(1, 1))
        for sock in only.sockets:
            owned.enter_context(sock)
        yield only


class Watcher:
    """A started capture, and what it told."""

    def __init__(self, floor: Floor, capture: Capture) -> None:
        self.row = empty_row()
        self.seen: list[int] = []
        self.pause_at = 0
        self.capture = SynCapture(copied(capture), readiness=floor.readiness, on_syn=self._note, row=self.row)
        self.capture.start()

    def _note(self, syn: Syn) -> None:
        self.seen.append(syn.client[1])
        if len(self.seen) == self.pause_at:
            self.capture.pause()


def copied(capture: Capture) -> Capture:
    """Give what a forked worker has: its own descriptors of the same sockets."""
    return replace(capture, sockets=tuple(sock.dup() for sock in capture.sockets))


@pytest.fixture
def watcher(floor: Floor, capture: Capture) -> Iterator[Watcher]:
    made = Watcher(floor, capture)
    yield made
    made.capture.close()


def knock(*ports: int, flags: int = SYN) -> None:
    """Have SYNs from these ports come in: IPv4 from even ones, IPv6 from odd ones."""
    inject(*((ipv6 if port % 2 else ipv4)(tcp(port, PORT, flags)) for port in ports))


def test_a_syn_is_told_by_the_hub(watcher: Watcher) -> None:
    knock(4000)
    turn_until(lambda: watcher.seen == [4000])
    knock(4001)
    turn_until(lambda: watcher.seen == [4000, 4001])


def test_drain_tells_all_that_is_there_without_the_hub(watcher: Watcher) -> None:
    knock(*range(4000, 4400))
    watcher.capture.drain()
    assert sorted(watcher.seen) == list(range(4000, 4400))
    assert watcher.row[Cell.SYNS_SEEN] == 400
    settle()
    assert len(watcher.seen) == 400


def test_a_syn_sent_again_is_told_again(watcher: Watcher) -> None:
    knock(4000, 4000)
    watcher.capture.drain()
    assert watcher.seen == [4000, 4000]


def test_other_packets_are_not_even_read(watcher: Watcher) -> None:
    knock(4000, 4001, flags=SYN | ACK)
    inject(ipv4(tcp(4002, PORT + 1)))
    inject(ipv4(tcp(4004, PORT)), to_others=True)
    watcher.capture.drain()
    assert (watcher.seen, watcher.row[Cell.SYNS_SEEN]) == ([], 0)


def test_a_syn_that_is_only_forwarded_is_not_told(floor: Floor) -> None:
    with lonely_network(), ExitStack() as owned:
        targets = [Target(ANY_IPV4, PORT, ends_here=True), Target(ANY_IPV4, PORT + 1)]
        (only,) = open_captures(targets, shard=ShardHash(1, 1))
        owned.enter_context(only.sockets[0])
        watcher = Watcher(floor, only)
        inject(ipv4(tcp(4000, PORT)), ipv4(tcp(4002, PORT), to="127.0.0.1"), ipv4(tcp(4004, PORT + 1)))
        watcher.capture.drain()
        assert watcher.seen == [4002, 4004]
        watcher.capture.close()


def test_the_loop_is_given_back_between_portions(watcher: Watcher, floor: Floor) -> None:
    knock(*range(4000, 4400, 2))
    portions: list[int] = []
    hub = gevent.get_hub()
    with gevent.Timeout(30):
        while len(watcher.seen) < 200:
            hub.wait(hub.loop.idle(priority=2))
            portions.append(len(watcher.seen))
    assert portions[0] <= 64


def test_what_came_before_the_start_is_stale(floor: Floor, capture: Capture) -> None:
    first = Watcher(floor, capture)
    knock(4000)  # unread: the worker that had it is gone by now
    second = Watcher(floor, capture)
    knock(4002)
    second.capture.drain()
    assert second.seen == [4002]
    first.capture.close()
    second.capture.close()


def test_a_pause_throws_away_what_is_there_and_what_comes(watcher: Watcher) -> None:
    knock(4000)
    watcher.capture.pause()
    knock(*range(4002, 5002))
    watcher.capture.drain()
    settle()
    assert (watcher.seen, watcher.row[Cell.SYNS_SEEN]) == ([], 0)


def test_after_a_pause_it_goes_on_with_what_comes_then(watcher: Watcher) -> None:
    watcher.capture.pause()
    knock(4000)
    watcher.capture.resume()
    knock(4002, 4003)
    turn_until(lambda: sorted(watcher.seen) == [4002, 4003])


def test_whoever_is_told_may_pause_it_at_once(watcher: Watcher) -> None:
    watcher.pause_at = 3
    knock(*range(4000, 4100))
    watcher.capture.drain()
    settle()
    assert len(watcher.seen) == 3
    watcher.capture.resume()
    knock(5000)
    turn_until(lambda: watcher.seen[3:] == [5000])


def test_a_flood_costs_a_paused_worker_not_one_packet(watcher: Watcher, capture: Capture) -> None:
    watcher.capture.pause()
    knock(*range(1, 2001))
    assert all(nothing_in(sock) for sock in capture.sockets)


def nothing_in(sock: socket.socket) -> bool:
    try:
        sock.recv(1)
    except BlockingIOError:
        return True
    return False


def test_what_finds_no_room_is_counted(watcher: Watcher, capture: Capture) -> None:
    for sock in capture.sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    knock(*range(4000, 4200))
    watcher.capture.drain()
    turn_until(lambda: watcher.row[Cell.SYNS_LOST])
    assert 0 < len(watcher.seen) == 200 - watcher.row[Cell.SYNS_LOST]


def test_after_the_end_the_supervisors_copy_is_silent(floor: Floor, capture: Capture) -> None:
    watcher = Watcher(floor, capture)
    knock(4000)
    watcher.capture.close()
    knock(4002)
    settle()
    assert watcher.seen == []
    assert all(nothing_in(sock) for sock in capture.sockets)


def test_the_successor_of_a_killed_worker_gets_the_same_sockets(floor: Floor, capture: Capture) -> None:
    killed = os.fork()
    if killed == 0:
        Watcher(floor, capture)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(killed, 0)
    knock(4000, 4001)
    successor = Watcher(floor, capture)
    assert not successor.seen
    knock(4002, 4003)
    turn_until(lambda: sorted(successor.seen) == [4002, 4003])
    successor.capture.close()
