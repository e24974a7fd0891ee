import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.broker_messages import (
    Empty,
    FromBroker,
    FromWorker,
    Full,
    Give,
    Gone,
    Held,
    PeerState,
    Stats,
    Take,
    decode_from_broker,
    decode_from_worker,
)
from pools.message_rules import IDS_LIMIT, LegCard
from pools.net.errors import Fault, ProtocolError
from pools.net.fd_passing import DESCRIPTOR_LIMIT, MESSAGE_LIMIT

BIGGEST = 2**64 - 1
COUNTS = st.integers(0, 2**63 - 1)
MOMENTS = st.floats(allow_nan=False, allow_infinity=False)
IDS = st.lists(st.integers(0, BIGGEST), min_size=1, max_size=50, unique=True).map(tuple)
CARDS = st.lists(
    st.builds(LegCard, st.integers(0, BIGGEST), MOMENTS, MOMENTS, st.integers(0, 65535)),
    min_size=1,
    max_size=20,
    unique_by=lambda card: card.leg,
).map(tuple)
PEERS = st.sampled_from(["mumbai", "m", "x" * 64])
EDITIONS = st.integers(0, 2**63 - 1)
ROUNDS = st.integers(1, DESCRIPTOR_LIMIT)
STATS = st.builds(Stats, PEERS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
STATES = st.builds(PeerState, PEERS, st.booleans(), st.booleans(), ROUNDS, COUNTS, st.integers(0, 10**6))


def descriptors_of(message: FromWorker | FromBroker) -> int:
    return len(message.legs) if isinstance(message, Give | Full) else 0


@given(
    st.one_of(
        st.builds(Take, PEERS, ROUNDS, edition=EDITIONS),
        st.builds(Give, PEERS, CARDS),
        st.builds(Held, PEERS, IDS),
        st.builds(Gone, PEERS, IDS, edition=EDITIONS),
        STATS,
    )
)
def test_what_a_worker_says_is_what_the_broker_hears(message: FromWorker) -> None:
    assert decode_from_worker(message.encode(), descriptors=descriptors_of(message)) == message


@given(st.one_of(st.builds(Full, PEERS, CARDS, edition=EDITIONS), st.builds(Empty, PEERS), STATES))
def test_what_the_broker_says_is_what_a_worker_hears(message: FromBroker) -> None:
    assert decode_from_broker(message.encode(), descriptors=descriptors_of(message)) == message


def test_the_largest_messages_fit() -> None:
    cards = tuple(LegCard(BIGGEST - number, 1e300, 1e300, 65535) for number in range(DESCRIPTOR_LIMIT))
    ids = tuple(BIGGEST - number for number in range(IDS_LIMIT))
    assert len(Give("x" * 64, cards, edition=2**63 - 1).encode()) <= MESSAGE_LIMIT
    assert len(Held("x" * 64, ids, edition=2**63 - 1).encode()) <= MESSAGE_LIMIT


CARD = [1, 0.5, 1.5, 0]


@pytest.mark.parametrize(
    ("content", "descriptors"),
    [
        (None, 0),
        ([], 0),
        ({"take": 1}, 0),
        (["full", "mumbai", 0, [CARD]], 1),
        ([["take"], "mumbai", 0, 8], 0),
        (["take", "mumbai", 0], 0),
        (["take", "mumbai", 0, 8, 8], 0),
        (["take", "", 0, 8], 0),
        (["take", "x" * 65, 0, 8], 0),
        (["take", 7, 0, 8], 0),
        (["take", "mumbai", 0, 0], 0),
        (["take", "mumbai", -1, 8], 0),
        (["take", "mumbai", "0", 8], 0),
        (["take", "mumbai", 0, DESCRIPTOR_LIMIT + 1], 0),
        (["take", "mumbai", 0, True], 0),
        (["take", "mumbai", 0, 8.0], 0),
        (["take", "mumbai", 0, 8], 1),
        (["give", "mumbai", 0, [CARD]], 0),
        (["give", "mumbai", 0, [CARD]], 2),
        (["give", "mumbai", 0, [CARD, CARD]], 2),
        (["give", "mumbai", 0, []], 0),
        (["give", "mumbai", 0, 5], 0),
        (["give", "mumbai", 0, [5]], 1),
        (["give", "mumbai", 0, [CARD[:3]]], 1),
        (["give", "mumbai", 0, [[*CARD, 0]]], 1),
        (["give", "mumbai", 0, [[-1, 0.5, 1.5, 0]]], 1),
        (["give", "mumbai", 0, [[1, "soon", 1.5, 0]]], 1),
        (["give", "mumbai", 0, [[1, 0.5, float("nan"), 0]]], 1),
        (["give", "mumbai", 0, [[1, 0.5, 1.5, 65536]]], 1),
        (["held", "mumbai", 0, []], 0),
        (["held", "mumbai", 0, [1, 1]], 0),
        (["held", "mumbai", 0, [1, "2"]], 0),
        (["gone", "mumbai", 0, [[1]]], 0),
        (["stats", "mumbai", 0, 0, 0, 0, 0, 0], 0),
        (["stats", "mumbai", 0, 0, 0, 0, 0, 0, -1], 0),
    ],
)
def test_what_is_no_message_of_a_worker_is_refused(content: object, descriptors: int) -> None:
    with pytest.raises(ProtocolError) as error:
        decode_from_worker(msgpack.packb(content), descriptors=descriptors)
    assert error.value.fault is Fault.OURS


@pytest.mark.parametrize(
    "content",
    [
        ["take", "mumbai", 0, 8],
        ["empty"],
        ["empty", "mumbai", 0, 1],
        ["peer_state", "mumbai", 0, 1, False, 8, 0, 0],
        ["peer_state", "mumbai", 0, True, False, 0, 0, 0],
        ["peer_state", "mumbai", 0, True, False, 8, 0, 1_000_001],
    ],
)
def test_what_is_no_message_of_the_broker_is_refused(content: object) -> None:
    with pytest.raises(ProtocolError):
        decode_from_broker(msgpack.packb(content), descriptors=0)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_an_error_of_ours(payload: bytes) -> None:
    for decode in (decode_from_worker, decode_from_broker):
        try:
            message = decode(payload, descriptors=0)
        except ProtocolError:
            continue
        assert decode(message.encode(), descriptors=0) == message


def test_a_message_longer_than_the_channel_carries_is_not_read() -> None:
    with pytest.raises(ProtocolError, match=f"at most {MESSAGE_LIMIT} bytes"):
        decode_from_worker(b"x" * (MESSAGE_LIMIT + 1), descriptors=0)


def test_a_wrong_message_cannot_be_made_either() -> None:
    with pytest.raises(ProtocolError, match="rounds must be a whole number from 1 to 253; found 0"):
        Take("mumbai", 0)
    card = LegCard(1, 0.0, 1.0)
    with pytest.raises(ProtocolError, match="legs must be 1 to 253 cards"):
        Give("mumbai", (card, card))
