import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.output import bytes_text, duration_text, loss_text, round_trip_text, table


def test_table_aligns_numbers_right_and_words_left() -> None:
    assert table(["name", ">sessions"], [["orders", 12], ["b", None]]) == (
        "NAME    SESSIONS\n"
        "orders        12\n"
        "b              -"
    )  # fmt: skip


def test_table_without_rows_is_its_head() -> None:
    assert table(["name", ">age"], []) == "NAME  AGE"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1.0K"), (10_189, "10K"), (1023 * 1024, "1.0M"), (3 << 40, "3.0T")],
)
def test_bytes_are_short(count: int, text: str) -> None:
    assert bytes_text(count) == text


@given(st.integers(0, 2**69))
def test_bytes_never_need_more_than_four_characters(count: int) -> None:
    assert len(bytes_text(count) or "") <= 4


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0s"), (59.9, "59s"), (61, "1m01s"), (7_800, "2h10m"), (4 * 86_400 + 11_000, "4d03h")]
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_unknown_round_trip_is_not_zero() -> None:
    assert [round_trip_text(us) for us in (0, 80, 1_500, 99_949, 274_000)] == [
        "-",
        "80us",
        "1.5ms",
        "99.9ms",
        "274ms",
    ]


def test_losses_are_percentages_of_four_characters() -> None:
    assert [loss_text(parts) for parts in (0, 4000, 99_999, 123_456, 1_000_000)] == [
        "0.0%",
        "0.4%",
        "10.0%",
        "12%",
        "100%",
    ]
