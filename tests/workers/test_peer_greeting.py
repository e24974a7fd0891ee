"""What another gateway hears about the sessions that it asks for: by rules, before and after a name is looked up."""

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from gevent.event import Event

from pools.egress_rules import EgressRules
from pools.frame_bodies import Open, Opened, Refused, Reset, Where
from pools.frames import FrameType
from pools.net.endpoint import Endpoint
from pools.net.errors import Phase
from pools.net.scoreboard import Cell
from tests.far_end import plain
from tests.floor import receive, reset, rest_of, send_all, turn_until
from tests.workers.crossroads import ASKER, Crossroads, Far, crossroads, reset_of
from workers.peer_greeting import PeerGreeting

EARLY = b"hello"
NAME = "app.example"


def refused(far: Far) -> tuple[str, int, Where]:
    """Wait for a refusal, and give who says it and why."""
    body = far.hear_body()
    assert isinstance(body, Refused), body
    assert body.elapsed_us >= 0
    return body.gateway, body.errno, body.where


def found(*hosts: str) -> Callable[..., Sequence[Any]]:
    """Give a resolver that knows these addresses for every name."""
    return lambda _host, port, *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]


def ends(world: Crossroads) -> list[list[str]]:
    return [[*line[7:9], line[13]] for line in world.logged()]


def named(world: Crossroads) -> Endpoint:
    return Endpoint(NAME, world.target.port)


def test_a_name_is_looked_up_and_its_allowed_address_dialled() -> None:
    allow = (f"{NAME}:*", "127.0.0.0/8:*")
    with crossroads(lookup=found("127.0.0.1"), allow=allow) as world:
        far = world.ask(to=named(world), then=EARLY)
        origin = world.accept()
        opened = far.hear_body()
        assert isinstance(opened, Opened)
        assert (opened.gateway, opened.elapsed_us > 0) == ("oregon", True)
        assert receive(origin, len(EARLY)) == EARLY
        send_all(origin, b"answer")
        assert far.hear_data(6) == b"answer"
        far.fin()
        assert rest_of(origin) == (b"", "end")
        origin.shutdown(socket.SHUT_WR)
        far.hear_fin()
        world.lets_go()
        (line,) = world.logged()
        assert (line[3], line[7], line[13], line[14]) == ("198.51.100.1:5000", "--", f"via={ASKER}/-", "far=-/-/-")
        assert world.counts == {"OPENS": 1}


@pytest.mark.parametrize("host", [NAME, "192.0.2.9"])
def test_what_no_rule_allows_is_refused_without_a_lookup(host: str) -> None:
    asked: list[object] = []
    with crossroads(lookup=lambda *names: asked.append(names), allow=("db.example:*",)) as world:
        assert refused(world.ask(to=Endpoint(host, 443))) == ("oregon", errno.EACCES, Where.POLICY)
        assert asked == []
        assert world.counts == {"OPENS": 1, "OPENS_REFUSED": 1}
        assert ends(world) == [["PR", "EACCES", f"via={ASKER}/-"]]
        assert (world.row[Cell.AUTH_FAILED], world.row[Cell.BAD_REQUESTS]) == (0, 0)


def test_a_name_that_leads_to_a_special_address_is_refused() -> None:
    with crossroads(lookup=found("127.0.0.1", "169.254.169.254"), allow=(f"{NAME}:*",)) as world:
        assert refused(world.ask(to=named(world))) == ("oregon", errno.EACCES, Where.POLICY)
        assert world.counts == {"OPENS": 1, "OPENS_REFUSED": 1}
        with pytest.raises(BlockingIOError):
            world.origin.accept()


def test_of_several_addresses_only_the_allowed_ones_are_dialled() -> None:
    with crossroads(lookup=found("127.0.0.2", "127.0.0.1"), allow=("127.0.0.1:*",)) as world:
        far = world.ask(to=named(world))
        assert isinstance(far.hear_body(), Opened)
        assert world.accept().getsockname()[0] == "127.0.0.1"


def test_a_name_at_hand_is_judged_like_any_other() -> None:
    with crossroads(lookup=found("127.0.0.1"), allow=("127.0.0.1:*", f"{NAME}:*")) as world:
        assert isinstance(world.ask(to=named(world)).hear_body(), Opened)
        world.sessions.rules = type(world.sessions.rules).parse([f"{NAME}:*"])
        assert refused(world.ask(to=named(world))) == ("oregon", errno.EACCES, Where.POLICY)


def test_a_name_without_addresses_is_said_to_be_so() -> None:
    def knows_nothing(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with crossroads(lookup=knows_nothing, allow=(f"{NAME}:*",)) as world:
        assert refused(world.ask(to=named(world))) == ("oregon", errno.EHOSTUNREACH, Where.RESOLVE)
        assert world.counts == {"OPENS": 1}


@pytest.mark.parametrize("via", [("mumbai", "oregon"), ("mumbai", "mumbai"), ("mumbai", ASKER)])
def test_a_path_that_returns_is_refused(via: tuple[str, ...]) -> None:
    with crossroads() as world:
        spare = world.legs.ready()
        assert refused(world.ask(*via)) == ("oregon", errno.ELOOP, Where.PATH)
        assert world.counts == {"OPENS": 1, "OPENS_REFUSED": 1}
        assert spare.is_quiet


@pytest.mark.parametrize("via", [(), ("mumbai",)])
def test_a_gateway_at_its_limit_refuses(via: tuple[str, ...]) -> None:
    with crossroads() as world:
        world.sessions.limit = 1
        first = world.ask()
        assert isinstance(first.hear_body(), Opened)
        far = world.ask(*via)
        assert refused(far) == ("oregon", errno.EUSERS, Where.LIMIT)
        far.fin()
        reset(first.sock)
        turn_until(lambda: not world.sessions.live)
        world.ask_again(far)
        assert isinstance(far.hear_body(), Opened)


def test_a_refused_leg_serves_again_once_its_opener_has_ended() -> None:
    with crossroads() as world:
        far = world.ask(to=Endpoint("192.0.2.9", 443), then=EARLY)
        assert refused(far)[1] == errno.EACCES
        far.say_data(EARLY)
        far.fin()
        world.ask_again(far, then=EARLY)
        assert isinstance(far.hear_body(), Opened)
        assert receive(world.accept(), len(EARLY)) == EARLY


def lookup_hangs(world: Crossroads) -> Far:
    """Ask for a name that is looked up for ever."""
    far = world.ask(to=named(world))
    turn_until(lambda: [each for each in world.sessions if each.phase is Phase.RESOLVE])
    return far


@contextmanager
def hanging(**more: Any) -> Iterator[Crossroads]:
    event = Event()

    def slow(*_: object) -> list[object]:
        event.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    with crossroads(lookup=slow, allow=(f"{NAME}:*",), **more) as world:
        yield world
        event.set()
        turn_until(lambda: not world.sessions.live)


def test_a_session_killed_during_a_lookup_is_reset() -> None:
    with hanging() as world:
        far = lookup_hangs(world)
        world.floor.in_hub(world.sessions.kill_all)
        assert reset_of(far.rest()) == errno.ECONNABORTED
        assert ends(world) == [["KQ", "-", f"via={ASKER}/-"]]


def test_a_lookup_that_takes_too_long_is_refused_in_time() -> None:
    with hanging(connect=0.5) as world:
        world.watch()
        far = lookup_hangs(world)
        assert refused(far) == ("oregon", errno.ETIMEDOUT, Where.RESOLVE)
        far.fin()


def test_a_peer_that_breaks_off_during_a_lookup_is_not_answered() -> None:
    with hanging() as world:
        far = lookup_hangs(world)
        reset(far.sock)
        turn_until(lambda: world.session.inbound.unsure)
        world.floor.in_hub(world.sessions.kill_all)
        assert len(ends(world)) == 1


def test_a_reset_of_the_asker_reaches_the_destination() -> None:
    with crossroads() as world:
        far = world.ask(then=EARLY)
        origin = world.accept()
        far.tell(Reset(errno.ECONNRESET))
        assert rest_of(origin) == (EARLY, "reset")
        far.rest()
        world.lets_go()
        assert ends(world) == [["CD", "ECONNRESET", f"via={ASKER}/-"]]


def test_the_askers_mistake_is_counted_and_ends_the_session() -> None:
    with crossroads() as world:
        far = world.ask()
        origin = world.accept()
        assert isinstance(far.hear_body(), Opened)
        far.send(plain(FrameType.FIN, far.session + 1))
        assert rest_of(origin) == (b"", "reset")
        world.lets_go()
        assert world.counts == {"OPENS": 1, "PEER_PROTOCOL_ERRORS": 1}
        assert ends(world) == [["CD", "EPROTO", f"via={ASKER}/-"]]


class Inbound:
    """Stands for a leg on which so many bytes have come behind OPEN; notes whether what is said may wait."""

    peer = ASKER

    def __init__(self, unread: int) -> None:
        self.unread = unread
        self.said: list[tuple[type, bool]] = []

    def unread_bytes(self, *, at_most: int) -> int:
        return min(self.unread, at_most)

    def say(self, body: Opened, *, may_wait: bool) -> None:
        self.said.append((type(body), may_wait))


@pytest.mark.parametrize(("unread", "may_wait"), [(0, False), (1, True), (1_500, True), (4_096, False)])
def test_opened_waits_for_the_answer_where_a_request_has_come_and_nothing_larger(unread: int, may_wait: bool) -> None:
    inbound = Inbound(unread)
    greeting_of(inbound).grant()
    assert inbound.said == [(Opened, may_wait)]


def test_opened_waits_for_payload_that_came_along_with_it() -> None:
    inbound = Inbound(0)
    greeting_of(inbound).grant(Opened("mumbai", 7), is_followed=True)
    assert inbound.said == [(Opened, True)]


def greeting_of(inbound: Any) -> PeerGreeting:
    message = Open(Endpoint(NAME, 443), (), Endpoint("198.51.100.1", 5000), bytes(16))
    return PeerGreeting(inbound, message, gateway="oregon", rules=EgressRules(()), full=0, began_s=0.0)
