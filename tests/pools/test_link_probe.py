"""A probe of a link against a far gateway that answers, is slow, falls silent, leaves and comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pools.frames import FrameType
from pools.key_file import KeyFile
from pools.leg_dial import LegDialler
from pools.link_health import LinkState
from pools.link_probe import LinkProbe
from pools.net.clock import monotonic_s
from pools.net.errors import LegError
from tests.floor import Floor
from tests.pools.far_gateway import FarGateway, addresses_only, wait_until, write_key

UNKNOWN, UP, DOWN = LinkState


class Watched:
    """A probe, and what it told."""

    def __init__(self, floor: Floor, far: FarGateway, folder: Path) -> None:
        self.far = far
        self.changes: list[tuple[LinkState, LinkState]] = []
        self.failures: list[LegError] = []
        dialler = LegDialler(
            "oregon",
            keys=KeyFile(write_key(folder)),
            readiness=floor.readiness,
            resolver=addresses_only(),
            origin=1,
        )
        self.probe = LinkProbe(
            far.peer(),
            dialler=dialler,
            on_change=lambda before, now: self.changes.append((before, now)),
            on_failure=self.failures.append,
        )
        self.probe.start()

    def wait_for(self, state: LinkState) -> None:
        wait_until(lambda: self.probe.health.state is state, f"a link that is {state}")

    def wait_for_probes(self, count: int) -> None:
        """Wait until so many more probes have been sent, and answered or given up."""
        last = self.probe.health.next_number + count
        wait_until(lambda: self.probe.health.next_number >= last and not self.probe.health.waiting, "probes")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with Floor() as floor, FarGateway(floor.readiness) as far:
        made = Watched(floor, far, tmp_path)
        yield made
        made.probe.close()
        far.leave()


def test_the_first_answer_makes_a_link_up_and_is_its_round_trip(watched: Watched) -> None:
    began_s = monotonic_s()
    watched.wait_for(UP)
    assert watched.changes == [(UNKNOWN, UP)]
    assert watched.probe.health.round_trip
    assert 0 < watched.probe.health.round_trip.smoothed_s < monotonic_s() - began_s
    assert watched.probe.health.loss == 0


def test_all_probes_go_over_one_leg(watched: Watched) -> None:
    watched.wait_for(UP)
    watched.wait_for_probes(2)
    assert watched.far.met == 1
    assert watched.failures == []


def test_goaway_ends_no_probing(watched: Watched) -> None:
    watched.wait_for(UP)
    watched.far.legs[0].say_plain(FrameType.GOAWAY)
    watched.wait_for_probes(2)
    assert (watched.far.met, watched.changes) == (1, [(UNKNOWN, UP)])


def test_probes_that_were_due_while_one_was_under_way_are_not_lost_with_its_answer(watched: Watched) -> None:
    watched.wait_for(UP)
    wait_until(lambda: not watched.probe.health.waiting)
    before = watched.probe.health
    for _ in range(2):
        watched.probe._probe(monotonic_s())
    assert [probe.number for probe in watched.probe.health.waiting] == [before.next_number, before.next_number + 1]
    wait_until(lambda: not watched.probe.health.waiting, "one answer")
    assert (watched.probe.health.loss, watched.probe.health.streak) == (before.loss, before.streak + 1)
    assert watched.far.met == 1


def test_a_silent_peer_is_down_in_time_and_up_again_over_a_fresh_leg(watched: Watched) -> None:
    watched.wait_for(UP)
    wait_until(lambda: not watched.probe.health.waiting)
    watched.far.is_silent = True
    silent_s = monotonic_s()
    watched.wait_for(DOWN)
    assert monotonic_s() - silent_s < 10.0  # 5 s are promised, see test_link_health; the rest is for a busy machine
    watched.far.leave()
    watched.far.come_back()
    watched.wait_for(UP)
    assert watched.changes == [(UNKNOWN, UP), (UP, DOWN), (DOWN, UP)]
    assert watched.far.met == 2


def test_a_peer_that_is_gone_is_down_at_once(watched: Watched) -> None:
    watched.wait_for(UP)
    watched.far.leave()
    watched.wait_for(DOWN)
    assert len(watched.failures) == 2  # and the leg that broke: no PING had to be waited for
    assert "ECONNREFUSED" in str(watched.failures[0])


def test_a_leg_that_breaks_is_replaced_and_the_link_stays_up(watched: Watched) -> None:
    watched.wait_for(UP)
    watched.far.drop(1)
    wait_until(lambda: watched.far.met == 2, "another leg")
    watched.wait_for_probes(1)
    assert watched.changes == [(UNKNOWN, UP)]


def test_a_probe_that_is_closed_while_it_dials_leaves_nothing(tmp_path: Path) -> None:
    with Floor() as floor, FarGateway(floor.readiness) as far:
        far.is_silent = True
        Watched(floor, far, tmp_path).probe.close()
        far.leave()
