import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.numbering import Numbering
from pools.net.errors import StartError


def test_names_are_numbered_in_their_order_and_keep_their_numbers() -> None:
    first = Numbering("listeners", 4).with_names(["a", "b"])
    second = first.with_names(["c", "b"])
    assert (second["c"], second["b"]) == (2, 1)
    assert second.with_names(["a"])["a"] == 0


def test_where_there_is_no_room_nothing_changes_and_the_way_out_is_named() -> None:
    full = Numbering("peers", 2).with_names(["a", "b"])
    with pytest.raises(StartError, match="expected room for numbers of 3 peers.*found 2; `gateway upgrade`"):
        full.with_names(["c"])
    assert full.with_names(["b"]).numbers == {"a": 0, "b": 1}


@given(st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=8))
def test_no_two_names_ever_share_a_number(reloads: list[set[str]]) -> None:
    numbering = Numbering("peers", 8)
    for names in reloads:
        before, numbering = numbering, numbering.with_names(sorted(names))
        assert all(numbering[name] == number for name, number in before.numbers.items())
        assert sorted(numbering.numbers.values()) == list(range(len(numbering.numbers)))
