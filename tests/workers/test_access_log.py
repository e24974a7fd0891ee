"""Records become lines that people, awk and programs can read, whatever clients put into them."""

import errno
import json
import os
import select

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.net.errors import Phase, Side
from pools.net.line_sink import LineSink
from workers.access_log import AccessLog, EndedBy, SessionRecord, as_json, as_text, end_code, ended_by
from workers.settings import LogFormat

COLUMNS = 17


def whole_record() -> SessionRecord:
    return SessionRecord(
        began_s=1_795_425_302.1189,
        session="3-5f0c",
        listener="orders",
        client="198.51.100.7:51234",
        destination="app.example:443",
        connected="203.0.113.9:443",
        handshake_us=120,
        resolve_us=840,
        connect_us=15_210,
        total_us=2_310_544,
        forward_bytes=512,
        backward_bytes=1_048_576,
        inbound_rtt_us=181,
        outbound_rtt_us=15_102,
        inbound_retransmits=0,
        outbound_retransmits=2,
        outbound_gateways=("mumbai", "singapore"),
        far_gateway="singapore",
        far_where="opened",
        far_us=1480,
        trace="9f86d081884c7d659a2feaa0c55ad015",
        early_us=28_310,
    )


def test_text_has_the_columns_the_module_promises() -> None:
    assert as_text(whole_record()) == (
        "2026-11-23T09:15:02.118Z 3-5f0c orders 198.51.100.7:51234 - app.example:443 203.0.113.9:443 -- - "
        "us=120/840/15210/2310544 bytes=512/1048576 rtt_us=181/15102 retransmits=0/2 "
        "via=-/mumbai,singapore far=singapore/opened/1480 trace=9f86d081884c7d659a2feaa0c55ad015 early=28310"
    )


def test_a_session_that_never_asked_has_dashes_in_every_empty_column() -> None:
    record = SessionRecord(0.0, "0-1", "orders", "[2001:db8::1]:9", end="CR", errno=errno.ECONNRESET)
    assert as_text(record) == (
        "1970-01-01T00:00:00.000Z 0-1 orders [2001:db8::1]:9 - - - CR ECONNRESET "
        "us=-/-/-/- bytes=0/0 rtt_us=-/- retransmits=-/- via=-/- far=-/-/- trace=- early=-"
    )


def test_json_says_the_same_and_null_for_nothing() -> None:
    facts = json.loads(as_json(whole_record()))
    assert facts["time"] == "2026-11-23T09:15:02.118Z"
    assert facts["destination"] == "app.example:443"
    assert facts["proxied_client"] is None
    assert facts["errno"] is None
    assert (facts["connect_us"], facts["backward_bytes"], facts["outbound_retransmits"]) == (15_210, 1_048_576, 2)
    assert set(SessionRecord.__slots__) - {"began_s"} <= set(facts), "every fact of a record is in the object"


def test_phases_that_were_not_reached_are_null_in_json() -> None:
    facts = json.loads(as_json(SessionRecord(0.0, "0-1", "orders", "192.0.2.1:9")))
    assert facts["connect_us"] is None
    assert facts["outbound_rtt_us"] is None


def test_a_hostile_name_cannot_make_a_second_line_or_column() -> None:
    record = whole_record()
    record.destination = "evil\n2026 \x1b[2J\\ é\U0001f600:1"
    assert r" evil\x0a2026\x20\x1b[2J\\\x20\xe9\U0001f600:1 " in as_text(record)
    assert json.loads(as_json(record))["destination"] == r"evil\x0a2026\x20\x1b[2J\\\x20\xe9\U0001f600:1"


@given(st.text(), st.text(), st.integers(0, 2**63))
def test_any_text_stays_in_its_column_and_under_the_pipe_limit(first: str, second: str, count: int) -> None:
    record = whole_record()
    record.destination, record.proxied_client, record.forward_bytes = first * 50, second, count
    line = as_text(record)
    assert len(line.split(" ")) == COLUMNS
    assert line.isascii()
    assert line.isprintable()
    assert as_json(record).isprintable()
    assert json.loads(as_json(record))["forward_bytes"] == count


@pytest.mark.parametrize("render", [as_text, as_json])
def test_the_longest_line_is_one_atomic_write(render: object) -> None:
    record = whole_record()
    record.outbound_gateways = ("g" * 64,) * 17
    record.inbound_gateway = record.far_gateway = "g" * 64
    record.listener = record.client = record.proxied_client = record.destination = record.connected = "\\" * 9000
    assert callable(render)
    assert len(render(record)) < select.PIPE_BUF


@pytest.mark.parametrize(
    ("side", "number", "who"),
    [
        (Side.INBOUND, errno.ECONNRESET, "C"),
        (Side.OUTBOUND, errno.ECONNREFUSED, "S"),
        (Side.INBOUND, errno.ETIMEDOUT, "c"),
        (Side.OUTBOUND, errno.ETIMEDOUT, "s"),
        (Side.OUTBOUND, errno.EMFILE, "R"),
        (Side.OUTBOUND, errno.EADDRNOTAVAIL, "R"),
    ],
)
def test_the_failed_leg_and_its_errno_say_who_ended_it(side: Side, number: int, who: str) -> None:
    assert ended_by(side, number).value == who


def test_end_codes_are_two_letters_each_different() -> None:
    codes = {end_code(who, phase) for who in EndedBy if who is not EndedBy.NORMAL for phase in Phase}
    assert len(codes) == (len(EndedBy) - 1) * len(Phase)
    assert all(len(code) == 2 for code in codes)
    assert end_code(EndedBy.NORMAL, Phase.LAST) == "--"


def test_lines_are_held_until_flushed_and_reach_the_descriptor() -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer)
    log = AccessLog(sink, LogFormat.TEXT)
    assert log.add(whole_record()) == 0
    assert select.select([reader], [], [], 0)[0] == []
    assert sink.flush() == 0
    assert os.read(reader, 65536).decode() == as_text(whole_record()) + "\n"
    sink.close()
    os.close(reader)
    os.close(writer)


def test_a_reader_that_stopped_costs_lines_and_never_time() -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer)
    log = AccessLog(sink, LogFormat.JSON)
    dropped = sum(log.add(whole_record()) for _ in range(2000)) + sink.flush()
    kept = 2000 - dropped
    lines: list[bytes] = []
    while len(lines) < kept:
        assert select.select([reader], [], [], 30)[0], f"{len(lines)} of {kept} lines came"
        lines += os.read(reader, 1 << 20).splitlines()
        assert sink.flush() == 0
    assert 0 < dropped < 2000
    assert {line.decode() for line in lines} == {as_json(whole_record())}
    sink.close()
    os.close(reader)
    os.close(writer)
