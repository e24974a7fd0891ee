"""Greenlets that are made once and used again."""

import weakref
from functools import partial

import pytest

from pools.net.greenlet_pool import GreenletPool
from tests.floor import Floor, turn_until


def test_a_greenlet_that_is_free_gets_the_next_job() -> None:
    with Floor() as floor:
        ran: list[int] = []
        for number in range(5):
            floor.in_hub(partial(floor.greenlets.run, ran.append, number))
        assert ran == [0, 1, 2, 3, 4]
        assert (floor.greenlets.made, floor.greenlets.idle) == (1, 1)


def test_jobs_that_wait_have_a_greenlet_each() -> None:
    with Floor() as floor:
        ended: list[int] = []

        def wait(number: int) -> None:
            floor.readiness.take_turns()
            ended.append(number)

        for number in range(3):
            floor.readiness.defer(partial(floor.greenlets.run, wait, number))
        turn_until(lambda: len(ended) == 3)
        assert (floor.greenlets.made, floor.greenlets.idle) == (3, 3)


def test_a_job_that_fails_is_logged_and_its_greenlet_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with Floor() as floor:
        ran: list[str] = []

        def fail() -> None:
            raise RuntimeError("a bug")

        floor.in_hub(lambda: floor.greenlets.run(fail))
        floor.in_hub(lambda: floor.greenlets.run(ran.append, "after"))
        assert ran == ["after"]
        assert floor.greenlets.made == 1
        assert "RuntimeError: a bug" in caplog.text


def test_more_idle_greenlets_than_are_kept_end() -> None:
    with Floor() as floor:
        floor.greenlets = pool = GreenletPool(keep=1)
        ended: list[int] = []

        def wait(number: int) -> None:
            floor.readiness.take_turns()
            ended.append(number)

        for number in range(4):
            floor.readiness.defer(partial(pool.run, wait, number))
        turn_until(lambda: len(ended) == 4)
        assert (pool.made, pool.idle) == (1, 1)


def test_an_idle_greenlet_keeps_nothing_of_its_last_job_alive() -> None:
    class Job:
        def __call__(self) -> None:
            pass

    with Floor() as floor:
        job = Job()
        known = weakref.ref(job)
        pending = [job]
        del job
        floor.in_hub(lambda: floor.greenlets.run(pending.pop()))
        assert known() is None
