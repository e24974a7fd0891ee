"""A redirected connection's destination, and the one that was never redirected."""

import errno

import pytest

from pools.net.endpoint import Endpoint
from workers.ingress.conversation import NotCaptured
from workers.ingress.redirect import destination

LOCAL = Endpoint("192.0.2.1", 15001)


@pytest.mark.parametrize("original", [Endpoint("198.51.100.7", 443), Endpoint("192.0.2.1", 443)])
def test_what_the_firewall_remembers_is_the_destination(original: Endpoint) -> None:
    assert destination(LOCAL, original) == original


@pytest.mark.parametrize("original", [LOCAL, None])
def test_a_connection_that_was_not_redirected_leads_nowhere(original: Endpoint | None) -> None:
    with pytest.raises(NotCaptured, match=r"led here; found one made to 192\.0\.2\.1:15001, the listener") as caught:
        destination(LOCAL, original)
    assert (caught.value.errno, caught.value.reply) == (errno.ELOOP, b"")
