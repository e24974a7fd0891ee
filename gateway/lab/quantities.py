"""Numbers with units as the lab's commands take and show them: 43k, 200M, 28,214,32. Powers of 1000, as of lines."""

import re
from dataclasses import dataclass
from typing import Final

_UNITS: Final = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_COUNT: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)([kKMG]?)", re.ASCII)
_MILLISECONDS: Final = re.compile(r"\d{1,6}(?:\.\d{1,6})?", re.ASCII)
_MOST_LEGS: Final = 16
_LARGEST_BYTES: Final = 1_000_000_000
_LOWEST_RATE, _HIGHEST_RATE = 100_000, 1_000_000_000
_LEAST_BULK_BYTES, _MOST_BULK_BYTES = 10_000_000, 100_000_000_000


@dataclass(frozen=True, slots=True)
class Chain:
    """Round-trip times from a client over gateways to a server, one for each leg."""

    rtts_s: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> "Chain":
        """Read milliseconds with commas between them.

        Raises:
            ValueError: it is no chain of 2 to 16 legs; the message says what it must be.
        """
        parts = [part.strip() for part in text.split(",")]
        if not 2 <= len(parts) <= _MOST_LEGS or not all(map(_MILLISECONDS.fullmatch, parts)):
            raise ValueError(f"must be 2 to {_MOST_LEGS} numbers of milliseconds with commas between them")
        return cls(tuple(float(part) / 1e3 for part in parts))

    def __str__(self) -> str:
        return ",".join(f"{rtt_s * 1e3:.6g}" for rtt_s in self.rtts_s)


def count(text: str) -> int:
    """Read a number of bytes or bits: digits, and k, M or G for thousands, millions, thousands of millions.

    Raises:
        ValueError: it is none; the message says what it must be.
    """
    found = _COUNT.fullmatch(text)
    if not found:
        raise ValueError("must be a number such as 43000, 43k, 50M or 1.5G")
    return round(float(found[1]) * _UNITS[found[2]])


def size(text: str) -> int:
    """Read a number of bytes to fetch.

    Raises:
        ValueError: it is none, or more than a model or a test bed should carry; the message says what it must be.
    """
    found = count(text)
    if not 1 <= found <= _LARGEST_BYTES:
        raise ValueError("must be 1 byte to 1G")
    return found


def bulk_size(text: str) -> int:
    """Read a number of bytes to stream, which takes long enough to be measured.

    Raises:
        ValueError: it is none, or too few or too many; the message says what it must be.
    """
    found = count(text)
    if not _LEAST_BULK_BYTES <= found <= _MOST_BULK_BYTES:
        raise ValueError("must be 10M to 100G")
    return found


def rate(text: str) -> int:
    """Read the rate of a line, in bits a second, that a download can be measured at.

    Raises:
        ValueError: it is none, or too low or too high; the message says what it must be.
    """
    found = count(text)
    if not _LOWEST_RATE <= found <= _HIGHEST_RATE:
        raise ValueError("must be 100k to 1G")
    return found


def count_text(number: float, unit: str) -> str:
    """Write a number with its unit in a few characters: 43 kB, 1.5 GB, 200 Mbit/s."""
    for power, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * power:
            return f"{number / power:.4g} {prefix}{unit}"
    return f"{number:.4g} {unit}"


def milliseconds_text(seconds: float) -> str:
    """Write a time for a table: whole milliseconds, or seconds from ten on."""
    return f"{seconds * 1e3:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
