"""A leg to a peer while no session has it: received over a channel, listened to, put away. For openers' legs.

Who has it, and for how long, is decided elsewhere.
"""

import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from pools.frames import Role
from pools.leg import PoolLeg
from pools.message_rules import LegCard
from pools.net.errors import Fault, ProtocolError
from pools.net.readiness import Readiness
from pools.net.stream import StreamFailed


def received(descriptor: int, peer: str, card: LegCard, *, readiness: Readiness) -> PoolLeg:
    """Go on with a leg that came over a channel; the caller owns it, and owned its descriptor."""
    sock = socket.SocketType(fileno=descriptor)
    sock.setblocking(False)
    leg = readiness.open(sock, PoolLeg)
    leg.begin(Role.OPENER, peer, session=card.session, card=card)
    leg.readable = True  # what came before it was registered here: the first look asks the kernel
    return leg


def card_of(leg: PoolLeg) -> LegCard:
    """Give the card of an opener's leg. Raises ProtocolError for an acceptor's, which has none."""
    if leg.card is None:
        raise ProtocolError(f"expected an opener's leg, which has a card; found {leg!r}", fault=Fault.OURS)
    return leg.card


def card_to_send(leg: PoolLeg) -> LegCard:
    """Give the card as it must go along with the leg: with the number of its last session."""
    return replace(card_of(leg), session=leg.state.session)


def is_sound(leg: PoolLeg) -> bool:
    """Read, without waiting, what has come, and tell whether sessions may go on to use the leg.

    PING is answered and padding thrown away. A late RESET, GOAWAY, the end or an error make it unsound, and it is not
    fit from then on.
    """
    try:
        leg.hear_open()
    except (StreamFailed, ProtocolError):
        leg.readable = True  # and stays so: see `PoolLeg.is_fit`
        return False
    return leg.state.is_reusable


def watch(leg: PoolLeg, on_unsound: Callable[[PoolLeg], None]) -> None:
    """Listen until the leg is lent, sent on or retired: `on_unsound` is called in the hub once it is of no use."""
    leg.on_readable = partial(_stirred, leg, on_unsound)


def retire(leg: PoolLeg) -> None:
    """Close a leg in order, by its owner's wish; its keeper hears nothing."""
    leg.on_readable = None
    leg.keeper = None
    if leg.fd >= 0:
        leg.finish()


def retire_all(legs: Iterable[PoolLeg]) -> None:
    """Close legs in order, by their owner's wish."""
    for leg in legs:
        retire(leg)


def _stirred(leg: PoolLeg, on_unsound: Callable[[PoolLeg], None]) -> None:
    if not is_sound(leg):
        on_unsound(leg)
