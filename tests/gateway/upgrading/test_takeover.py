"""The old supervisor is this test: it holds the other end of the channel. One that dies is a child of it."""

import os
import selectors
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest

from gateway.exit_codes import ExitCode
from gateway.upgrading import handover
from gateway.upgrading.handover_channel import HandoverChannel
from gateway.upgrading.takeover import ENDED_S, FILL_S, Stage, Takeover
from pools.net.fd_passing import receive_message, send_message, socket_pair

READY = handover.Ready(slots=1, unused=[])


class New:
    """A new gateway that is as far as the test says."""

    def __init__(self) -> None:
        self.able = self.filled = self.accepting = False
        self.begun = 0
        self.carried: list[handover.TotalsRow] = []
        self.failures: list[str] = []
        self.old: list[HandoverChannel] = []

    def is_able(self) -> bool:
        return self.able

    def is_filled(self) -> bool:
        return self.filled

    def begin(self) -> None:
        self.begun += 1

    def accepts(self) -> bool:
        return self.accepting

    def ready(self) -> handover.Ready:
        return READY

    def carry(self, row: handover.TotalsRow) -> None:
        assert not self.old, "who looks at the gateway's totals must not see them without this"
        self.carried.append(row)

    def come_into_own(self, old: HandoverChannel) -> None:
        self.old.append(old)

    def settle_in(self) -> None:
        assert self.old

    def fail(self, why: str) -> None:
        self.failures.append(why)


class World:
    def __init__(self, selector: selectors.DefaultSelector, ours: socket.socket, theirs: socket.socket) -> None:
        self.new = New()
        self.old = ours
        self.takeover = Takeover(theirs, selector, self.new)
        self._selector = selector

    def say(self, message: handover.Message) -> None:
        send_message(self.old, handover.encode(message))

    def hear(self) -> handover.Message:
        return handover.decode(receive_message(self.old)[0])

    def turn(self, now_s: float) -> None:
        for key, _ in self._selector.select(0):
            key.data()
        self.takeover.turn(now_s)

    def offer(self) -> None:
        self.new.able = self.new.filled = self.new.accepting = True
        self.turn(0.0)
        self.turn(0.0)
        assert self.hear() == READY


@pytest.fixture
def world() -> Iterator[World]:
    ours, theirs = socket_pair()
    with selectors.DefaultSelector() as selector, ours, theirs:
        yield World(selector, ours, theirs)


def pass_on_a_pair(channel: socket.socket) -> NoReturn:
    """Make a pair of sockets, so that the kernel names this process at either end, and be gone."""
    try:
        old, new = socket_pair()
        send_message(channel, b"made", (old.fileno(), new.fileno()))
    finally:
        os._exit(0)


@pytest.fixture
def dying() -> Iterator[World]:
    """Give a world whose old supervisor has ended, though its end of the channel is still open here."""
    ours, theirs = socket_pair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            pass_on_a_pair(theirs)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # nobody collects it before the end
        old, new = (socket.socket(fileno=number) for number in receive_message(ours)[1])
    with selectors.DefaultSelector() as selector, old, new:
        yield World(selector, old, new)
    os.waitpid(child, 0)


@pytest.fixture
def dead(dying: World) -> World:
    """Give a world whose old supervisor has ended."""
    dying.old.close()
    return dying


def test_children_begin_once_all_are_able_and_pools_are_filled(world: World) -> None:
    new = world.new
    world.turn(0.0)
    new.able = True
    world.turn(1.0)
    assert (new.begun, world.takeover.stage) == (0, Stage.HELD)
    new.filled = True
    world.turn(2.0)
    world.turn(3.0)
    assert (new.begun, world.takeover.stage) == (1, Stage.BEGUN)
    with pytest.raises(BlockingIOError):  # not before they accept
        world.hear()
    new.accepting = True
    world.turn(4.0)
    assert (world.takeover.stage, world.hear()) == (Stage.OFFERED, READY)


def test_a_pool_that_does_not_fill_is_not_waited_for_for_ever(world: World) -> None:
    world.new.able = True
    world.turn(100.0)
    world.turn(100.0 + FILL_S - 0.1)
    assert world.new.begun == 0
    world.turn(100.0 + FILL_S)
    assert world.new.begun == 1


def test_totals_are_there_before_the_gateway_is_taken(world: World) -> None:
    world.offer()
    row: handover.TotalsRow = ("gateway", "", {"SESSIONS_TOTAL": 5})
    world.say(handover.Totals(rows=[row]))
    world.turn(1.0)
    assert (world.new.carried, world.takeover.stage) == ([row], Stage.OFFERED)
    world.say(handover.Yours())
    world.turn(2.0)
    assert (len(world.new.old), world.takeover.stage) == (1, Stage.DONE)
    assert world.hear() == handover.Taken()


def test_an_old_supervisor_that_dies_before_the_offer_is_succeeded_as_soon_as_that_can_be(dead: World) -> None:
    new = dead.new
    dead.turn(0.0)
    assert (new.begun, new.failures, dead.takeover.stage) == (0, [], Stage.HELD)
    new.able = True  # pools are not waited for: nobody else accepts
    dead.turn(1.0)
    assert (new.begun, new.old, dead.takeover.stage) == (1, [], Stage.BEGUN)
    new.accepting = True
    dead.turn(2.0)
    dead.turn(2.0)
    assert (len(new.old), new.failures, dead.takeover.stage) == (1, [], Stage.DONE)


def test_an_old_supervisor_that_dies_after_the_offer_is_succeeded(dying: World) -> None:
    dying.offer()
    dying.old.close()
    dying.turn(1.0)
    dying.turn(1.0)
    assert (len(dying.new.old), dying.new.failures, dying.takeover.stage) == (1, [], Stage.DONE)


@pytest.mark.parametrize("is_offered", [False, True])
def test_an_old_supervisor_that_only_says_nothing_more_goes_on_by_itself(world: World, is_offered: bool) -> None:
    if is_offered:
        world.offer()
    stage = world.takeover.stage
    world.old.close()
    world.turn(1.0)
    world.turn(1.0 + ENDED_S - 0.1)
    assert not world.new.failures
    world.turn(1.0 + ENDED_S)
    assert world.new.failures == ["the supervisor before speaks to this one no more, and lives"]
    assert (world.new.old, world.takeover.stage) == ([], stage)


def test_a_word_out_of_turn_changes_nothing(world: World) -> None:
    world.say(handover.Yours())
    world.turn(0.0)
    assert (world.takeover.stage, world.new.old) == (Stage.HELD, [])


def test_a_failure_is_told_until_the_gateway_is_taken(world: World) -> None:
    world.takeover.fail(ExitCode.CANNOT_START, "no worker")
    assert world.hear() == handover.failed(3, "no worker")
    world.offer()
    world.say(handover.Yours())
    world.turn(1.0)
    assert world.hear() == handover.Taken()
    world.takeover.fail(ExitCode.CANNOT_START, "too late to matter")
    with pytest.raises(BlockingIOError):
        world.hear()
