"""Supervisors that retire are this test: it holds the other ends of their channels."""

import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.upgrading import handover
from gateway.upgrading.handover_channel import HandoverChannel
from gateway.upgrading.predecessors import Predecessors
from pools.net.fd_passing import receive_message, send_message, socket_pair


class World:
    def __init__(self, owned: ExitStack) -> None:
        self._owned = owned
        self.selector = owned.enter_context(selectors.DefaultSelector())
        self.carried: list[handover.TotalsRow] = []
        self.shown: list[int] = []
        self.all = Predecessors(carry=self.carried.append, on_change=lambda: self.shown.append(self.all.sessions))
        owned.callback(self.all.forget)

    def add(self, since_s: float) -> socket.socket:
        ours, theirs = socket_pair()
        self.all.add(HandoverChannel(ours, self.selector), since_s=since_s)
        return self._owned.enter_context(theirs)

    def turn(self) -> None:
        while ready := self.selector.select(0):
            for key, events in ready:
                if events & selectors.EVENT_READ or key.events & selectors.EVENT_WRITE:
                    key.data()


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as owned:
        yield World(owned)


def say(sock: socket.socket, message: handover.Message) -> None:
    send_message(sock, handover.encode(message))


def test_sessions_and_totals_of_all_are_known_until_each_has_ended(world: World) -> None:
    first, second = world.add(1.0), world.add(2.0)
    row: handover.TotalsRow = ("gateway", "", {"SESSIONS_TOTAL": 3})
    say(first, handover.Totals(rows=[row]))
    say(first, handover.Left(sessions=4))
    say(second, handover.Left(sessions=5))
    world.turn()
    assert (world.carried, world.all.sessions, world.shown[-1]) == ([row], 9, 9)
    assert [(each.since_s, each.sessions) for each in world.all.retiring] == [(1.0, 4), (2.0, 5)]
    say(first, handover.Left(sessions=0))
    first.close()
    world.turn()
    assert [(each.since_s, each.sessions) for each in world.all.retiring] == [(2.0, 5)]
    assert world.shown[-1] == 5


def test_the_end_of_the_gateway_is_told_to_all(world: World) -> None:
    olds = [world.add(1.0), world.add(2.0)]
    world.all.end(2.5)
    assert [handover.decode(receive_message(old)[0]) for old in olds] == [handover.End(limit_s=2.5)] * 2


def test_one_that_talks_nonsense_is_forgotten_and_the_others_are_not(world: World) -> None:
    first, _ = world.add(1.0), world.add(2.0)
    send_message(first, b"nonsense")
    world.turn()
    assert [each.since_s for each in world.all.retiring] == [2.0]
    assert receive_message(first)[0] == b""


def test_a_word_out_of_turn_is_no_reason_to_forget(world: World) -> None:
    say(world.add(1.0), handover.Yours())
    world.turn()
    assert len(world.all.retiring) == 1


def test_what_does_not_go_at_once_goes_in_its_order(world: World) -> None:
    ours, theirs = socket_pair()
    with theirs:
        channel = HandoverChannel(ours, world.selector)
        for number in range(5_000):
            channel.say(handover.Left(sessions=number))
        found: list[handover.Message] = []
        while len(found) < 5_000:
            found.append(handover.decode(receive_message(theirs)[0]))
            world.turn()
        assert found == [handover.Left(sessions=number) for number in range(5_000)]
        channel.close()
        channel.say(handover.Left(sessions=1))  # goes nowhere, and is no error
        assert receive_message(theirs)[0] == b""
