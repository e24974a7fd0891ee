import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.net.errors import ProtocolError
from pools.net.fd_passing import MESSAGE_LIMIT
from pools.net.orders import Order, OrderMessage, Report, ReportMessage

SECONDS = st.floats(min_value=0, max_value=1e9)
COUNT = st.integers(min_value=0, max_value=1_023)


@given(st.builds(OrderMessage, st.sampled_from(Order), SECONDS, COUNT, SECONDS, COUNT, COUNT))
def test_orders_survive_the_channel(message: OrderMessage) -> None:
    assert OrderMessage.decode(message.encode()) == message


@given(st.sampled_from(Report), st.text(st.characters(exclude_categories=["Cs"]), max_size=500))
def test_reports_survive_the_channel(report: Report, text: str) -> None:
    message = ReportMessage(report, text)
    assert ReportMessage.decode(message.encode()) == message


def test_report_always_fits_and_keeps_its_beginning() -> None:
    payload = ReportMessage(Report.FAILED, "port taken" + "\N{PILE OF POO}" * 100_000).encode()
    assert len(payload) <= MESSAGE_LIMIT
    assert ReportMessage.decode(payload).message.startswith("port taken")


def test_report_with_a_name_that_is_no_unicode_still_passes() -> None:
    text = b"/run/\xff".decode(errors="surrogateescape")
    assert ReportMessage.decode(ReportMessage(Report.FAILED, text).encode()).message.startswith("/run/")


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_protocol_error(payload: bytes) -> None:
    for kind in (OrderMessage, ReportMessage):
        with contextlib.suppress(ProtocolError):
            kind.decode(payload)


DRAIN = {"order": "drain", "limit_s": 1.0, "slot": 0, "linger_s": 0.0, "listeners": 0, "captures": 0}


@pytest.mark.parametrize(
    "content",
    [
        {"order": "drain"},
        {"order": "drain", "limit_s": 1.0, "slot": 0},
        DRAIN | {"order": "dance"},
        DRAIN | {"order": []},
        DRAIN | {"limit_s": -1.0},
        DRAIN | {"limit_s": "soon"},
        DRAIN | {"linger_s": float("nan")},
        DRAIN | {"slot": -1},
        DRAIN | {"slot": 1.5},
        DRAIN | {"listeners": True},
        DRAIN | {"captures": -1},
        DRAIN | {"haste": 1},
        ["drain", 1.0],
        None,
    ],
)
def test_order_out_of_the_vocabulary_is_refused(content: object) -> None:
    with pytest.raises(ProtocolError, match="must hold an order"):
        OrderMessage.decode(msgpack.packb(content))


def test_oversized_message_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        ReportMessage.decode(b"\xc0" * (MESSAGE_LIMIT + 1))
