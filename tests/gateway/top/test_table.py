import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.top.glyphs import ASCII, UNICODE
from gateway.top.table import Cell, Column, Table, chosen, fitting, heights

ANIMALS = ["ant", "bee", "cat", "dog", "eel"]
COLUMNS: list[Column[str]] = [
    Column("NAME", Cell, least=5, is_left=True),
    Column("LENGTH", lambda name: Cell(str(len(name))), rank=1),
    Column("LAST", lambda name: Cell(name[-1]), rank=2),
    Column("FIRST", lambda name: Cell(name[0]), rank=2),
]


def drawn(width: int | None, height: int, lines: list[str] = ANIMALS) -> list[str]:
    table = Table(COLUMNS, lines, lambda name: "aeiou".count(name[0]))
    return [line.plain for line in table.draw(UNICODE, width=width, height=height)]


def test_all_of_it_is_shown_where_there_is_room_names_to_the_left_and_numbers_to_the_right() -> None:
    assert drawn(80, 6)[:3] == [
        "NAME   LENGTH  LAST  FIRST",
        "ant         3     t      a",
        "bee         3     e      b",
    ]
    assert drawn(None, 100) == drawn(80, 6)


def test_columns_of_the_greatest_rank_go_together_and_the_first_stays() -> None:
    assert [drawn(width, 6)[0] for width in (26, 25, 13, 12, 3)] == [
        "NAME   LENGTH  LAST  FIRST",
        "NAME   LENGTH",
        "NAME   LENGTH",
        "NAME",
        "NAME",
    ]


def test_of_too_many_lines_the_weightiest_stay_in_their_order() -> None:
    assert [line.split()[0] for line in drawn(80, 4)] == ["NAME", "ant", "eel", "…"]
    assert drawn(80, 4)[-1] == "… 3 more"
    assert drawn(80, 2)[1] == "… 5 more"
    assert drawn(80, 1) == drawn(80, 9, []) == []


def test_a_name_that_is_too_long_is_cut_only_where_the_width_is_limited() -> None:
    (_, cut), (_, whole) = drawn(80, 3, ["x" * 63]), drawn(None, 3, ["x" * 63])
    assert cut.split()[0] == "x" * 23 + "…"
    assert whole.split()[0] == "x" * 63
    line = Table(COLUMNS, ["x" * 63], len).draw(ASCII, width=80, height=3)[1]
    assert line.plain.split()[0] == "x" * 21 + "..."


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(1, 12))
def test_no_line_is_chosen_before_a_weightier_one(weights: list[int], room: int) -> None:
    places = list(range(len(weights)))
    found = chosen(places, lambda place: weights[place], room=room)
    assert found == sorted(found)
    assert len(found) == (len(weights) if len(weights) <= room else room - 1)
    left_out = [weights[place] for place in places if place not in found]
    assert not found or not left_out or min(weights[place] for place in found) >= max(left_out)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 5)), min_size=1), st.integers(0, 120))
def test_what_fits_is_not_left_out_and_what_does_not_is(columns: list[tuple[int, int]], room: int) -> None:
    spans, ranks = [span for span, _ in columns], [rank for _, rank in columns]
    kept = fitting(spans, ranks, room=room)
    takes = sum(spans[place] + 2 for place in kept) - 2
    assert takes <= room or all(ranks[place] == 0 for place in kept)
    dropped = [ranks[place] for place in range(len(ranks)) if place not in kept]
    assert not dropped or max((ranks[place] for place in kept), default=0) < min(dropped)


@given(st.lists(st.integers(0, 70), min_size=3, max_size=3), st.integers(0, 60))
def test_tables_never_take_more_than_there_is_and_none_more_than_it_needs(needs: list[int], room: int) -> None:
    shares = heights(needs, room=room)
    assert all(share <= need for share, need in zip(shares, needs, strict=True))
    assert sum(share + 1 for share in shares if share) <= max(room, 0)
    if sum(need + 1 for need in needs if need) <= room:
        assert shares == needs


@pytest.mark.parametrize(
    ("needs", "room", "shares"),
    [([3, 3, 4], 9, [3, 3, 0]), ([65, 3, 9], 40, [25, 3, 9]), ([3, 0, 3], 4, [3, 0, 0]), ([9, 9, 9], 12, [3, 3, 3])],
)
def test_what_one_table_does_not_need_goes_to_the_others_and_the_last_are_left_out(
    needs: list[int], room: int, shares: list[int]
) -> None:
    assert heights(needs, room=room) == shares
