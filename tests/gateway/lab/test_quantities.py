import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lab.quantities import Chain, bulk_size, count, count_text, milliseconds_text, rate, size


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("43000", 43_000), ("43k", 43_000), ("43K", 43_000), ("50M", 50_000_000), ("1.5G", 1_500_000_000)],
)
def test_a_number_has_its_unit_behind_it(text: str, number: int) -> None:
    assert count(text) == number


@pytest.mark.parametrize("text", ["", "k", "-1", "1e6", "43 k", "43kB", "1_000", "٤٣", "inf", "1" * 13])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a number such as"):
        count(text)


@pytest.mark.parametrize(
    ("text", "times"),
    [("28,214,32", (0.028, 0.214, 0.032)), ("28, 32", (0.028, 0.032)), ("0.5,1.25", (0.0005, 0.00125))],
)
def test_a_chain_is_milliseconds_with_commas(text: str, times: tuple[float, ...]) -> None:
    assert Chain.parse(text).rtts_s == pytest.approx(times)


@pytest.mark.parametrize("text", ["", "28", "28,", "28;32", "28,-1", "28,x", "nan,1", ",".join(["1"] * 17)])
def test_what_is_no_chain_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be 2 to 16 numbers"):
        Chain.parse(text)


@given(st.lists(st.integers(0, 999_999), min_size=2, max_size=16))
def test_a_chain_is_shown_as_it_is_read(milliseconds: list[int]) -> None:
    text = ",".join(map(str, milliseconds))
    assert str(Chain.parse(text)) == text


@pytest.mark.parametrize("text", ["0", "0.4", "1.001G", "x"])
def test_a_size_that_is_none_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        size(text)


@pytest.mark.parametrize("text", ["9.9M", "101G", "x"])
def test_a_stream_that_shows_nothing_or_never_ends_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        bulk_size(text)
    assert bulk_size("4G") == 4_000_000_000


@pytest.mark.parametrize("text", ["0", "99k", "1001M", "fast"])
def test_a_rate_that_cannot_be_emulated_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        rate(text)
    assert rate("200M") == 200_000_000


def test_a_size_is_bytes() -> None:
    assert [size("1"), size("43k"), size("1G")] == [1, 43_000, 1_000_000_000]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1_448, "1.448 kB"), (43_000, "43 kB"), (999_999, "1 MB"), (2.5e9, "2.5 GB")],
)
def test_a_number_is_shown_with_its_unit(number: float, text: str) -> None:
    assert count_text(number, "B") == text


@given(st.integers(1, 999), st.sampled_from("kMG"))
def test_what_is_shown_can_be_read(number: int, unit: str) -> None:
    assert count(count_text(count(f"{number}{unit}"), "").replace(" ", "")) == count(f"{number}{unit}")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0 ms"), (0.3059999, "306 ms"), (9.9994, "9999 ms"), (26.36, "26.4 s")]
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert milliseconds_text(seconds) == text
