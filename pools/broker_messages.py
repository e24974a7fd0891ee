"""What a worker and the broker say to each other about pool legs. Words only; `pools.net.fd_passing` carries them.

The channel is one SOCK_SEQPACKET pair for each worker: whole messages, in order. Each message is a msgpack list of its
kind and its values. GIVE and FULL carry one descriptor for each leg, in the order of their cards. Whoever sends a leg
closes its own copy once the send has succeeded, and keeps the leg when it has not.

Who owns a leg: the sender until the send, the receiver from the receipt on, and in between the kernel, in the channel's
queue. The broker books every leg by its number (`pools.ledger`): TAKE is answered by exactly one FULL or EMPTY, sooner
or later; FULL moves legs to the worker's account, GIVE moves them back, HELD enters what the worker dialled itself,
GONE strikes out what it closed. A number that is not on the account shows a bug: the broker ends that channel.

When one of them dies:

- **A worker.** The kernel closes all it had, and with its end of the channel what was in flight to it. What it had sent
  before is still read: those legs are good. At end of file the broker strikes out the rest.
- **The broker.** The kernel closes the depot's legs and what was in flight to it. The worker reads what was sent
  before, goes on with its magazines and lent legs, and dials on a miss. A full magazine it would hand back it closes.
- **Then** the supervisor gives the pair a fresh channel.

A pool is spoken of first by the broker, with PEER_STATE. The worker's first words about it on that channel are HELD,
with all legs that it has; an ask from before does not count any more. So a reload may tell the two of other peers in
any order: a worker that has a pool already says nothing of it until the broker has it, too. What either still says of a
pool that the other has ended is put away, its legs closed. Other settings of a peer make another pool.

So nobody else may keep an end of a channel open: a copy in the supervisor would keep what is in flight open for ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import msgpack

from pools.frame_bodies import Link
from pools.message_rules import CARDS, COUNT, FLAG, IDS, LINKS, NAME, PER_MILLION, ROUNDS, LegCard, Rule
from pools.net.errors import Fault, ProtocolError
from pools.net.fd_passing import MESSAGE_LIMIT
from pools.peer import PoolKey


@dataclass(frozen=True, slots=True)
class _Message:
    """One message.

    Attributes:
        peer: which pool it is about, by the gateway's name
        edition: and the edition of its settings, see `pools.peer`.

    Raises:
        ProtocolError: a value that breaks its rule.
    """

    peer: str
    edition: int = field(default=0, kw_only=True)

    kind: ClassVar[str] = ""
    rules: ClassVar[Mapping[str, Rule]] = {}

    def __post_init__(self) -> None:
        for name, rule in {"peer": NAME, "edition": COUNT, **self.rules}.items():
            if not rule.accepts(value := getattr(self, name)):
                raise _wrong(f"{self.kind}: {name} must be {rule.says}", value)

    @property
    def pool(self) -> PoolKey:
        """Which pool it is about."""
        return self.peer, self.edition

    def encode(self) -> bytes:
        """Give the message's bytes."""
        values = [rule.write(getattr(self, name)) for name, rule in self.rules.items()]
        packed: bytes = msgpack.packb([self.kind, self.peer, self.edition, *values])
        return packed


@dataclass(frozen=True, slots=True)
class Take(_Message):
    """Worker to broker: an empty magazine to be filled with up to `rounds` legs. One at a time for each peer."""

    rounds: int

    kind: ClassVar[str] = "take"
    rules: ClassVar[Mapping[str, Rule]] = {"rounds": ROUNDS}


@dataclass(frozen=True, slots=True)
class Give(_Message):
    """Worker to broker: a full magazine, or what had no room. The broker owns the legs."""

    legs: tuple[LegCard, ...]

    kind: ClassVar[str] = "give"
    rules: ClassVar[Mapping[str, Rule]] = {"legs": CARDS}


@dataclass(frozen=True, slots=True)
class Held(_Message):
    """Worker to broker: legs that it has and the broker does not know of, dialled on a miss or left from before."""

    legs: tuple[int, ...]

    kind: ClassVar[str] = "held"
    rules: ClassVar[Mapping[str, Rule]] = {"legs": IDS}


@dataclass(frozen=True, slots=True)
class Gone(_Message):
    """Worker to broker: legs of its account that it closed."""

    legs: tuple[int, ...]

    kind: ClassVar[str] = "gone"
    rules: ClassVar[Mapping[str, Rule]] = {"legs": IDS}


@dataclass(frozen=True, slots=True)
class Stats(_Message):
    """Worker to broker, in each interval of demand (`pools.refill.DEMAND_INTERVAL_S`).

    Attributes:
        lent: legs that sessions have now.
        lent_peak: the most of them at once since the last report.
        dialling: sessions that found no leg, and dial now.
        hits: takes that found a leg, since the worker began.
        misses: takes that found none, likewise.
        unfit: legs found readable, broken or too old, likewise.
        dial_failures: of the legs that sessions dialled on a miss, those that came to nothing, likewise.
        window: median congestion window of its idle legs, segments; 0 without any.
    """

    lent: int
    lent_peak: int
    dialling: int
    hits: int
    misses: int
    unfit: int
    dial_failures: int = 0
    window: int = 0

    kind: ClassVar[str] = "stats"
    rules: ClassVar[Mapping[str, Rule]] = dict.fromkeys(
        ("lent", "lent_peak", "dialling", "hits", "misses", "unfit", "dial_failures", "window"), COUNT
    )


@dataclass(frozen=True, slots=True)
class Full(_Message):
    """Broker to worker: the answer to TAKE, with at most the legs asked for. The worker owns them."""

    legs: tuple[LegCard, ...]

    kind: ClassVar[str] = "full"
    rules: ClassVar[Mapping[str, Rule]] = {"legs": CARDS}


@dataclass(frozen=True, slots=True)
class Empty(_Message):
    """Broker to worker: the answer to TAKE when nothing will come, because the peer is down."""

    kind: ClassVar[str] = "empty"


@dataclass(frozen=True, slots=True)
class PeerState(_Message):
    """Broker to worker, on a fresh channel and when something changes: what it needs to choose a path and keep legs.

    Attributes:
        is_up: the link answers, or is not known not to.
        is_crowded: close a leg whose session ends, rather than keep it.
        rounds: of a magazine from now on.
        rtt_us: smoothed; 0 while unknown.
        loss_ppm: lost probes, parts in a million.
        beyond: the peer's own links.
    """

    is_up: bool
    is_crowded: bool
    rounds: int
    rtt_us: int
    loss_ppm: int
    beyond: tuple[Link, ...] = ()

    kind: ClassVar[str] = "peer_state"
    rules: ClassVar[Mapping[str, Rule]] = {
        "is_up": FLAG,
        "is_crowded": FLAG,
        "rounds": ROUNDS,
        "rtt_us": COUNT,
        "loss_ppm": PER_MILLION,
        "beyond": LINKS,
    }


FromWorker: TypeAlias = Take | Give | Held | Gone | Stats
FromBroker: TypeAlias = Full | Empty | PeerState

_FromEither = TypeVar("_FromEither", bound=_Message)
_FROM_WORKER: Final[Sequence[type[FromWorker]]] = (Take, Give, Held, Gone, Stats)
_FROM_BROKER: Final[Sequence[type[FromBroker]]] = (Full, Empty, PeerState)


def decode_from_worker(payload: bytes, *, descriptors: int) -> FromWorker:
    """Read what a worker sent, along with this many descriptors.

    Raises:
        ProtocolError: not such a message. The caller closes the descriptors.
    """
    return _decode(payload, descriptors, _FROM_WORKER)


def decode_from_broker(payload: bytes, *, descriptors: int) -> FromBroker:
    """Read what the broker sent, along with this many descriptors.

    Raises:
        ProtocolError: not such a message. The caller closes the descriptors.
    """
    return _decode(payload, descriptors, _FROM_BROKER)


def _decode(payload: bytes, descriptors: int, known: Sequence[type[_FromEither]]) -> _FromEither:
    kind, *values = _unpack(payload)
    message_type = next((each for each in known if each.kind == kind), None)
    if message_type is None:
        raise _wrong(f"a message's kind must be one of {', '.join(each.kind for each in known)}", kind)
    message = _build(message_type, values)
    expected = len(message.legs) if isinstance(message, Give | Full) else 0
    if descriptors != expected:
        raise _wrong(f"{message.kind} must come with {expected} descriptors", descriptors)
    return message


def _build(message_type: type[_FromEither], values: list[Any]) -> _FromEither:
    if len(values) != len(fields(message_type)):
        raise _wrong(f"{message_type.kind} must have {len(fields(message_type))} values", values)
    peer, edition, *rest = values
    try:
        read = [rule.read(value) for rule, value in zip(message_type.rules.values(), rest, strict=True)]
    except TypeError as error:
        raise _wrong(f"{message_type.kind} must have values of its types ({error})", values) from error
    return message_type(peer, *read, edition=edition)


def _unpack(payload: bytes) -> list[Any]:
    if len(payload) > MESSAGE_LIMIT:
        raise _wrong(f"a message must have at most {MESSAGE_LIMIT} bytes", len(payload))
    try:
        content = msgpack.unpackb(payload, max_map_len=0, max_ext_len=0)
    except ValueError as error:  # msgpack's exceptions derive from it, UnicodeDecodeError too
        raise _wrong("a message must be msgpack", error) from error
    if not isinstance(content, list) or not content:
        raise _wrong("a message must be a list that begins with its kind", content)
    return content


def _wrong(rule: str, found: object) -> ProtocolError:
    return ProtocolError(f"{rule}; found {found!r:.200}", fault=Fault.OURS)
