"""Names, answers that age, and resolvers that fail, with a lookup of the test's own; and the system's once."""

import errno
import socket
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pools.net import resolver as module
from pools.net.endpoint import Endpoint
from pools.net.resolver import Address, ResolveError, Resolver, literal
from tests.floor import LIMIT_S, settle, turn_until

PORT = 443
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
TRY_AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")


class Names:
    """What stands for the system's resolver: answers by script, and may be made to wait."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.may_answer = Event()
        self.may_answer.set()

    def __call__(self, host: str, port: int, family: int, kind: int) -> list[Any]:
        assert (family, kind) == (0, socket.SOCK_STREAM)
        self.asked.append(host)
        self.may_answer.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, kind, 6, "", (answer, port))]


class Resolving:
    """A resolver and what it counts."""

    def __init__(self, *answers: str | Exception, again_after_s: float = 60.0) -> None:
        self.names = Names(*answers)
        self.failures = 0
        self.resolver = Resolver(again_after_s=again_after_s, on_failure=self._failed, lookup=self.names)

    def _failed(self) -> None:
        self.failures += 1

    def hosts(self, name: str = "app.example") -> list[str]:
        with gevent.Timeout(LIMIT_S):
            return [address.sockaddr[0] for address in self.resolver.addresses(name, PORT)]


def test_an_answer_is_kept_while_it_is_fresh() -> None:
    resolving = Resolving("192.0.2.1", "192.0.2.2")
    assert [resolving.hosts() for _ in range(3)] == [["192.0.2.1"]] * 3
    assert resolving.names.asked == ["app.example"]


def test_a_stale_answer_serves_while_the_next_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(module, "monotonic_s", lambda: now_s[0])
    resolving = Resolving("192.0.2.1", "192.0.2.2")
    assert resolving.hosts() == ["192.0.2.1"]
    now_s[0] += 61
    assert resolving.hosts() == ["192.0.2.1"]
    turn_until(lambda: len(resolving.names.asked) == 2)
    settle()
    assert resolving.hosts() == ["192.0.2.2"]


def test_an_answer_long_past_its_time_is_not_used_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(module, "monotonic_s", lambda: now_s[0])
    resolving = Resolving("192.0.2.1", "192.0.2.2")
    assert resolving.hosts() == ["192.0.2.1"]
    now_s[0] += 601
    assert resolving.hosts() == ["192.0.2.2"]


@pytest.mark.parametrize("failure", [TRY_AGAIN, NO_SUCH_NAME, OSError(errno.EMFILE, "Too many open files")])
def test_the_last_good_answer_outlives_the_resolver(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(module, "monotonic_s", lambda: now_s[0])
    resolving = Resolving("192.0.2.1", failure)
    assert resolving.hosts() == ["192.0.2.1"]
    for _ in range(3):
        now_s[0] += 700
        assert resolving.hosts() == ["192.0.2.1"]
    assert resolving.failures == 3
    assert "going on with its last addresses" in caplog.text


@pytest.mark.parametrize(
    ("failure", "number"),
    [
        (NO_SUCH_NAME, errno.EHOSTUNREACH),
        (TRY_AGAIN, errno.EAGAIN),
        (OSError(errno.EMFILE, "Too many open files"), errno.EAGAIN),
        (UnicodeError("label too long"), errno.EHOSTUNREACH),
    ],
)
def test_a_name_without_any_answer_is_an_error_each_time(failure: Exception, number: int) -> None:
    resolving = Resolving(failure)
    for _ in range(2):
        with pytest.raises(ResolveError, match="cannot resolve app.example") as caught:
            resolving.hosts()
        assert caught.value.errno == number
    assert (resolving.failures, len(resolving.names.asked)) == (2, 2)


def test_all_who_ask_for_one_name_share_a_lookup() -> None:
    resolving = Resolving("192.0.2.1")
    resolving.names.may_answer.clear()
    asking = [gevent.spawn(resolving.hosts) for _ in range(20)]
    settle()
    assert not any(one.ready() for one in asking)
    resolving.names.may_answer.set()
    gevent.joinall(asking, timeout=LIMIT_S)
    assert [one.value for one in asking] == [["192.0.2.1"]] * 20
    assert len(resolving.names.asked) == 1


def test_one_who_stops_waiting_leaves_the_others_their_answer() -> None:
    resolving = Resolving("192.0.2.1")
    resolving.names.may_answer.clear()
    patient, impatient = gevent.spawn(resolving.hosts), gevent.spawn(resolving.hosts)
    settle()
    impatient.kill()
    resolving.names.may_answer.set()
    gevent.joinall([patient], timeout=LIMIT_S)
    assert patient.value == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.9", Address(socket.AF_INET, ("192.0.2.9", PORT))),
        ("2001:db8::9", Address(socket.AF_INET6, ("2001:db8::9", PORT, 0, 0))),
    ],
)
def test_an_address_asks_nobody_and_never_ages(host: str, address: Address) -> None:
    resolving = Resolving(NO_SUCH_NAME)
    assert resolving.resolver.addresses(host, PORT) == (address,)
    assert resolving.resolver.addresses(host, PORT) == (address,)
    assert resolving.names.asked == []


def test_what_is_foreseen_is_asked_for_once_and_at_hand_afterwards() -> None:
    resolving = Resolving("192.0.2.1")
    assert [resolving.resolver.foresee("app.example", PORT) for _ in range(3)] == [()] * 3
    turn_until(lambda: resolving.resolver.at_hand("app.example", PORT))
    assert [each.sockaddr[0] for each in resolving.resolver.foresee("app.example", PORT)] == ["192.0.2.1"]
    assert resolving.names.asked == ["app.example"]


def test_an_address_need_not_be_foreseen() -> None:
    resolving = Resolving("192.0.2.1")
    assert [each.sockaddr[0] for each in resolving.resolver.foresee("192.0.2.7", PORT)] == ["192.0.2.7"]
    assert resolving.names.asked == []


def test_the_memory_for_names_is_bounded() -> None:
    resolving = Resolving("192.0.2.1")
    for number in range(module._NAMES_MAX + 50):
        resolving.resolver.addresses(f"192.0.2.{number % 256}", 1 + number)
    assert len(resolving.resolver._answers) == module._NAMES_MAX


def test_the_systems_resolver_does_not_hold_up_the_loop() -> None:
    resolver = Resolver(again_after_s=60.0, on_failure=lambda: None)
    asking = gevent.spawn(resolver.addresses, "localhost", PORT)
    turns = 0

    def ready() -> bool:
        nonlocal turns
        turns += 1
        return bool(asking.ready())

    turn_until(ready)
    assert turns > 1
    assert {address.sockaddr[0] for address in asking.get()} <= {"127.0.0.1", "::1"}
    gevent.get_hub().threadpool.kill()  # threads would make later forks of this test process unsafe


def test_an_address_with_a_zone_this_host_lacks_is_unreachable() -> None:
    resolver = Resolver(again_after_s=30, on_failure=lambda: None)
    with pytest.raises(ResolveError) as caught:
        resolver.addresses("fe80::1%nowhere0", 80)
    assert caught.value.errno == errno.EHOSTUNREACH


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_a_literal_is_its_own_address(host: str) -> None:
    asked = Resolver(again_after_s=60.0, on_failure=lambda: None)
    assert (literal(Endpoint(host, 443)),) == asked.addresses(host, 443)
