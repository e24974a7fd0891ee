import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.net.errors import ProtocolError
from pools.net.fd_passing import MESSAGE_LIMIT
from pools.net.orders import Order, OrderMessage, Report, ReportMessage


@given(st.sampled_from(Order), st.floats(min_value=0, max_value=1e9), st.integers(min_value=0, max_value=1_023))
def test_orders_survive_the_channel(order: Order, limit_s: float, slot: int) -> None:
    message = OrderMessage(order, limit_s, slot)
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


@pytest.mark.parametrize(
    "content",
    [
        {"order": "drain"},
        {"order": "drain", "limit_s": 1.0},
        {"order": "dance", "limit_s": 1.0, "slot": 0},
        {"order": "drain", "limit_s": -1.0, "slot": 0},
        {"order": "drain", "limit_s": "soon", "slot": 0},
        {"order": "channel", "limit_s": 0.0, "slot": -1},
        {"order": "channel", "limit_s": 0.0, "slot": 1.5},
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
