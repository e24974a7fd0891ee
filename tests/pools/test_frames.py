"""Any cut of the bytes gives the same frames, payload may leave by another way, and lengths are judged first."""

import re
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.frames import (
    CONTROL_LIMIT,
    DATA_LIMIT,
    Frame,
    FrameReader,
    FrameType,
    Header,
    Payload,
    Role,
    data_header,
)
from pools.net.errors import Fault, ProtocolError

BODILESS = (FrameType.FIN, FrameType.GOAWAY)
STREAMED = (FrameType.DATA, FrameType.PAD)
WITH_BODY = [kind for kind in FrameType if kind not in BODILESS + STREAMED]

sessions = st.integers(0, 65_535)
control_frames = st.builds(Frame, st.sampled_from(WITH_BODY), sessions, st.binary(min_size=1, max_size=16)) | st.builds(
    Frame, st.sampled_from(BODILESS), sessions, st.just(b"")
)
payloads = st.tuples(st.sampled_from(STREAMED), sessions, st.binary(min_size=1, max_size=60))
contents = st.lists(control_frames | payloads, max_size=12)
Content = Frame | tuple[FrameType, int, bytes]


def written(content: Content) -> bytes:
    if isinstance(content, Frame):
        return content.encode()
    kind, session, payload = content
    return Header(kind, session, len(payload)).pack() + payload


def pieces(stream: bytes, cuts: Iterable[int]) -> list[memoryview]:
    return [memoryview(stream)[start:end] for start, end in pairwise(sorted({0, len(stream), *cuts}))]


class Collected:
    """What a reader gave, with payloads put together again."""

    def __init__(self) -> None:
        self.contents: list[Content] = []

    def add(self, event: Frame | Payload) -> None:
        if isinstance(event, Frame):
            self.contents.append(event)
        elif event.begins:
            self.contents.append((event.header.type, event.header.session, bytes(event.part)))
        else:
            self.append(bytes(event.part))

    def append(self, part: bytes) -> None:
        kind, session, payload = self.contents[-1]
        assert isinstance(payload, bytes)
        self.contents[-1] = (FrameType(kind), session, payload + part)


@given(contents, st.lists(st.integers(0, 500), max_size=30))
def test_any_cut_of_the_bytes_gives_the_same_frames(given_contents: list[Content], cuts: list[int]) -> None:
    stream = b"".join(map(written, given_contents))
    reader, found = FrameReader(), Collected()
    for piece in pieces(stream, (cut for cut in cuts if cut < len(stream))):
        for event in reader.feed(piece):
            found.add(event)
    assert found.contents == given_contents
    assert reader.is_between_frames


@given(contents, st.data())
def test_payload_that_is_spliced_away_changes_nothing_else(given_contents: list[Content], data: st.DataObject) -> None:
    stream = memoryview(b"".join(map(written, given_contents)))
    reader, found = FrameReader(), Collected()
    while stream:
        if reader.payload_left and data.draw(st.booleans()):
            count = data.draw(st.integers(1, reader.payload_left))
            found.append(bytes(stream[:count]))
            reader.spliced(count)
        else:
            count = data.draw(st.integers(1, len(stream)))
            for event in reader.feed(stream[:count]):
                found.add(event)
        stream = stream[count:]
    assert found.contents == given_contents
    assert reader.is_between_frames


def test_a_payload_begins_as_soon_as_its_header_is_there() -> None:
    reader = FrameReader()
    header = Header(FrameType.DATA, 7, 1000)
    assert list(reader.feed(memoryview(header.pack()))) == [Payload(header, memoryview(b""), begins=True)]
    assert reader.payload_left == 1000
    assert list(reader.feed(memoryview(b"abc"))) == [Payload(header, memoryview(b"abc"), begins=False)]
    reader.spliced(997)
    assert reader.is_between_frames


def test_what_follows_a_frame_is_left_to_the_next_reader() -> None:
    header = Header(FrameType.DATA, 1, 5)
    stream = memoryview(header.pack() + b"hello" + Frame(FrameType.FIN, 1).encode() + data_header(2, 3) + b"ne")
    reader = FrameReader()
    payload, rest = reader.take(stream)
    assert payload == Payload(header, memoryview(b"hello"), begins=True)
    frame, rest = reader.take(rest)
    assert (frame, bytes(rest)) == (Frame(FrameType.FIN, 1), data_header(2, 3) + b"ne")
    assert reader.is_between_frames
    payload, rest = FrameReader().take(rest)
    assert payload == Payload(Header(FrameType.DATA, 2, 3), memoryview(b"ne"), begins=True)


@pytest.mark.parametrize(
    "held", [b"", data_header(1, 10), data_header(1, 10)[:5], Frame(FrameType.PING, 0, b"xy").encode()[:9]]
)
def test_nothing_brings_nothing(held: bytes) -> None:
    reader = FrameReader()
    list(reader.feed(memoryview(held)))
    before = repr(reader)
    assert reader.take(memoryview(b"")) == (None, memoryview(b""))
    assert repr(reader) == before


def test_the_beginning_of_a_frame_is_held_until_the_rest_comes() -> None:
    reader = FrameReader()
    frame = Frame(FrameType.OPENED, 1, b"whatever")
    for at, byte in enumerate(frame.encode()[:-1]):
        assert reader.take(memoryview(bytes([byte]))) == (None, memoryview(b"")), at
        assert not reader.is_between_frames
    assert reader.take(memoryview(b"r" + b"next")) == (frame, memoryview(b"next"))
    assert reader.is_between_frames


def test_the_layout_is_eight_bytes_big_endian() -> None:
    assert Frame(FrameType.RESET, 0x0102, b"body").encode() == bytes([8, 0, 1, 2, 0, 0, 0, 4]) + b"body"
    assert data_header(0xFFFF, DATA_LIMIT) == bytes([6, 0, 0xFF, 0xFF, 0, 0x10, 0, 0])
    assert data_header(3, 5) == Header(FrameType.DATA, 3, 5).pack()


@pytest.mark.parametrize(
    ("packed", "rule"),
    [
        (bytes(8), "expected a frame of type 1 to 12; found 0"),
        (bytes([13, 0, 0, 0, 0, 0, 0, 0]), "type 1 to 12; found 13"),
        (bytes([6, 1, 0, 1, 0, 0, 0, 1]), "expected a DATA frame without flags; found 0x01"),
        (bytes([6, 0, 0, 1, 0, 0, 0, 0]), "a DATA frame must have 1 to 1048576 bytes; found 0"),
        (bytes([6, 0, 0, 1, 0, 0x10, 0, 1]), "a DATA frame must have 1 to 1048576 bytes; found 1048577"),
        (bytes([7, 0, 0, 1, 0, 0, 0, 1]), "a FIN frame must have no body; found 1"),
        (bytes([11, 0, 0, 0, 0, 0, 0, 1]), "a GOAWAY frame must have no body; found 1"),
        (bytes([3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]), "must have 1 to 2048 bytes; found 4294967295"),
    ],
)
@pytest.mark.parametrize("drip", [False, True])
def test_a_wrong_header_is_refused(packed: bytes, rule: str, drip: bool) -> None:
    reader = FrameReader()
    cuts = range(1, 8) if drip else []
    with pytest.raises(ProtocolError, match=rule) as caught:
        [event for piece in pieces(packed, cuts) for event in reader.feed(piece)]
    assert caught.value.fault is Fault.THEIRS


def test_frames_before_a_wrong_header_are_given() -> None:
    reader, found = FrameReader(), Collected()
    with pytest.raises(ProtocolError):
        for event in reader.feed(memoryview(Frame(FrameType.FIN, 1).encode() + bytes(8))):
            found.add(event)
    assert found.contents == [Frame(FrameType.FIN, 1)]


@pytest.mark.parametrize("length", [0, DATA_LIMIT + 1])
def test_our_own_mistakes_are_ours(length: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        data_header(1, length)
    assert caught.value.fault is Fault.OURS
    with pytest.raises(ProtocolError) as caught:
        Header(FrameType.FIN, 1, length + 1).pack()
    assert caught.value.fault is Fault.OURS


def test_no_more_can_be_spliced_than_there_is() -> None:
    reader = FrameReader()
    list(reader.feed(memoryview(data_header(1, 10) + b"x")))
    for count in (10, -1):
        with pytest.raises(ProtocolError, match="at most 9 bytes") as caught:
            reader.spliced(count)
        assert caught.value.fault is Fault.OURS
    assert reader.payload_left == 9


@pytest.mark.parametrize("kind", [kind for kind in FrameType if kind not in BODILESS])
def test_a_reader_holds_no_more_than_a_control_frame(kind: FrameType) -> None:
    length = longest(kind)
    stream = memoryview(Header(kind, 0, length).pack() + bytes(length))[: 4 * CONTROL_LIMIT]
    reader = FrameReader()
    tracemalloc.start()
    try:
        for at in range(len(stream)):
            list(reader.feed(stream[at : at + 1]))
        assert tracemalloc.get_traced_memory()[1] < 16 * CONTROL_LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", FrameType)
def test_the_page_lists_each_type_with_its_number_and_limit(kind: FrameType) -> None:
    least = 0 if kind in BODILESS else 1
    lengths = f"{least}–{longest(kind)}" if least else "0"
    page = (Path(__file__).parents[2] / "docs/wire.md").read_text()
    assert re.search(rf"^\| {kind.value} \| {kind.name} \| .* \| {lengths} \|$", page, re.MULTILINE)


def longest(kind: FrameType) -> int:
    lengths = [0, *(1 << power for power in range(21))]
    return max(length for length in lengths if packs(kind, length))


def packs(kind: FrameType, length: int) -> bool:
    try:
        Header(kind, 0, length).pack()
    except ProtocolError:
        return False
    return True


def test_each_role_has_another() -> None:
    assert [role.other for role in Role] == [Role.ACCEPTOR, Role.OPENER]


def test_a_header_by_itself_begins_data_as_taking_it_would() -> None:
    reader = FrameReader()
    assert reader.begins_data(memoryview(data_header(7, 300_000))) == Header(FrameType.DATA, 7, 300_000)
    assert reader.data_left == 300_000
    assert reader.begins_data(memoryview(data_header(7, 1))) is None  # a payload is on its way
    reader.spliced(300_000)
    assert reader.is_between_frames


@pytest.mark.parametrize(
    "view",
    [
        data_header(7, 300_000)[:5],
        data_header(7, 300_000) + b"x",
        Frame(FrameType.FIN, 7).encode(),
        Header(FrameType.PAD, 0, 300_000).pack(),
        b"\x06\x01" + data_header(7, 1)[2:],
        b"\x06\x00\x00\x07\x00\x00\x00\x00",
        b"\x06\x00\x00\x07\x00\x10\x00\x01",
    ],
    ids=["cut", "more", "fin", "padding", "flags", "empty", "too long"],
)
def test_nothing_but_the_header_of_data_begins_it(view: bytes) -> None:
    reader = FrameReader()
    assert reader.begins_data(memoryview(view)) is None
    assert reader.is_between_frames
