"""One service after another in a worker that lives: what stays as it was, what changes, and that nobody is refused."""

from dataclasses import replace

import pytest

from pools.net.endpoint import Endpoint
from workers.service import sessions_limit
from workers.settings import Limits, Listen, Preconnected, WorkerSettings


@pytest.mark.parametrize(
    ("sessions", "workers", "descriptors", "limit"),
    [(100, 2, 10_000, 50), (101, 2, 10_000, 51), (100, 1, 292, 50), (100, 1, 10, 1)],
)
def test_room_is_a_share_of_the_limit_as_far_as_descriptors_go(
    sessions: int, workers: int, descriptors: int, limit: int
) -> None:
    listens: tuple[Listen, ...] = ()
    settings = WorkerSettings(listens=listens, workers=workers, shard_seed=1, limits=Limits(sessions=sessions))
    assert sessions_limit(settings, descriptors=descriptors) == limit


def test_connections_that_are_kept_ready_have_descriptors_of_their_own() -> None:
    kept = (Preconnected(Endpoint("192.0.2.1", 443), 100),)
    settings = WorkerSettings(listens=(), workers=2, shard_seed=1, limits=Limits(sessions=20_000), preconnect=kept)
    alone = sessions_limit(replace(settings, preconnect=()), descriptors=1000)
    assert sessions_limit(settings, descriptors=1000) == alone - 25
