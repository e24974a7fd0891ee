"""What all conversations share: requests, and how destinations are judged."""

import pytest

from pools.net.endpoint import Endpoint
from workers.ingress.conversation import Request, destination


def test_early_bytes_stay_out_of_the_repr() -> None:
    assert "secret" not in repr(Request(Endpoint("a.example", 80), b"Authorization: secret"))


@pytest.mark.parametrize(
    ("host", "judged"),
    [("a.example", "a.example"), ("192.0.2.1", "192.0.2.1"), ("::1", "::1"), ("::ffff:192.0.2.1", "192.0.2.1")],
)
def test_a_destination_is_a_name_or_an_address(host: str, judged: str) -> None:
    assert destination(host, 443) == Endpoint(judged, 443)


@pytest.mark.parametrize("host", ["", "a b", "a..b", "fe80::1%eth0", "fe80::1%\r\nX: y", "-a", "ä.example"])
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="must name a host"):
        destination(host, 443)


def test_port_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="port from 1"):
        destination("a.example", 0)
