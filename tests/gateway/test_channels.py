"""Channels between the broker and the workers: made at each birth, in nobody else's hands, mended by the next birth."""

import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.channels import connect
from gateway.child import Kind, Role
from gateway.slot import Child, Slot
from pools.net.clock import monotonic_s
from pools.net.fd_passing import receive_message, send_message, socket_pair
from pools.net.orders import Order, OrderMessage
from pools.net.scoreboard import ROW_WORDS, Row

Start = Callable[..., Any]


def descriptors_of(pid: int) -> list[str]:
    """Name the kinds of what a process has open; the numbers in brackets change with each life."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists this directory
            found.append(os.readlink(each).partition("[")[0])
    return sorted(found)


def sockets_of(pid: int) -> set[str]:
    links = (os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith("socket:")}


def children_of(pid: int) -> dict[str, int]:
    """Give the living children by the name that ps shows."""
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return {Path(f"/proc/{child}/comm").read_text().strip(): child for child in children}


@dataclass
class Place:
    """A slot whose child is this process: what it would read is read by the test."""

    slot: Slot
    channel: socket.socket

    @classmethod
    def make(cls, kind: Kind, number: int = 0) -> "Place":
        ours, theirs = socket_pair()
        role = Role(kind, kind.value, number, "", None, Row(memoryview(b"")), (), lambda *_: 0, lambda: None)
        slot = Slot(role, Child(os.getpid(), os.pidfd_open(os.getpid()), ours, forked_s=0.0))
        return cls(slot, theirs)

    def receive(self) -> tuple[OrderMessage, socket.socket]:
        payload, [descriptor] = receive_message(self.channel)
        return OrderMessage.decode(payload), socket.socket(fileno=descriptor)

    def is_told_nothing(self) -> bool:
        return not select.select([self.channel], [], [], 0)[0]

    def fill(self) -> None:
        with suppress(BlockingIOError):
            while True:
                send_message(self.own.channel, b"x" * 60_000)

    @property
    def own(self) -> Child:
        assert self.slot.child is not None
        return self.slot.child

    def empty(self) -> None:
        self.own.close()
        self.slot.child = None

    def close(self) -> None:
        if self.slot.child is not None:
            self.empty()
        self.channel.close()


@pytest.fixture
def workers() -> Iterator[list[Place]]:
    places = [Place.make(Kind.WORKER, number) for number in range(2)]
    yield places
    for place in places:
        place.close()


@pytest.fixture
def broker() -> Iterator[Place]:
    place = Place.make(Kind.BROKER)
    yield place
    place.close()


def born(place: Place, workers: list[Place], broker: Place) -> None:
    connect(place.slot, workers=[each.slot for each in workers], broker=broker.slot)


def test_a_newborn_broker_gets_one_channel_to_each_worker(workers: list[Place], broker: Place) -> None:
    born(broker, workers, broker)
    for slot, worker in enumerate(workers):
        told, workers_end = worker.receive()
        broker_told, brokers_end = broker.receive()
        assert told == broker_told == OrderMessage(Order.CHANNEL, slot=slot)
        with workers_end, brokers_end:
            send_message(workers_end, b"take")
            assert receive_message(brokers_end) == (b"take", [])
            send_message(brokers_end, b"full")
            assert receive_message(workers_end) == (b"full", [])


def test_a_newborn_worker_gets_its_own_and_no_other_is_disturbed(workers: list[Place], broker: Place) -> None:
    born(workers[1], workers, broker)
    told, workers_end = workers[1].receive()
    _, brokers_end = broker.receive()
    workers_end.close()
    brokers_end.close()
    assert told.slot == 1
    assert workers[0].is_told_nothing()
    assert broker.is_told_nothing()


def test_a_channel_ends_with_either_of_its_two_holders(workers: list[Place], broker: Place) -> None:
    before = descriptors_of(os.getpid())
    born(broker, workers[:1], broker)
    assert descriptors_of(os.getpid()) == before  # both ends are on their way and nowhere else
    _, workers_end = workers[0].receive()
    _, brokers_end = broker.receive()
    brokers_end.close()
    with workers_end:
        assert receive_message(workers_end) == (b"", [])


def test_what_is_on_its_way_ends_with_the_one_it_was_sent_to(workers: list[Place], broker: Place) -> None:
    born(broker, workers[:1], broker)
    broker.channel.close()  # as the kernel does for a process that was killed before it read
    _, workers_end = workers[0].receive()
    with workers_end:
        assert receive_message(workers_end) == (b"", [])


@pytest.mark.parametrize("fault", ["full", "gone"])
def test_a_broker_that_cannot_be_told_leaves_its_worker_alone(
    workers: list[Place], broker: Place, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker.fill() if fault == "full" else broker.channel.close()
    before = descriptors_of(os.getpid())
    born(workers[0], workers, broker)
    assert descriptors_of(os.getpid()) == before
    assert workers[0].is_told_nothing()
    assert "broker does not take the order channel" in caplog.text


def test_an_order_that_finds_no_room_is_told_at_a_later_look(broker: Place) -> None:
    slot, now_s = broker.slot, monotonic_s()
    slot.role = replace(slot.role, row=Row(memoryview(bytearray(8 * ROW_WORDS)).cast("Q")))
    broker.fill()
    assert not slot.tell(OrderMessage(Order.STOP))
    with suppress(BlockingIOError):
        while receive_message(broker.channel):
            pass
    for _ in range(2):  # once is enough
        slot.watch(now_s, limit_s=60.0, watched_since_s=now_s)
    assert OrderMessage.decode(receive_message(broker.channel)[0]).order is Order.STOP
    assert broker.is_told_nothing()


@pytest.mark.parametrize("fault", ["full", "gone"])
def test_a_worker_that_cannot_be_told_ends_the_brokers_channel(
    workers: list[Place], broker: Place, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    workers[0].fill() if fault == "full" else workers[0].channel.close()
    before = descriptors_of(os.getpid())
    born(broker, workers, broker)
    assert descriptors_of(os.getpid()) == before
    _, brokers_end = broker.receive()
    with brokers_end:
        assert receive_message(brokers_end) == (b"", [])
    assert not workers[1].is_told_nothing()  # one worker's trouble is not the next one's
    assert "worker does not take the order channel" in caplog.text


def test_without_descriptors_there_is_no_channel_and_no_harm(
    workers: list[Place], broker: Place, caplog: pytest.LogCaptureFixture
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
    try:
        born(broker, workers, broker)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert workers[0].is_told_nothing()
    assert broker.is_told_nothing()
    assert "cannot make a channel between worker and broker" in caplog.text


def test_an_empty_place_gets_no_channel_and_its_partner_none(workers: list[Place], broker: Place) -> None:
    connect(workers[0].slot, workers=[workers[0].slot], broker=None)
    workers[0].empty()
    born(broker, workers[:1], broker)
    assert broker.is_told_nothing()
    broker.empty()
    born(workers[1], workers, broker)
    assert workers[1].is_told_nothing()


# With real forks: each answer went from a client to a worker, over the channel to the broker, and back.


def ask_both(gateway: Any) -> dict[int, list[int]]:
    """Give one answer of each of two workers: the kernel spreads the clients."""
    answers = {answer[0]: answer for answer in (gateway.answer(b"ask") for _ in range(64))}
    assert set(answers) == {0, 1}
    return answers


def test_every_worker_talks_to_the_broker_in_its_own_slot(start: Start) -> None:
    gateway = start(workers=2, peers=1).wait_ready()
    children = children_of(gateway.process.pid)
    for slot, pid, _, channel_slot, broker, _ in ask_both(gateway).values():
        assert (channel_slot, broker) == (slot, children["gateway-broker"])
        assert pid == children[f"gateway-w{slot}"]


def test_no_end_of_a_channel_is_anybody_elses(start: Start) -> None:
    gateway = start(workers=2, peers=1).wait_ready()
    ask_both(gateway)  # so both have theirs
    children = children_of(gateway.process.pid)
    worker_0, worker_1, broker = (sockets_of(children[f"gateway-{name}"]) for name in ("w0", "w1", "broker"))
    supervisor = sockets_of(gateway.process.pid)
    assert len(worker_0) == len(worker_1) == 3  # a listener, a channel to the supervisor, one to the broker
    assert len(broker) == 3  # a channel to the supervisor, one to each worker
    assert not supervisor & broker
    assert not (worker_0 | worker_1) & broker
    assert not worker_0 & worker_1
    assert len(supervisor & worker_0) == len(supervisor & worker_1) == 1  # the listener


def test_a_killed_broker_is_replaced_and_its_successor_is_connected(start: Start) -> None:
    gateway = start(peers=1).wait_ready()
    slot, worker, _, _, first, _ = gateway.answer(b"ask")
    with gateway.stay() as session:
        os.kill(first, signal.SIGKILL)
        gateway.wait_for(rf"broker, pid {first} ended by SIGKILL; next in 0\.1 s")
        _, same_worker, _, channel_slot, second, _ = gateway.answer(b"ask")
        session.sendall(b"still here")
        assert session.recv(100) == b"still here"
    assert same_worker == worker
    assert second != first
    assert channel_slot == slot


def test_a_killed_workers_successor_is_connected(start: Start) -> None:
    gateway = start(peers=1).wait_ready()
    _, first, _, _, broker, _ = gateway.answer(b"ask")
    os.kill(first, signal.SIGKILL)
    gateway.wait_for(r"worker 0, pid \d+ ended by SIGKILL")
    _, second, _, _, same_broker, _ = gateway.answer(b"ask")
    assert second != first
    assert same_broker == broker


def test_deaths_leave_no_descriptor_behind_and_no_origin_comes_again(start: Start) -> None:
    gateway = start(peers=1).wait_ready()
    _, _, worker_origin, _, _, broker_origin = gateway.answer(b"ask")
    origins = [worker_origin, broker_origin]
    children = children_of(gateway.process.pid)
    names = ("gateway-w0", "gateway-broker")
    before = [descriptors_of(pid) for pid in (gateway.process.pid, *(children[name] for name in names))]
    for number, name in enumerate(("gateway-broker", "gateway-w0", "gateway-broker")):
        os.kill(children_of(gateway.process.pid)[name], signal.SIGKILL)
        gateway.wait_for(r"ended by SIGKILL")
        answer = gateway.answer(b"ask")
        origins.append(answer[2] if name == "gateway-w0" else answer[5])
        assert len(set(origins)) == 3 + number
    children = children_of(gateway.process.pid)
    assert [descriptors_of(pid) for pid in (gateway.process.pid, *(children[name] for name in names))] == before


def test_a_broker_that_cannot_boot_ends_the_start_with_its_reason(start: Start) -> None:
    gateway = start(peers=1, broker="cannot boot")
    gateway.wait_for(r"could not start: broker, pid \d+ ended by exit code 3: ChildError: no leg to mumbai")
    assert gateway.end() == 3


def test_the_broker_outlives_the_last_session_of_a_drain(start: Start) -> None:
    gateway = start(peers=1).wait_ready()
    with gateway.stay() as session:
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for(r"draining: sessions left")
        session.sendall(b"during")
        assert session.recv(100) == b"during"  # the worker has taken the order
        assert "gateway-broker" in children_of(gateway.process.pid)
    assert gateway.end() == 0
    assert "broker has no session" not in gateway.rest()  # it never had any


def test_without_peers_there_is_no_broker(start: Start) -> None:
    gateway = start().wait_ready()
    assert set(children_of(gateway.process.pid)) == {"gateway-w0"}


def test_a_broker_that_hangs_is_replaced(start: Start) -> None:
    gateway = start(peers=1, heartbeat_s=1.0).wait_ready()
    broker = gateway.answer(b"ask")[4]
    os.kill(broker, signal.SIGSTOP)
    gateway.wait_for(rf"broker, pid {broker}, hangs")
    gateway.wait_for(rf"broker, pid {broker} ended by SIGKILL")
    assert gateway.answer(b"ask")[4] != broker
