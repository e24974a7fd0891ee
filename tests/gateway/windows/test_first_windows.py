from typing import Any

import pytest

from gateway.link_status import LinkStatus, read_links
from gateway.windows.first_windows import judged, lines
from pools.net.link_board import LINK_WORDS, LinkBoard, LinkCell

ENOUGH = 292_000
FULL = {
    LinkCell.FIRST_WINDOW_SEGMENTS: 200,
    LinkCell.FIRST_ADVERTISED_BYTES: ENOUGH - 1000,
    LinkCell.FIRST_SEND_BYTES: ENOUGH,
    LinkCell.FIRST_RECEIVE_BYTES: ENOUGH,
}


def link(**lower: int) -> LinkStatus:
    """Give a link whose legs begin with 200 segments, but for what is said."""
    board = LinkBoard(memoryview(bytearray(LINK_WORDS * 8)).cast("Q"))
    board.use([0])
    for cell, value in FULL.items():
        board.link(0)[cell] = lower.get(cell.name, value)
    return read_links(board, now_ns=0)[0]


def test_a_window_in_force_is_said_to_be() -> None:
    assert judged(200, "", link()) == "initial_window = 200 is in force: 200 segments"


@pytest.mark.parametrize(
    ("lower", "route_lack", "words"),
    [
        ({"FIRST_WINDOW_SEGMENTS": 10}, "no CAP_NET_ADMIN", "begins with 10 segments (no CAP_NET_ADMIN)"),
        ({"FIRST_WINDOW_SEGMENTS": 10}, "", "begins with 10 segments (tcp_slow_start_after_idle is 1,"),
        ({"FIRST_SEND_BYTES": 212_992}, "", "the send buffer has room for 212992 bytes (net.core.wmem_max"),
        ({"FIRST_RECEIVE_BYTES": 65_160}, "", "we advertise 65160 bytes (net.core.rmem_max"),
        ({"FIRST_ADVERTISED_BYTES": 65_160}, "", "the peer advertises 65160 bytes (initial_window for us there"),
    ],
)
def test_what_holds_a_window_is_named_and_nothing_else(lower: dict[str, int], route_lack: str, words: str) -> None:
    told = judged(200, route_lack, link(**lower))
    assert told.startswith("initial_window = 200 is not in force: ")
    assert words in told
    assert "; " not in told.replace("ADMIN; or", "ADMIN, or")


def test_all_that_holds_a_window_is_named() -> None:
    everything = link(
        FIRST_WINDOW_SEGMENTS=10, FIRST_SEND_BYTES=1000, FIRST_RECEIVE_BYTES=1000, FIRST_ADVERTISED_BYTES=1000
    )
    assert judged(200, "no CAP_NET_ADMIN", everything).count("1000 bytes") == 3


def test_a_kernel_that_does_not_tell_what_we_advertise_is_no_lack() -> None:
    assert "in force" in judged(200, "", link(FIRST_RECEIVE_BYTES=0))


def test_without_a_leg_nothing_is_known_but_of_the_route() -> None:
    nothing = link(FIRST_WINDOW_SEGMENTS=0)
    assert judged(200, "", nothing).endswith("not known yet, for there is no leg")
    assert judged(200, "no CAP_NET_ADMIN", nothing).endswith("no leg (no CAP_NET_ADMIN)")


def test_a_line_for_each_peer_that_has_a_window() -> None:
    peers: list[dict[str, Any]] = [
        {"name": "mumbai", "initial_window": 200, "route_lack": ""},
        {"name": "oslo", "initial_window": 0, "route_lack": ""},
        {"name": "peer 2", "address": None},  # the supervisor did not answer
    ]
    assert lines(peers, [link()] * 3) == ["mumbai: initial_window = 200 is in force: 200 segments"]
