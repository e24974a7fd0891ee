"""A connection's local address is its destination, unless it is the listener's own."""

import pytest

from pools.net.endpoint import Endpoint
from workers.ingress.conversation import NotCaptured
from workers.ingress.tproxy import destination

ANY = Endpoint("0.0.0.0", 15001)
ANY_IPV6 = Endpoint("::", 15001)
ONE = Endpoint("127.0.0.1", 15001)


@pytest.mark.parametrize(
    ("local", "bind"),
    [
        (Endpoint("198.51.100.7", 443), ANY),
        (Endpoint("198.51.100.7", 443), ANY_IPV6),
        (Endpoint("2001:db8::7", 443), ANY_IPV6),
        (Endpoint("127.0.0.1", 443), ONE),
        (Endpoint("198.51.100.7", 15001), ONE),
    ],
)
def test_where_the_connection_went_is_where_it_goes(local: Endpoint, bind: Endpoint) -> None:
    assert destination(local, bind) == local


@pytest.mark.parametrize(
    ("local", "bind"),
    [
        (Endpoint("192.0.2.1", 15001), ANY),
        (Endpoint("192.0.2.1", 15001), ANY_IPV6),
        (Endpoint("2001:db8::1", 15001), ANY_IPV6),
        (ONE, ONE),
    ],
)
def test_the_listeners_own_address_is_no_destination(local: Endpoint, bind: Endpoint) -> None:
    with pytest.raises(NotCaptured):
        destination(local, bind)
