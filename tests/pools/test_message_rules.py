import msgpack
import pytest

from pools.message_rules import CARDS, IDS, IDS_LIMIT, LegCard, is_whole, whole
from pools.net.errors import ProtocolError
from pools.net.fd_passing import DESCRIPTOR_LIMIT


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 10])
def test_only_a_whole_number_in_its_range_is_one(value: object) -> None:
    assert not is_whole(value, range(10))
    assert is_whole(9, range(10))


def test_a_rule_says_its_bounds() -> None:
    assert whole(range(1, 254)).says == "a whole number from 1 to 253"


def test_lists_are_bounded_before_they_are_read() -> None:
    for rule, limit in ((IDS, IDS_LIMIT), (CARDS, DESCRIPTOR_LIMIT)):
        with pytest.raises(TypeError, match=f"a list of 1 to {limit}"):
            rule.read([0] * (limit + 1))
        assert not rule.accepts(())


def test_cards_come_back_as_they_were() -> None:
    cards = (LegCard(1, 0.5, 1.5, 7), LegCard(2, 0.5, 1.5))
    sent = msgpack.unpackb(msgpack.packb(CARDS.write(cards)))
    assert CARDS.read(sent) == cards


@pytest.mark.parametrize("values", [(-1, 0.0, 1.0, 0), (1, 0, 1.0, 0), (1, 0.0, float("inf"), 0), (1, 0.0, 1.0, 65536)])
def test_a_card_out_of_its_ranges_is_refused(values: tuple[int, float, float, int]) -> None:
    with pytest.raises(ProtocolError, match="a leg's card must hold"):
        LegCard(*values)
