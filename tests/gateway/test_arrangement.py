from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.arrangement import Arrangement, first, following, room_for
from gateway.config import configuration
from gateway.config.settings import GatewaySettings
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.scoreboard import Layout
from pools.peer import Peer

ROOM = Layout(6, 64, 64)


def settings(*listeners: str, workers: int | None = 2, peers: Sequence[str] = ()) -> GatewaySettings:
    usual = configuration.default()
    return replace(
        usual,
        workers=workers,
        listens=tuple(replace(usual.listens[0], name=name) for name in listeners),
        peers=tuple(Peer(name, Endpoint(name, 1)) for name in peers),
    )


def start(*listeners: str, workers: int | None = 2, peers: Sequence[str] = ()) -> Arrangement:
    return first(settings(*listeners, workers=workers, peers=peers), cores=(4, 5, 6), shard_seed=7)


def reload(
    before: Arrangement, *listeners: str, workers: int | None = 2, peers: Sequence[str] = (), held: Sequence[int] = ()
) -> Arrangement:
    return following(before, settings(*listeners, workers=workers, peers=peers), room=ROOM, held=held, cores=(4, 5, 6))


def test_a_start_numbers_all_in_order_and_pins_each_worker() -> None:
    found = start("a", "b", workers=None, peers=["madrid"])
    assert [listen.number for listen in found.told.listens] == [0, 1]
    assert [peer.number for peer in found.told.peers] == [0]
    assert (found.places, found.cores, found.told.workers) == ((0, 1, 2), (4, 5, 6), 3)


def test_a_reload_keeps_numbers_places_and_the_seed() -> None:
    found = reload(start("a", "b", peers=["madrid"]), "c", "b", peers=["mumbai", "madrid"])
    assert [(listen.name, listen.number) for listen in found.told.listens] == [("c", 2), ("b", 1)]
    assert [(peer.name, peer.number) for peer in found.told.peers] == [("mumbai", 1), ("madrid", 0)]
    assert (found.places, found.told.shard_seed) == ((0, 1), 7)


def test_workers_that_come_take_places_that_nobody_has() -> None:
    fewer = reload(start("a"), "a", workers=1)
    assert fewer.places == (0,)
    assert reload(fewer, "a", workers=3, held=[1]).places == (0, 2, 3)
    assert reload(fewer, "a", workers=3).places == (0, 1, 2)


def test_where_those_that_retire_have_all_places_a_reload_is_refused() -> None:
    fewer = reload(start("a"), "a", workers=1)
    with pytest.raises(StartError, match="expected room for 2 workers beside 5 that retire; found 6 places"):
        reload(fewer, "a", workers=2, held=[1, 2, 3, 4, 5])


def test_more_listeners_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(StartError, match="65 listeners"):
        reload(start("a"), *(f"listener {number}" for number in range(64)))


def test_there_is_room_for_twice_as_many_as_at_the_start_and_for_a_few_in_any_case() -> None:
    assert room_for(settings("a"), workers=2) == Layout(64, 64, 64)
    many = settings(*map(str, range(50)), peers=[str(number) for number in range(40)])
    assert room_for(many, workers=100) == Layout(200, 100, 80)


def editions(arrangement: Arrangement) -> dict[str, int]:
    return {peer.name: peer.edition for peer in arrangement.told.peers}


def test_a_peer_keeps_its_edition_until_its_settings_change_or_it_goes() -> None:
    found = [start("a", peers=["madrid", "mumbai"])]
    for peers in (["mumbai", "madrid"], ["mumbai"], ["madrid", "mumbai"]):
        found.append(reload(found[-1], "a", peers=peers))
    wanted = settings("a", peers=["madrid", "mumbai"])
    wanted = replace(wanted, peers=(wanted.peers[0], replace(wanted.peers[1], pool_max=7)))
    found.append(following(found[-1], wanted, room=ROOM, held=(), cores=(4, 5)))
    assert [editions(each) for each in found] == [
        {"madrid": 0, "mumbai": 0},
        {"madrid": 0, "mumbai": 0},
        {"mumbai": 0},
        {"madrid": 3, "mumbai": 0},
        {"madrid": 3, "mumbai": 4},
    ]
    assert found[0].told.peers[1] == found[3].told.peers[1]
