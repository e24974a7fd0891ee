from itertools import pairwise

import pytest

from gateway.lab.payload import payload


@pytest.mark.parametrize("size_bytes", [1, 65_521, 65_522, 1_000_000])
def test_it_has_the_size_that_was_asked_for_and_is_always_the_same(size_bytes: int) -> None:
    assert len(payload(size_bytes)) == size_bytes
    assert payload(size_bytes) == payload(1_000_000)[:size_bytes]


def test_pieces_of_a_buffer_s_size_differ() -> None:
    whole = payload(1_000_000)
    pieces = [whole[start : start + 65_536] for start in range(0, 900_000, 65_536)]
    assert all(one != other for one, other in pairwise(pieces))
