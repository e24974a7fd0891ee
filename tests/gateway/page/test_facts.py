"""What the page learns of a configuration: names and addresses, no secret."""

from dataclasses import asdict

from gateway.page.facts import ListenerFacts, PeerFacts, facts_of
from pools.net.endpoint import Endpoint
from pools.peer import Peer
from workers.settings import Listen, Mode, WorkerSettings

ORDERS = Listen(
    "orders",
    Endpoint("192.0.2.1", 8443),
    Mode.FORWARD,
    to=Endpoint("orders.example", 443),
    paths=(("mumbai", "pune"), ()),
    number=4,
)
PROXY = Listen("proxy", Endpoint("::1", 1080), Mode.MIXED, users={"ann": "a secret"}, number=1)
MUMBAI = Peer("mumbai", Endpoint("203.0.113.9", 7400), pool_min=4, pool_max=64, number=7)


def test_it_picks_names_addresses_and_places_on_the_scoreboard() -> None:
    facts = facts_of(WorkerSettings((ORDERS, PROXY), workers=1, shard_seed=0, gateway="oregon", peers=(MUMBAI,)))
    assert facts.name == "oregon"
    assert facts.version
    assert facts.listeners == (
        ListenerFacts(4, "orders", "forward", "192.0.2.1:8443", "orders.example:443", (("mumbai", "pune"), ())),
        ListenerFacts(1, "proxy", "mixed", "[::1]:1080", "", ((),)),
    )
    assert facts.peers == (PeerFacts(7, "mumbai", "203.0.113.9:7400", 4, 64),)


def test_no_password_and_no_path_of_a_key_is_among_them() -> None:
    settings = WorkerSettings((PROXY,), workers=1, shard_seed=0, key_file="/etc/midmile/overlay.key")
    shown = repr(asdict(facts_of(settings)))
    assert "secret" not in shown
    assert "ann" not in shown
    assert "overlay.key" not in shown
