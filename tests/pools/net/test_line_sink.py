"""Whole lines come out, no reader is waited for, and what is dropped is counted."""

import fcntl
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pools.net.line_sink import ATOMIC_BYTES, FLUSH_BYTES, HELD_BYTES_MAX, LineSink, _write_if_writable

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_all(reader: int) -> bytes:
    data = b""
    while select.select([reader], [], [], 0)[0] and (more := os.read(reader, 1 << 20)):
        data += more
    return data


def test_a_full_pipe_keeps_a_bounded_amount_and_drops_the_rest(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = LineSink(writer)
    dropped = sum(sink.put(LINE) for _ in range(10_000))
    dropped += sink.flush()
    arrived = b""
    while more := read_all(reader):
        arrived += more
        sink.flush()
    assert arrived.count(b"\n") == 10_000 - dropped
    assert set(arrived.splitlines()) == {LINE[:-1]}
    assert HELD_BYTES_MAX <= len(arrived) <= HELD_BYTES_MAX + fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ) + FLUSH_BYTES
    sink.close()


def test_the_shared_descriptor_stays_blocking(pipe: tuple[int, int]) -> None:
    sink = LineSink(pipe[1])
    sink.put(LINE)
    sink.flush()
    assert os.get_blocking(pipe[1])
    sink.close()


def test_two_writers_never_mix_their_lines(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sinks = [LineSink(writer), LineSink(writer)]
    lines = [b"a" * 700 + b"\n", b"b" * 900 + b"\n"]
    dropped = 0
    arrived = b""
    for _ in range(200):
        dropped += sum(sink.put(line) for sink, line in zip(sinks, lines, strict=True))
        arrived += read_all(reader)
    for _ in range(20):
        dropped += sum(sink.flush() for sink in sinks)
        arrived += read_all(reader)
    assert dropped == 0
    assert arrived.count(b"\n") == 400
    assert set(arrived.splitlines(keepends=True)) == set(lines)


def test_a_reader_that_went_away_costs_every_line_and_no_error(pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer)
    os.close(reader)
    sink.put(LINE)
    sink.put(LINE)
    assert sink.flush() == 2
    assert sink.flush() == 0
    sink.close()
    os.close(writer)


def test_a_full_disk_costs_every_line_and_no_error() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    sink = LineSink(descriptor)
    sink.put(LINE)
    assert sink.flush() == 1
    os.close(descriptor)


def test_a_line_cut_by_a_full_disk_is_ended_before_the_next(tmp_path: Path) -> None:
    file = tmp_path / "log"
    child = os.fork()
    if child == 0:
        os._exit(_write_past_the_limit(file))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert file.read_bytes().splitlines() == [LINE[:-1], LINE[:50], b"later"]


def _write_past_the_limit(file: Path) -> int:
    """Stand in for a full disk: RLIMIT_FSIZE cuts a write short and then refuses, here with EFBIG."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))
    sink = LineSink(descriptor)
    sink.put(LINE)
    sink.put(LINE)
    dropped = sink.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sink.put(b"later\n")
    return 0 if (dropped, sink.flush()) == (1, 0) else 1


def test_a_file_opened_without_append_gets_the_lines_of_all_its_writers(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    for name in (b"a\n", b"b\n", b"c\n"):
        sink = LineSink(descriptor)
        sink.put(name)
        sink.flush()
        sink.close()
    os.write(descriptor, b"direct\n")
    os.close(descriptor)
    assert (tmp_path / "log").read_bytes() == b"a\nb\nc\ndirect\n"


def test_a_socket_such_as_the_journals_is_never_waited_for() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = LineSink(ours.fileno())
        dropped = sum(sink.put(LINE) for _ in range(10_000))
        assert dropped > 0
        assert ours.getblocking()
        assert theirs.recv(len(LINE), socket.MSG_WAITALL) == LINE
        sink.close()


def test_lines_are_written_without_a_flush_once_much_came_together(pipe: tuple[int, int]) -> None:
    sink = LineSink(pipe[1])
    for _ in range(FLUSH_BYTES // len(LINE) + 1):
        sink.put(LINE)
    assert read_all(pipe[0]).count(b"\n") == FLUSH_BYTES // len(LINE) + 1
    sink.close()


def test_without_proc_a_blocking_pipe_is_asked_before_each_write(pipe: tuple[int, int]) -> None:
    written = 0
    with pytest.raises(BlockingIOError):
        while True:
            written += _write_if_writable(pipe[1], b"y" * 2 * ATOMIC_BYTES)
    assert written == fcntl.fcntl(pipe[1], fcntl.F_GETPIPE_SZ)
