import os
import resource
import socket
from collections.abc import Iterator

import pytest

from pools.net import fd_passing
from pools.net.fd_passing import ChannelClosed, ChannelError, MessageCut, receive_message, send_message

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = fd_passing.socket_pair()
    yield ends
    for end in ends:
        end.close()


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_message_arrives_whole_and_apart_from_the_next(pair: Pair) -> None:
    send_message(pair[0], b"first")
    send_message(pair[0], b"second")
    assert receive_message(pair[1]) == (b"first", [])
    assert receive_message(pair[1]) == (b"second", [])


def test_descriptor_arrives_as_a_copy_that_is_closed_on_exec(pair: Pair) -> None:
    reader, writer = os.pipe()
    send_message(pair[0], b"take this", [writer])
    os.close(writer)
    _, (copy,) = receive_message(pair[1])
    assert not os.get_inheritable(copy)
    os.write(copy, b"through")
    os.close(copy)
    assert os.read(reader, 100) == b"through"
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_as_many_descriptors_pass_as_the_kernel_allows(pair: Pair) -> None:
    send_message(pair[0], b"x", [pair[0].fileno()] * fd_passing.DESCRIPTOR_LIMIT)
    _, copies = receive_message(pair[1])
    fd_passing.close_all(copies)
    assert len(set(copies)) == fd_passing.DESCRIPTOR_LIMIT


def test_limits_are_checked_before_anything_is_sent(pair: Pair) -> None:
    for payload, descriptors in ((b"", []), (b"x" * 65_536, []), (b"x", [0] * 254)):
        with pytest.raises(ChannelError, match="found"):
            send_message(pair[0], payload, descriptors)
    with pytest.raises(BlockingIOError):
        receive_message(pair[1])


def test_largest_message_passes(pair: Pair) -> None:
    send_message(pair[0], b"x" * fd_passing.MESSAGE_LIMIT)
    assert len(receive_message(pair[1])[0]) == fd_passing.MESSAGE_LIMIT


def test_message_that_is_cut_off_is_an_error_and_leaks_nothing(pair: Pair) -> None:
    before = open_descriptors()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, pair[0].fileno().to_bytes(4, "little"))]
    pair[0].sendmsg([b"x" * (fd_passing.MESSAGE_LIMIT + 1)], rights)
    with pytest.raises(MessageCut, match="cut off"):
        receive_message(pair[1])
    assert open_descriptors() == before


def test_descriptors_beyond_this_process_limit_are_an_error_and_leak_nothing(pair: Pair) -> None:
    send_message(pair[0], b"x", [pair[0].fileno()] * 8)
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 3, hard))
    try:
        with pytest.raises(MessageCut, match="cut off"):
            receive_message(pair[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before


def test_closed_end_is_end_of_file_for_the_reader_and_closed_for_the_writer(pair: Pair) -> None:
    pair[0].close()
    assert receive_message(pair[1]) == (b"", [])
    with pytest.raises(ChannelClosed):
        send_message(pair[1], b"anyone?")


def test_last_words_survive_an_end_that_never_read_its_mail(pair: Pair) -> None:
    send_message(pair[1], b"never read")
    send_message(pair[0], b"last words")
    pair[0].close()
    assert receive_message(pair[1]) == (b"last words", [])
    assert receive_message(pair[1]) == (b"", [])


def test_full_channel_says_so_without_blocking(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        for _ in range(100_000):
            send_message(pair[0], b"x" * 1000)
    assert receive_message(pair[1]) == (b"x" * 1000, [])
