import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.net.errors import ProtocolError
from workers.operator_wire import FRAME_LIMIT, ROWS_PER_FRAME, FrameReader, SessionRow, frame, row_frames

ROW = SessionRow("orders", "192.0.2.1:50000", "[2001:db8::1]:443", 1.5, 1, 2, 3, 4, 5, 6)


@given(st.lists(st.lists(st.integers(0, 2**63)), max_size=20), st.data())
def test_any_cut_of_the_bytes_gives_the_same_frames(contents: list[list[int]], data: st.DataObject) -> None:
    stream = b"".join(map(frame, contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = FrameReader()
    pieces = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    assert [content for start, end in pieces for content in reader.feed(stream[start:end])] == contents
    assert reader.is_between_frames


def test_rows_arrive_in_order_over_several_frames() -> None:
    frames = list(row_frames([ROW] * (2 * ROWS_PER_FRAME + 1)))
    assert len(frames) == 3
    rows = [SessionRow.decode(row) for rows in FrameReader().feed(b"".join(frames)) for row in rows]
    assert rows == [ROW] * (2 * ROWS_PER_FRAME + 1)


def test_length_is_judged_before_anything_is_kept() -> None:
    with pytest.raises(ProtocolError, match="at most 10 bytes"):
        list(FrameReader(10).feed(b"\xff\xff\xff\xff"))
    with pytest.raises(ProtocolError, match="at most"):
        frame("x" * FRAME_LIMIT)


def test_stream_that_ends_inside_a_frame_can_be_told() -> None:
    reader = FrameReader()
    assert list(reader.feed(frame([1])[:-1])) == []
    assert not reader.is_between_frames


@pytest.mark.parametrize("content", [None, [], ["orders"], {"listener": "orders"}])
def test_what_is_no_row_is_refused(content: object) -> None:
    with pytest.raises(ProtocolError, match="row must be"):
        SessionRow.decode(content)
