"""Legs whose session nobody came for: back to the pool where both ends end in order, else cut off."""

import errno

import pytest

from pools.frame_bodies import Reset
from pools.frames import FrameType, Role
from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from tests.far_end import OPEN, Keeper
from tests.floor import Floor, reset, settle, turn_until
from tests.workers.crossroads import Far, make_leg
from workers.parting import Partings

PATIENCE_S = 3.0


class Parted:
    """A leg on which a session was asked for, and is not wanted any more."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.partings = Partings(readiness=floor.readiness, resets=floor.resets, patience_s=PATIENCE_S)
        self.leg, self.far = make_leg(floor, Role.OPENER, "mumbai")
        self.keeper = self.leg.keeper = Keeper()
        self.leg.say(OPEN)
        self.far.opened()

    def part(self) -> None:
        self.floor.in_hub(lambda: self.partings.part(self.leg, now_s=monotonic_s()))

    def settled(self, told: str) -> None:
        """Wait until the keeper has heard this, and nothing else."""
        turn_until(lambda: self.keeper.told)
        assert self.keeper.told == [told]
        assert len(self.partings) == 0
        if told == "regain":
            assert self.leg.is_fit(monotonic_s())
            self.leg.keeper = None
            self.leg.close()


def parted(floor: Floor) -> tuple[Parted, Far, PoolLeg]:
    one = Parted(floor)
    one.part()
    one.far.hear_fin()
    return one, one.far, one.leg


def test_a_session_that_is_opened_and_ended_gives_the_leg_back() -> None:
    with Floor() as floor:
        one, far, _ = parted(floor)
        far.grant()
        far.say_data(b"220 welcome")
        settle()
        assert len(one.partings) == 1
        far.fin()
        one.settled("regain")


def test_what_came_before_it_was_cancelled_is_heard() -> None:
    with Floor() as floor:
        one = Parted(floor)
        one.far.grant()
        one.far.say_data(b"220 welcome")
        one.far.fin()
        turn_until(lambda: one.leg.readable)
        settle()
        one.part()
        one.settled("regain")


def test_a_session_that_is_refused_gives_the_leg_back() -> None:
    with Floor() as floor:
        one, far, _ = parted(floor)
        far.refuse()
        one.settled("regain")


def test_a_session_that_is_reset_costs_the_leg() -> None:
    with Floor() as floor:
        one, far, _ = parted(floor)
        far.grant()
        far.tell(Reset(errno.ECONNRESET))
        one.settled("lost")


def test_a_leg_that_breaks_is_closed() -> None:
    with Floor() as floor:
        one, far, _ = parted(floor)
        reset(far.sock)
        one.settled("lost")


def test_a_leg_that_broke_before_is_closed() -> None:
    with Floor() as floor:
        one = Parted(floor)
        reset(one.far.sock)
        turn_until(lambda: one.leg.readable)
        one.part()
        one.settled("lost")


def test_an_end_that_takes_too_long_is_a_reset() -> None:
    with Floor() as floor:
        one, far, leg = parted(floor)
        far.grant()
        floor.in_hub(lambda: one.partings.look(monotonic_s()))
        assert leg.fd >= 0
        floor.in_hub(lambda: one.partings.look(monotonic_s() + PATIENCE_S))
        assert far.rest()[0] == [Reset(errno.ECONNABORTED)]
        one.settled("lost")


def test_an_end_of_the_worker_is_a_reset_for_all() -> None:
    with Floor() as floor:
        one, far, _ = parted(floor)
        floor.in_hub(one.partings.close)
        assert far.rest()[0] == [Reset(errno.ECONNABORTED)]
        one.settled("lost")


def test_a_destination_that_does_not_stop_talking_is_cut_off() -> None:
    with Floor() as floor:
        one, far, leg = parted(floor)
        far.grant()
        pad = bytes([FrameType.PAD, 0, 0, 0]) + (1_000_000).to_bytes(4, "big") + bytes(1_000_000)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                far.send(pad)
        one.settled("lost")
        assert leg.fd < 0
