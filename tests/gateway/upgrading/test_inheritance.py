"""What one supervisor hands over is what the next one gets: both are this process."""

import itertools
import os
import resource
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.exit_codes import ExitCode
from gateway.runtime_dir import RuntimeDir
from gateway.sockets.holdings import Holdings
from gateway.sockets.inherited import Inherited, key_of, number_of
from gateway.upgrading import handover
from gateway.upgrading.estate import Belongings, Estate, estate_of
from gateway.upgrading.handover import Kind
from gateway.upgrading.handover_channel import HandoverChannel
from gateway.upgrading.heir import HANDOVER_VARIABLE
from gateway.upgrading.inheritance import Inheritance, tell_failure
from gateway.upgrading.predecessors import Predecessors
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.fd_passing import receive_message, send_message, socket_pair
from pools.net.keepalive import Keepalive
from workers.settings import Listen, Mode, WorkerSettings

LOOPBACK = Endpoint("127.0.0.1", 0)


class World:
    """A supervisor that has something to hand over, and the channel by which it does."""

    def __init__(self, directory: Path, owned: ExitStack) -> None:
        self.ours, theirs = socket_pair()
        self.theirs = theirs.detach()
        owned.callback(self.ours.close)
        listen = Listen("web", LOOPBACK, Mode.FORWARD, to=Endpoint("127.0.0.1", 9))
        self.holdings = Holdings.open(WorkerSettings((listen,), workers=3, shard_seed=77), admin=LOOPBACK)
        owned.callback(self.holdings.close)
        self.runtime = RuntimeDir.claim(directory)
        owned.callback(self.runtime.release)
        self.control = owned.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.predecessors = Predecessors(carry=lambda _: None, on_change=lambda: None)
        retired, self.retired = socket_pair()
        owned.enter_context(self.retired)
        selector = owned.enter_context(selectors.DefaultSelector())
        self.predecessors.add(HandoverChannel(retired, selector), since_s=123.5)
        owned.callback(self.predecessors.forget)

    def estate(self) -> Estate:
        control: Any = SimpleNamespace(fileno=self.control.fileno)
        return estate_of(
            Belongings(self.holdings, control, self.runtime, self.predecessors, 77, {"NOTIFY_SOCKET": "/x"})
        )

    def hand_over(self) -> None:
        estate = self.estate()
        assert estate.environment == {"NOTIFY_SOCKET": "/x"}
        for message, descriptors in estate.parts:
            self.say(message, *descriptors)
        self.say(estate.offer)
        estate.close()

    def say(self, message: handover.Message, *descriptors: int) -> None:
        send_message(self.ours, handover.encode(message), descriptors)

    def hear(self) -> handover.Message:
        return handover.decode(receive_message(self.ours)[0])

    def inherit(self) -> Inheritance:
        inheritance = Inheritance.from_environment({HANDOVER_VARIABLE: f"{self.theirs}:{os.getpid()}"})
        assert inheritance is not None
        return inheritance


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as owned:
        yield World(tmp_path / "run", owned)


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_all_that_is_handed_over_arrives_as_what_it_is(world: World) -> None:
    world.hand_over()
    before = descriptors_open()
    inheritance = world.inherit()
    group = world.holdings.groups[0]
    assert [list(map(number_of, found)) for found in inheritance.sockets.groups.values()] == [
        list(map(number_of, group))
    ]
    assert list(inheritance.sockets.groups) == list(inheritance.keys) == [key_of(group[0])]
    assert inheritance.sockets.names == {"web": key_of(group[0])}
    assert world.holdings.admin is not None
    assert list(map(number_of, inheritance.sockets.admin.values())) == [number_of(world.holdings.admin)]
    assert (inheritance.sockets.shard_seed, inheritance.runtime_dir) == (77, world.runtime.path)
    assert inheritance.control is not None
    assert number_of(inheritance.control) == number_of(world.control)
    assert [each.since_s for each in inheritance.retired] == [123.5]
    assert inheritance.take_runtime_dir().lock >= 0
    assert inheritance.lock == -1
    inheritance.close()
    assert descriptors_open() == before  # the channel was there before, and the lock was taken
    assert not os.get_inheritable(group[0].fileno())


def test_what_is_closed_meanwhile_is_handed_over_and_not_what_has_its_number_by_then(world: World) -> None:
    wanted = [number_of(sock) for sock in world.holdings.groups[0]]
    before = descriptors_open()
    estate = world.estate()
    for sock in world.holdings.groups[0]:
        os.dup2(world.control.fileno(), sock.fileno(), inheritable=False)
    (found,) = [descriptors for message, descriptors in estate.parts if message.kind is Kind.GROUP]
    assert [os.fstat(descriptor).st_ino for descriptor in found] == wanted
    estate.close()
    estate.close()
    assert descriptors_open() == before


def test_without_a_descriptor_left_nothing_is_handed_over(world: World) -> None:
    before, limits = descriptors_open(), resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, limits[1]))  # enough for two at most
    try:
        with pytest.raises(StartError, match="cannot duplicate what is handed over: Too many open files"):
            world.estate()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert descriptors_open() == before


@pytest.mark.parametrize(
    "message",
    [
        handover.Offer(descriptors=0, runtime_dir="/run", shard_seed=1, lent=[]),
        handover.Yours(),
        handover.Sockets(kind=Kind.ADMIN, key=[]),
        handover.Sockets(kind=Kind.GROUP, key=["127.0.0.1:1", "carrier pigeon", False, False]),
        handover.Sockets(kind=Kind.GROUP, key=["127.0.0.1:1", "tcp", False, False, "one", "two"]),
    ],
    ids=["too little", "out of turn", "a key of another kind", "an unknown transport", "two names"],
)
def test_what_makes_no_sense_is_refused_and_the_other_side_told(world: World, message: handover.Message) -> None:
    before = descriptors_open()
    world.say(message, *([world.control.fileno()] if isinstance(message, handover.Sockets) else []))
    with pytest.raises(StartError):
        world.inherit()
    assert descriptors_open() == before - 1  # its end of the channel
    assert isinstance(world.hear(), handover.Failed)


def test_an_old_supervisor_that_says_nothing_more_is_not_succeeded(world: World) -> None:
    world.ours.close()
    with pytest.raises(StartError, match="found its end"):
        world.inherit()


def test_only_a_channel_to_the_process_that_is_named_is_taken(world: World) -> None:
    with pytest.raises(StartError, match="the process that started this one"):
        Inheritance.from_environment({HANDOVER_VARIABLE: f"{world.theirs}:{os.getppid()}"})
    for announced in ("nine", "9999:1", "0", "0:nobody"):
        with pytest.raises(StartError, match="expected the number of a socket"):
            Inheritance.from_environment({HANDOVER_VARIABLE: announced})
    assert Inheritance.from_environment({}) is None


def test_a_wrong_file_is_told_before_anything_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.hand_over()
    monkeypatch.setenv(HANDOVER_VARIABLE, f"{world.theirs}:{os.getpid()}")
    tell_failure(ExitCode.CONFIGURATION, "two problems")
    assert HANDOVER_VARIABLE not in os.environ
    assert world.hear() == handover.failed(4, "two problems")
    tell_failure(ExitCode.CONFIGURATION, "nobody to tell")


def settings(*, workers: int = 3, listeners: int = 1) -> WorkerSettings:
    listens = [Listen(f"web{number}", LOOPBACK, Mode.FORWARD, to=LOOPBACK) for number in range(listeners)]
    return WorkerSettings(tuple(listens), workers=workers, shard_seed=77)


def shared(old: Holdings, *, workers: int, **more: Any) -> Holdings:
    """Open the holdings of a new supervisor, which has copies of an old one's sockets."""
    copies = Inherited({key_of(group[0]): [sock.dup() for sock in group] for group in old.groups})
    return Holdings.open(replace(settings(workers=workers), **more), admin=None, inherited=copies)


def accepted_by_slot(holdings: Holdings, *, count: int) -> list[int]:
    """Make so many connections to the only listener, and say how many each slot got."""
    (group,) = holdings.groups
    with ExitStack() as opened:
        for _ in range(count):
            opened.enter_context(socket.create_connection(group[0].getsockname(), timeout=30))
        return [accept_all(sock) for sock in group]


def accept_all(listener: socket.socket) -> int:
    for count in itertools.count():
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
    raise AssertionError("the queue has an end")


def idle_s(holdings: Holdings) -> int:
    return holdings.groups[0][0].getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


def test_what_a_new_supervisor_had_shared_out_and_set_up_anew_is_restored() -> None:
    old = Holdings.open(settings(), admin=None)
    usual = idle_s(old)
    new = shared(old, workers=1, keepalive=Keepalive(idle=usual + 1))
    new.settle()
    assert accepted_by_slot(old, count=30)[1:] == [0, 0]
    assert idle_s(old) == usual + 1
    new.close()
    old.restore()
    assert min(accepted_by_slot(old, count=60)) > 0
    assert idle_s(old) == usual
    old.close()


def test_listeners_that_a_drain_has_closed_are_not_ended_once_more() -> None:
    old = Holdings.open(settings(), admin=None)
    new = shared(old, workers=1)
    new.settle()
    new.close_groups()
    new.finish()
    old.restore()
    assert sum(accepted_by_slot(old, count=10)) == 10
    old.close()


def test_a_port_that_the_kernel_chose_goes_to_the_listener_of_that_name() -> None:
    old = Holdings.open(settings(listeners=2), admin=None)
    keys = [key_of(group[0]) for group in old.groups]
    assert old.names == ["web0", "web1"]
    copies = Inherited({key_of(group[0]): [sock.dup() for sock in group] for group in old.groups})
    copies.names = dict(zip(old.names, keys, strict=True))
    first, second = settings(listeners=2).listens
    new = Holdings.open(
        replace(settings(), listens=(second, replace(first, name="web2"), first)), admin=None, inherited=copies
    )
    found = [key_of(group[0]) for group in new.groups]
    assert (found[0], found[2]) == (keys[1], keys[0])
    assert found[1] not in keys
    new.close()
    old.close()


def test_only_listeners_that_nobody_uses_are_made_deaf() -> None:
    holdings = Holdings.open(settings(listeners=2), admin=None)
    used, unused = (group[0] for group in holdings.groups)
    assert not holdings.deafen_only([["127.0.0.1:1", "tcp", False, False]])
    assert holdings.deafen_only([list(key_of(unused))])
    socket.create_connection(used.getsockname(), timeout=30).close()
    with pytest.raises(TimeoutError):
        socket.create_connection(unused.getsockname(), timeout=0.2)
    holdings.close()
