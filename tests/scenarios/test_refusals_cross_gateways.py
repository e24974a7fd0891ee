"""Whatever a gateway further on refuses reaches the client at once and in its own protocol, and the leg is used again.

Oregon knows mumbai, mumbai knows singapore and quito, which does not run; nobody knows atlantis.
"""

import errno
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pytest

from pools.frame_bodies import Open, Refused, Where
from pools.net.endpoint import Endpoint
from tests.scenarios.harness.configuration import Table, forward, proxy
from tests.scenarios.harness.opener import Opener
from tests.scenarios.harness.overlay import Chain, Station
from tests.scenarios.peers_under_test import LOOPBACK, End, Heard, connect, hear, refusing, visit

AT_ONCE_S = 4.0
"""Less than any limit that could end a session instead, and more than a busy machine needs."""

ROUNDS = 20
NOBODY, FORBIDDEN = "nobody.invalid", "127.0.0.9"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way to be refused.

    Attributes:
        via: the path.
        host: where to; the port is one that nobody listens on.
        number: the errno that the access log must name.
        socks: the SOCKS reply.
        http: the status.
        far: which gateway refuses, and what it failed at.
    """

    via: list[str]
    host: str
    number: int
    socks: int
    http: int
    far: str


WHOLE = ["mumbai", "singapore"]
REFUSALS = {
    "closed": Refusal(WHOLE, LOOPBACK, errno.ECONNREFUSED, 5, 502, "singapore/connect"),
    "nameless": Refusal(WHOLE, NOBODY, errno.EHOSTUNREACH, 4, 502, "singapore/resolve"),
    "forbidden": Refusal(WHOLE, FORBIDDEN, errno.EACCES, 2, 403, "singapore/policy"),
    "unknown": Refusal(["mumbai", "atlantis"], LOOPBACK, errno.EHOSTUNREACH, 4, 502, "mumbai/path"),
    "away": Refusal(["mumbai", "quito"], LOOPBACK, errno.ECONNREFUSED, 5, 502, "mumbai/connect"),
}
EACH = pytest.mark.parametrize("name", REFUSALS)


@dataclass(frozen=True, slots=True)
class World:
    """The chain, and a port of every address that nobody listens on."""

    chain: Chain
    nowhere: int

    def port(self, listener: str) -> int:
        return self.chain["oregon"].port(listener)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with refusing() as nowhere:
        chain = Chain(tmp_path_factory.mktemp("refusals"), stations(nowhere))
        try:
            chain["quito"].abandon()
            yield World(chain.wait_ready(), nowhere)
            chain.end()
        finally:
            chain.abandon()


def stations(nowhere: int) -> dict[str, Station]:
    listens: list[Table] = []
    for name, refusal in REFUSALS.items():
        listens.append(forward(f"{refusal.host}:{nowhere}", name=name, via=refusal.via))
        listens.append(proxy(name=f"{name}-proxy", via=refusal.via))
    egress = {"egress": {"allow": [f"{LOOPBACK}:*", "*.invalid:*"]}}
    return {
        "oregon": Station(knows=["mumbai"], listens=listens),
        "mumbai": Station(knows=["singapore", "quito"]),
        "singapore": Station(tables=egress),
        "quito": Station(),
    }


@contextmanager
def at_once() -> Iterator[None]:
    began_s = time.monotonic()
    yield
    assert time.monotonic() - began_s < AT_ONCE_S


@EACH
def test_a_forwarded_client_is_reset_at_once(world: World, name: str) -> None:
    with at_once():
        assert visit(world.port(name), b"a few words that nobody will hear") == Heard(b"", End.RESET)


@EACH
def test_a_socks_client_is_told(world: World, name: str) -> None:
    host = REFUSALS[name].host.encode()
    request = b"\x05\x01\x00\x03" + bytes([len(host)]) + host + world.nowhere.to_bytes(2, "big")
    with at_once(), connect(world.port(f"{name}-proxy")) as client:
        client.sendall(b"\x05\x01\x00" + request)
        heard = hear(client)
    assert (heard.data[:4], heard.end) == (bytes([5, 0, 5, REFUSALS[name].socks]), End.FIN)


@EACH
def test_a_connect_client_is_told(world: World, name: str) -> None:
    target = f"{REFUSALS[name].host}:{world.nowhere}"
    with at_once(), connect(world.port(f"{name}-proxy")) as client:
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        heard = hear(client)
    assert heard.data.startswith(f"HTTP/1.1 {REFUSALS[name].http} ".encode())
    assert heard.end is End.FIN


@EACH
def test_each_gateway_on_the_way_has_it_in_its_log(world: World, name: str) -> None:
    assert visit(world.port(name)) == Heard(b"", End.RESET)
    refusal = REFUSALS[name]
    line = world.chain["oregon"].sessions_logged(name)[-1]
    assert line["errno"] == errno.errorcode[refusal.number]
    assert line["far"].rpartition("/")[0] == refusal.far
    assert line["via"] == f"-/{','.join(refusal.via)}"
    refuser = refusal.far.partition("/")[0]
    for gateway in refusal.via[: refusal.via.index(refuser) + 1]:
        (match,) = world.chain[gateway].lines(rf" overlay .* trace={line['trace']} early=-$")
        assert f" {errno.errorcode[refusal.number]} us=" in match.string


def test_legs_are_used_again(world: World) -> None:
    before = world.chain.link("oregon", "mumbai")
    for _ in range(ROUNDS):
        for name in REFUSALS:
            assert visit(world.port(name), b"?") == Heard(b"", End.RESET)
    after = world.chain.link("oregon", "mumbai")
    assert after["dialled"] - before["dialled"] <= 0.1 * ROUNDS * len(REFUSALS)
    counted = world.chain["oregon"].metrics()
    assert counted["midmile_pool_legs_stale_total"] == 0


def test_a_path_that_returns_is_refused(world: World) -> None:
    """No gateway says this of itself: its configuration would be wrong. One that is mistaken, or lies, might."""
    destination = Endpoint(LOOPBACK, world.nowhere)
    with closing(Opener(world.chain.overlay_port("mumbai"), "lima", world.chain.key_file("oregon"))) as lima:
        for via in (("mumbai",), ("singapore", "mumbai"), ("lima",), ("singapore", "singapore")):
            answer = lima.ask(Open(destination, via, Endpoint(LOOPBACK, 9), bytes(16)))
            assert isinstance(answer, Refused)
            assert (answer.gateway, answer.errno, answer.where) == ("mumbai", errno.ELOOP, Where.PATH)
