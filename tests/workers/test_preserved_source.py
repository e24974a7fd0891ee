"""As whom a leg goes out: which address that is, and where it can go from there."""

import errno
import socket
from dataclasses import dataclass, field
from typing import cast

import pytest

from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase, Side
from pools.net.resolver import Address
from workers.preserved_source import reachable, source_of
from workers.session import Session
from workers.settings import Listen, Mode

TARGET = Endpoint("app.example", 443)
OVER_4 = Address(socket.AF_INET, ("192.0.2.7", 443))
OVER_6 = Address(socket.AF_INET6, ("2001:db8::7", 443, 0, 0))
PRESERVES = Listen("web", Endpoint("0.0.0.0", 1), Mode.TPROXY, preserve_source=True)


@dataclass
class Come:
    """What is asked of a session."""

    listen: Listen = PRESERVES
    client: tuple[object, ...] = ("192.0.2.1", 5000)
    proxied: Endpoint | None = field(default=None)

    def source(self) -> str:
        return source_of(cast("Session", self))


def test_the_source_is_the_clients() -> None:
    assert Come().source() == "192.0.2.1"
    assert Come(client=("::ffff:192.0.2.1", 5000, 0, 0)).source() == "192.0.2.1"
    assert Come(client=("2001:db8::1", 5000, 0, 0)).source() == "2001:db8::1"


def test_a_proxy_header_says_who_the_client_is() -> None:
    assert Come(proxied=Endpoint("198.51.100.1", 7)).source() == "198.51.100.1"


def test_a_listener_that_does_not_ask_for_it_has_none() -> None:
    assert Come(listen=Listen("web", Endpoint("0.0.0.0", 1), Mode.TPROXY)).source() == ""


@pytest.mark.parametrize(("source", "address"), [("192.0.2.1", OVER_4), ("2001:db8::1", OVER_6)])
def test_only_addresses_of_its_family_are_within_reach(source: str, address: Address) -> None:
    assert reachable((OVER_4, OVER_6), source, TARGET) == (address,)


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("2001:db8::1", errno.EAFNOSUPPORT),
        ("0.0.0.0", errno.EADDRNOTAVAIL),
        ("::", errno.EADDRNOTAVAIL),
        ("224.0.0.1", errno.EADDRNOTAVAIL),
        ("ff02::1", errno.EADDRNOTAVAIL),
        ("255.255.255.255", errno.EADDRNOTAVAIL),
    ],
)
def test_a_source_that_reaches_nothing_says_why(source: str, number: int) -> None:
    with pytest.raises(LegError, match="app.example:443") as caught:
        reachable((OVER_4,), source, TARGET)
    error = caught.value
    assert (error.side, error.phase, error.errno, error.retryable) == (Side.OUTBOUND, Phase.CONNECT, number, False)
