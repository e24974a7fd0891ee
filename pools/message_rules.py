"""What a value of a message between worker and broker may be: the rules, each with the words for a wrong one.

Which messages there are, and what their values mean, is in `pools.broker_messages`.
"""

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

from pools.frame_bodies import LINKS_LIMIT, Link
from pools.net.errors import Fault, ProtocolError
from pools.net.fd_passing import DESCRIPTOR_LIMIT

IDS_LIMIT: Final = 4096
"""Legs named in one message without descriptors: at 9 bytes each they fill little more than half of it."""

_LEG: Final = range(1 << 64)


def _as_it_came(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Rule:
    """What one value may be.

    Attributes:
        says: the rule in words, after "must be".
        accepts: judges a value of a message.
        read: makes that value of what msgpack gives, or raises TypeError.
        write: the reverse.
    """

    says: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any] = _as_it_came
    write: Callable[[Any], Any] = _as_it_came


def is_whole(value: object, allowed: range) -> bool:
    """Tell whether `value` is a whole number out of `allowed`; True and False are none."""
    return type(value) is int and value in allowed


@dataclass(frozen=True, slots=True)
class LegCard:
    """What must be known of a leg wherever it is.

    Attributes:
        leg: its number, a `pools.ledger.LegId`.
        born_s: when it was established, on CLOCK_MONOTONIC, which is one for all processes of a host.
        expires_s: when it is to be replaced, likewise.
        session: number of the last session on it modulo 2¹⁶, from which the wire goes on.

    Raises:
        ProtocolError: a value out of its range.
    """

    leg: int
    born_s: float
    expires_s: float
    session: int = 0

    def __post_init__(self) -> None:
        moments = (self.born_s, self.expires_s)
        if not (
            is_whole(self.leg, _LEG)
            and is_whole(self.session, range(1 << 16))
            and all(type(moment) is float and math.isfinite(moment) for moment in moments)
        ):
            raise ProtocolError(
                f"a leg's card must hold a number, two moments, a session; found {astuple(self)!r:.200}",
                fault=Fault.OURS,
            )


def whole(allowed: range) -> Rule:
    """Allow a whole number."""
    return Rule(f"a whole number from {allowed[0]} to {allowed[-1]}", lambda value: is_whole(value, allowed))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 64


def _are_cards(value: object) -> bool:
    if not isinstance(value, tuple) or not 0 < len(value) <= DESCRIPTOR_LIMIT:
        return False
    return all(isinstance(card, LegCard) for card in value) and len({card.leg for card in value}) == len(value)


def _are_ids(value: object) -> bool:
    if not isinstance(value, tuple) or not 0 < len(value) <= IDS_LIMIT:
        return False
    return all(is_whole(leg, _LEG) for leg in value) and len(set(value)) == len(value)


def _read_cards(value: Any) -> tuple[LegCard, ...]:
    return tuple(_read_card(card) for card in _listed(value, DESCRIPTOR_LIMIT))


def _read_card(value: Any) -> LegCard:
    if not isinstance(value, list) or len(value) != len(fields(LegCard)):
        raise TypeError(f"a card is a list of {len(fields(LegCard))}")
    return LegCard(*value)


def _read_ids(value: Any) -> tuple[Any, ...]:
    return tuple(_listed(value, IDS_LIMIT))


def _listed(value: Any, limit: int) -> list[Any]:
    if not isinstance(value, list) or not 0 < len(value) <= limit:
        raise TypeError(f"a list of 1 to {limit}")
    return value


def _are_links(value: object) -> bool:
    return isinstance(value, tuple) and len(value) <= LINKS_LIMIT and all(map(_is_link, value))


def _is_link(value: object) -> bool:
    if not isinstance(value, Link):
        return False
    parts: tuple[object, ...] = value
    gateway, is_up, rtt_us, loss_ppm = parts
    is_measured = is_whole(rtt_us, range(1 << 32)) and is_whole(loss_ppm, range(1_000_001))
    return _is_name(gateway) and isinstance(is_up, bool) and is_measured


def _read_links(value: Any) -> tuple[Link, ...]:
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == len(Link._fields) for row in value):
        raise TypeError(f"a list of lists of {len(Link._fields)}")
    return tuple(Link(*row) for row in value)


FLAG: Final = Rule("true or false", lambda value: isinstance(value, bool))
COUNT: Final = whole(range(1 << 63))
ROUNDS: Final = whole(range(1, DESCRIPTOR_LIMIT + 1))
PER_MILLION: Final = whole(range(1_000_001))
NAME: Final = Rule("a name of 1 to 64 characters", _is_name)
LINKS: Final = Rule(
    f"up to {LINKS_LIMIT} links",
    _are_links,
    read=_read_links,
    write=lambda links: [list(link) for link in links],
)
IDS: Final = Rule(f"1 to {IDS_LIMIT} numbers of legs, each once", _are_ids, read=_read_ids)
CARDS: Final = Rule(
    f"1 to {DESCRIPTOR_LIMIT} cards of legs, each once",
    _are_cards,
    read=_read_cards,
    write=lambda cards: [astuple(card) for card in cards],
)
