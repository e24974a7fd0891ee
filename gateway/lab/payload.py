"""The bytes that the lab's origin sends and its client expects. No two pieces of one are alike for 64 KB."""

from functools import cache
from random import Random
from typing import Final

_PERIOD: Final = 65_521  # a prime: no buffer's size divides it, so a piece in the wrong place is seen


@cache
def payload(size_bytes: int) -> bytes:
    """Give `size_bytes` bytes, always the same ones."""
    piece = Random(_PERIOD).randbytes(_PERIOD)
    return (piece * (size_bytes // _PERIOD + 1))[:size_bytes]
