import msgpack
import pytest

from gateway.exit_codes import ExitCode
from gateway.upgrading import handover
from gateway.upgrading.handover import Kind
from pools.net.errors import ProtocolError
from pools.net.fd_passing import DESCRIPTOR_LIMIT, MESSAGE_LIMIT

MESSAGES: list[handover.Message] = [
    handover.Sockets(kind=Kind.GROUP, key=["127.0.0.1:443", "tcp", False, True]),
    handover.Offer(descriptors=3, runtime_dir="/run/midmile", shard_seed=2**32 - 1, lent=[17]),
    handover.Ready(slots=2, unused=[["127.0.0.1:80", "tcp", False, False]]),
    handover.failed(ExitCode.CONFIGURATION, "listen[0].bind: must be an address; found nowhere"),
    handover.Yours(),
    handover.Taken(),
    handover.Totals(rows=[("gateway", "", {"SESSIONS_TOTAL": 2**64 - 1}), ("peer", "mumbai", {})]),
    handover.Left(sessions=7),
    handover.End(limit_s=0.5),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message.word))
def test_what_is_said_is_heard(message: handover.Message) -> None:
    assert handover.decode(handover.encode(message)) == message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xc1", "msgpack"),
        (msgpack.packb(["left"]), "version None"),
        (msgpack.packb({"version": 2, "word": "left", "sessions": 1}), "one of version 1; found version 2"),
        (msgpack.packb({"version": 1, "word": "gone"}), "gone"),
        (msgpack.packb({"version": 1, "word": "left", "sessions": "1"}), "left.sessions"),
        (msgpack.packb({"version": 1, "word": "left", "sessions": -1}), "left.sessions"),
        (msgpack.packb({"version": 1, "word": "left", "sessions": 1, "more": 1}), "left.more"),
        (msgpack.packb({"version": 1, "word": "end", "limit_s": float("inf")}), "end.limit_s"),
        (msgpack.packb({"version": 1, "word": "totals", "rows": [["somewhere", "", {}]]}), "totals.rows.0.0"),
        (msgpack.packb({"version": 1, "word": "failed", "exit_code": 3, "why": "x" * 8193}), "failed.why"),
        (msgpack.packb({"version": 1, "word": "sockets", "kind": "files", "key": []}), "sockets.kind"),
    ],
)
def test_what_makes_no_sense_is_refused(content: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        handover.decode(content)


def test_descriptors_go_in_messages_that_can_carry_them() -> None:
    parts = handover.sockets(Kind.GROUP, ["127.0.0.1:443"], range(2 * DESCRIPTOR_LIMIT + 1))
    assert [len(descriptors) for _, descriptors in parts] == [DESCRIPTOR_LIMIT, DESCRIPTOR_LIMIT, 1]
    assert [number for _, descriptors in parts for number in descriptors] == list(range(2 * DESCRIPTOR_LIMIT + 1))
    assert {message.key[0] for message, _ in parts} == {"127.0.0.1:443"}


def test_totals_of_many_listeners_fit_their_messages() -> None:
    cells = {f"CELL_NUMBER_{number}": 2**63 for number in range(10)}
    rows: list[handover.TotalsRow] = [("listener", f"{number:0>255}", cells) for number in range(500)]
    messages = handover.totals(rows)
    assert [row for message in messages for row in message.rows] == rows
    assert max(len(handover.encode(message)) for message in messages) <= MESSAGE_LIMIT
    assert handover.totals([]) == []


def test_a_reason_that_is_too_long_loses_its_end() -> None:
    assert handover.decode(handover.encode(handover.failed(3, "x" * 100_000))) == handover.failed(3, "x" * 8192)
