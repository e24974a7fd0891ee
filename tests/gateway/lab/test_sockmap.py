import platform
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.lab import sockmap
from gateway.lab.sockmap import Sockmap, SockmapUnavailable

LIMIT_S = 20.0
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    with ExitStack() as held:
        yield connected(held), connected(held)


def connected(held: ExitStack) -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = held.enter_context(socket.create_connection(server.getsockname(), timeout=LIMIT_S))
        theirs = held.enter_context(server.accept()[0])
    theirs.settimeout(LIMIT_S)
    return ours, theirs


def test_bytes_cross_without_anybody_moving_them_or_it_is_said_why_not(pairs: tuple[Pair, Pair]) -> None:
    (sender, inbound), (outbound, reader) = pairs
    try:
        joined = Sockmap(inbound, outbound)
    except SockmapUnavailable as reason:
        assert str(reason).startswith(("bpf(2) is not permitted", "this kernel has no sockmap"))  # noqa: PT017  # either
        return
    with joined:
        sender.sendall(b"straight through")
        assert reader.recv(100) == b"straight through"


def test_a_processor_whose_system_calls_are_not_known_is_refused(
    pairs: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    with pytest.raises(SockmapUnavailable, match="not known here"):
        Sockmap(pairs[0][1], pairs[1][0])


def test_without_the_right_it_is_said_which_one(pairs: tuple[Pair, Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int, __: bytes) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(sockmap, "_call", refuse)
    with pytest.raises(SockmapUnavailable, match="CAP_BPF"):
        Sockmap(pairs[0][1], pairs[1][0])
