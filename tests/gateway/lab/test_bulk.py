import socket
from collections.abc import Iterator

import pytest

from gateway.lab.bulk import Ends
from gateway.lab.client import FetchError

PIECE = 1 << 20


@pytest.fixture
def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        reader, _ = server.accept()
    with Ends(sender, reader) as made:
        yield made


def test_whole_pieces_come_through(ends: Ends) -> None:
    ends.carry(5 * PIECE + 17)
    ends.reader.setblocking(False)
    with pytest.raises(BlockingIOError):  # not a byte more than what was read
        ends.reader.recv(1)


def test_what_does_not_come_is_told(ends: Ends) -> None:
    ends.sender.shutdown(socket.SHUT_WR)
    with pytest.raises(FetchError, match="expected 2097152 bytes; found 0"):
        ends.carry(2 * PIECE)


def test_a_reader_that_does_not_read_is_sent_what_the_kernel_holds_and_no_more(ends: Ends) -> None:
    taken_in = ends.taken_in(at_most_bytes=1 << 30)
    assert 0 < taken_in < 1 << 30
    assert ends.read(taken_in) == taken_in


def test_what_a_reader_is_sent_has_a_bound(ends: Ends) -> None:
    assert 1 <= ends.taken_in(at_most_bytes=1) <= PIECE


def test_both_ends_are_closed() -> None:
    with Ends(socket.socket(), socket.socket()) as ends:
        pass
    assert (ends.sender.fileno(), ends.reader.fileno()) == (-1, -1)
