"""When an answer reaches the client, by how its path is divided: the ladder as a model. docs/ladder.md derives it.

Lines only delay, and send at a rate if they have one. Hosts and gateways take no time. Nothing is lost but where a leg
says so, and queues hold whatever comes. Pure: nothing is measured here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, isfinite, sqrt
from typing import Final

from gateway.lab.results import Limit, Stage, Times

_BITS: Final = 8
_HEADER_BYTES: Final = 52  # IPv4, and TCP with timestamps


class Bound(StrEnum):
    """What no gateway can go below: where clients are left as they are, and at all."""

    UNMODIFIED_CLIENT = "unmodified client"
    PROPAGATION = "propagation"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is fetched, with a request of one packet, and how hosts and lines send it.

    Attributes:
        size_bytes: of the answer.
        rate_bits_s: of each line, headers included; 0 for no limit.
        initial_window: segments that a fresh connection sends before it hears of any (RFC 6928).
        segment_bytes: payload of a packet; 1448 is an MTU of 1500 with TCP's timestamps.
    """

    size_bytes: int = 43_000
    rate_bits_s: float = 0.0
    initial_window: int = 10
    segment_bytes: int = 1_448

    def __post_init__(self) -> None:
        for name in ("size_bytes", "initial_window", "segment_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; found {getattr(self, name)}")
        if not 0 <= self.rate_bits_s < float("inf"):
            raise ValueError(f"rate_bits_s must be 0 or more, and finite; found {self.rate_bits_s}")

    @property
    def segments(self) -> int:
        """How many packets the answer takes."""
        return ceil(self.size_bytes / self.segment_bytes)

    @property
    def spacing_s(self) -> float:
        """How long a line sends at one packet."""
        return (self.segment_bytes + _HEADER_BYTES) * _BITS / self.rate_bits_s if self.rate_bits_s else 0.0


@dataclass(frozen=True, slots=True)
class Leg:
    """A TCP connection on the way.

    Attributes:
        stands: it is connected before the session begins.
        is_wide: its window holds all that is ever sent, from the first packet on.
        loss: the share of its packets that vanish.
    """

    rtt_s: float
    stands: bool = False
    is_wide: bool = False
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Path:
    """The legs from client to server, and whether gateways act on a client's SYN (or only once they have accepted)."""

    legs: tuple[Leg, ...]
    acts_on_syn: bool = False

    @classmethod
    def of(cls, rung: Stage | Bound, rtts_s: Sequence[float], *, loss: float = 0.0) -> "Path":
        """Give the path that a rung of the ladder makes of a chain.

        Args:
            rtts_s: round-trip times client to gateway, gateway to gateway .., gateway to server; two at least.
            loss: on the client's leg, where there is none else to carry it.

        Raises:
            ValueError: there are fewer than two round-trip times, or one is not a time.
        """
        _require_chain(rtts_s)
        if rung is Stage.END_TO_END:
            return cls((Leg(sum(rtts_s), loss=loss),))
        first, *middle, last = rtts_s
        if isinstance(rung, Bound):
            client = Leg(first, stands=rung is Bound.PROPAGATION, is_wide=True, loss=loss)
            return cls((client, *(Leg(rtt_s, stands=True, is_wide=True) for rtt_s in (*middle, last))))
        has = [stage for stage in Stage if _RUNGS[stage] <= _RUNGS[rung]]
        pool = [Leg(rtt_s, stands=Stage.POOL_LEGS in has, is_wide=Stage.TURBO_START in has) for rtt_s in middle]
        legs = (Leg(first, loss=loss), *pool, Leg(last, stands=Stage.PRECONNECT in has))
        return cls(legs, acts_on_syn=Stage.EARLY_SYN in has)


_RUNGS: Final = {stage: number for number, stage in enumerate(Stage)}


def _require_chain(rtts_s: Sequence[float]) -> None:
    if len(rtts_s) < 2:
        raise ValueError(f"a chain must have two round-trip times or more; found {len(rtts_s)}")
    for rtt_s in rtts_s:
        if not (isfinite(rtt_s) and rtt_s >= 0):
            raise ValueError(f"a round-trip time must be 0 or more, and finite; found {rtt_s}")


def ladder(rtts_s: Sequence[float], transfer: Transfer) -> dict[Stage, Times]:
    """Give what each stage takes, in their order."""
    return {stage: predict(Path.of(stage, rtts_s), transfer) for stage in Stage}


def limits(rtts_s: Sequence[float], transfer: Transfer) -> tuple[Limit, ...]:
    """Give what no gateway can go below."""
    return tuple(Limit(bound.value, predict(Path.of(bound, rtts_s), transfer)) for bound in Bound)


def predict(path: Path, transfer: Transfer) -> Times:
    """Give when the client has the answer, from when it began to connect."""
    arrivals_s = arrivals(path, transfer)
    return Times(arrivals_s[0], arrivals_s[-1])


def arrivals(path: Path, transfer: Transfer) -> list[float]:
    """Give when the client has each segment of the answer, from when it began to connect."""
    at_s = [_request_arrives_s(path)] * transfer.segments
    for leg in reversed(path.legs):
        at_s = _carried(at_s, leg, transfer)
    return at_s


def _request_arrives_s(path: Path) -> float:
    """Give when the request is at the server.

    Two things travel: word of the session, which is a SYN or an OPEN, and the request. A leg is begun by whichever
    its near end acts on, and takes the request on when it is connected.
    """
    word_s = request_s = 0.0
    for leg in path.legs:
        begun_s = word_s if path.acts_on_syn else request_s
        connected_s = 0.0 if leg.stands else begun_s + leg.rtt_s
        request_s = max(request_s, connected_s) + leg.rtt_s / 2
        word_s += leg.rtt_s / 2
    return request_s


def _carried(at_s: Sequence[float], leg: Leg, transfer: Transfer) -> list[float]:
    """Give when segments are at the leg's near end, from when they are at its far end.

    Each is sent once it is there, the one before it has left the line, and the window has room. A window of w starts
    with w segments and opens by two with each that is acknowledged: segment w + 2n and the next one wait for the
    acknowledgement of segment n.
    """
    spacing_s = max(transfer.spacing_s, lossy_spacing_s(leg))
    sent_s: list[float] = []
    for number, there_s in enumerate(at_s):
        when_s = max(there_s, sent_s[-1] + spacing_s) if sent_s else there_s
        if not leg.is_wide and number >= transfer.initial_window:
            when_s = max(when_s, sent_s[(number - transfer.initial_window) // 2] + leg.rtt_s)
        sent_s.append(when_s)
    return [when_s + leg.rtt_s / 2 for when_s in sent_s]


def lossy_spacing_s(leg: Leg) -> float:
    """Give the mean time between two packets that CUBIC comes to in the long run, if nothing but loss held it back.

    An estimate, where losses are few, random and by themselves. CUBIC keeps the larger of its own mean window and the
    one that Reno would have, which is the square root of 1.5 / loss.

    Source: RFC 9438, sections 4.3 and 5.1, with its C and beta.
    """
    if not leg.loss:
        return 0.0
    cubic = sqrt(sqrt(0.4 * (3 + 0.7) / (4 * (1 - 0.7)) * (leg.rtt_s / leg.loss) ** 3))
    return leg.rtt_s / max(cubic, sqrt(1.5 / leg.loss))
