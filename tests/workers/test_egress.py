"""From a destination's addresses to a leg, over loopback."""

import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest

from pools.net.clock import monotonic_s
from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, Side
from pools.net.resolver import Address, Resolver
from tests.floor import LIMIT_S, Floor, refusing_address, silent_address
from workers.egress import Egress
from workers.settings import Outbound

TARGET = Endpoint("app.example", 443)


def not_found(*_: object) -> list[object]:
    raise socket.gaierror(socket.EAI_NONAME, "no such name")


class Dialling:
    """An egress that counts its retries."""

    def __init__(self, floor: Floor) -> None:
        self.retries = 0
        resolver = Resolver(again_after_s=60.0, on_failure=lambda: None, lookup=not_found)
        self.egress = Egress(readiness=floor.readiness, resolver=resolver, settings=Outbound(), on_retry=self._count)

    def _count(self) -> None:
        self.retries += 1

    def connect(self, *addresses: Address, limit_s: float = LIMIT_S) -> Address:
        stream, sockaddr = self.egress.connect(TARGET, addresses, deadline_s=monotonic_s() + limit_s)
        stream.close()
        return Address(socket.AF_INET, sockaddr)


def address_of(listener: socket.socket) -> Address:
    return Address(socket.AF_INET, listener.getsockname())


@contextmanager
def refusing() -> Iterator[Address]:
    with refusing_address() as sockaddr:
        yield Address(socket.AF_INET, sockaddr)


@contextmanager
def silent() -> Iterator[Address]:
    with silent_address() as sockaddr:
        yield Address(socket.AF_INET, sockaddr)


def test_without_anybody_who_keeps_connections_none_is_ready() -> None:
    with Floor() as floor:
        dialling = Dialling(floor)
        assert dialling.egress.ready(TARGET, for_peer=False) is None
        assert not dialling.egress.is_ready(TARGET, for_peer=False)


def test_the_first_address_that_answers_is_taken() -> None:
    with Floor() as floor, socket.create_server(("127.0.0.1", 0)) as listener, refusing() as one, refusing() as other:
        dialling = Dialling(floor)
        wanted = address_of(listener)
        assert dialling.connect(wanted, one) == wanted
        assert dialling.retries == 0
        assert dialling.connect(one, other, wanted) == wanted
        assert dialling.retries == 2


def test_when_all_refuse_the_last_ones_reason_counts() -> None:
    with Floor() as floor, refusing() as one, refusing() as other:
        dialling = Dialling(floor)
        with pytest.raises(LegError) as caught:
            dialling.connect(one, other)
        error = caught.value
        assert (error.side, error.phase, error.errno) == (Side.OUTBOUND, Phase.CONNECT, errno.ECONNREFUSED)
        assert error.retryable
        assert "app.example:443" in str(error)
        assert dialling.retries == 1


def test_an_address_that_is_silent_gets_its_share_of_the_time_and_no_more() -> None:
    with Floor() as floor, silent() as black_hole, socket.create_server(("127.0.0.1", 0)) as listener:
        dialling = Dialling(floor)
        began_s = monotonic_s()
        assert dialling.connect(black_hole, address_of(listener), limit_s=0.1) == address_of(listener)
        assert monotonic_s() - began_s >= 1.0  # one second at least, whatever is left
        assert dialling.retries == 1


def test_the_callers_own_timeout_is_not_taken_for_an_addresss() -> None:
    with Floor() as floor, silent() as black_hole:
        dialling = Dialling(floor)
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
            dialling.connect(black_hole, black_hole)
        assert dialling.retries == 0


def test_an_error_thrown_in_ends_it_without_another_try() -> None:
    with Floor() as floor, silent() as black_hole, socket.create_server(("127.0.0.1", 0)) as listener:
        dialling = Dialling(floor)
        gone = LegError(Side.INBOUND, Phase.CONNECT, errno.ECONNRESET, "the client")
        raised: list[LegError] = []

        def job() -> None:
            try:
                dialling.connect(black_hole, address_of(listener))
            except LegError as error:
                raised.append(error)

        floor.in_hub(lambda: floor.greenlets.run(job))
        (stream,) = [*floor.readiness._streams.values(), *floor.readiness._newborn.values()]
        assert stream.on_writable is not None
        parked = stream.on_writable.__self__  # type: ignore[attr-defined]
        floor.in_hub(lambda: parked.throw(gone))
        assert raised == [gone]
        assert dialling.retries == 0


def test_a_lack_of_our_own_is_not_tried_again_elsewhere() -> None:
    with Floor() as floor, refusing() as one, refusing() as other:
        dialling = Dialling(floor)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(LegError) as caught:
                dialling.connect(one, other)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (caught.value.errno, caught.value.retryable, dialling.retries) == (errno.EMFILE, False, 0)


def test_a_name_that_does_not_exist_fails_in_its_own_phase() -> None:
    with Floor() as floor:
        with pytest.raises(LegError) as caught:
            Dialling(floor).egress.resolve(TARGET)
        error = caught.value
        assert (error.side, error.phase, error.errno) == (Side.OUTBOUND, Phase.RESOLVE, errno.EHOSTUNREACH)


@pytest.mark.parametrize("source", ["2001:db8::9", "0.0.0.0"])
def test_an_address_that_the_source_cannot_reach_is_not_dialled(source: str) -> None:
    with Floor() as floor, socket.create_server(("127.0.0.1", 0)) as listener:
        egress = Dialling(floor).egress
        address = address_of(listener)
        for dial in (
            lambda: egress.begin(TARGET, address, source=source),
            lambda: egress.connect(TARGET, (address,), deadline_s=monotonic_s() + LIMIT_S, source=source),
        ):
            with pytest.raises(LegError, match=r"EAFNOSUPPORT|EADDRNOTAVAIL"):
                dial()
