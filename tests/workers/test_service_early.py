"""What was begun at a SYN, and the capture of SYNs, from one service to the next."""

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from pools.net.scoreboard import Cell
from tests.floor import rest_of, turn_until
from tests.lonely_network import inject, lonely_network, needs_root
from tests.packets import ipv4, tcp
from tests.workers.shift import Shift
from workers.shard import ShardHash
from workers.syn_filter import Target
from workers.syn_sockets import Capture, open_captures

pytestmark = needs_root


@pytest.fixture
def shift(tmp_path: Path) -> Iterator[Shift]:
    """Give services that capture the SYNs of a network of their own."""
    with lonely_network(), ExitStack() as owned:

        def capture(port: int) -> Capture:
            (only,) = open_captures([Target(IPv4Network("127.0.0.1"), port)], shard=ShardHash(1, 1))
            for sock in only.sockets:
                owned.enter_context(sock)
            return only

        with Shift(tmp_path, capture=capture) as made:
            yield made


def announce(shift: Shift, port: int) -> None:
    """Send a SYN that no connection will come of."""
    inject(ipv4(tcp(port, shift.listeners[0].getsockname()[1]), source="127.0.0.2", to="127.0.0.1"))


def test_what_nobody_has_claimed_is_cancelled_and_the_next_service_sees_what_comes(shift: Shift) -> None:
    row = shift.post.row
    for started in (1, 2):
        announce(shift, 40_000 + started)
        begun = shift.accept()
        turn_until(lambda: row[Cell.EARLY_PENDING])
        shift.configure()
        assert row[Cell.EARLY_PENDING] == 0
        assert (row[Cell.EARLY_STARTED], row[Cell.EARLY_CANCELLED]) == (started, started)
        assert rest_of(begun)[0] == b""
        turn_until(lambda: len(shift.services) == 1)


def test_sessions_begin_early_before_and_after(shift: Shift) -> None:
    row = shift.post.row
    for number in (1, 2, 3):
        client = shift.connect(0)
        accepted = shift.accept()
        turn_until(lambda: shift.ground.tally.live == 1)
        client.close()
        assert rest_of(accepted) == (b"", "end")
        accepted.close()
        turn_until(lambda: shift.ground.tally.live == 0)
        assert (row[Cell.EARLY_STARTED], row[Cell.EARLY_JOINED]) == (number, number)
        shift.configure()
