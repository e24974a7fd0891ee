"""What a check found, how bad that is, and what to do about it."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK: as it should be. WARN: it works, but less well than it could. FAIL: it will not work as configured."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: its name, the same on every host.
        found: the fact, with numbers.
        advice: one line to type or write, and why; empty when OK.
    """

    check: str
    level: Level
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """Give what --json prints."""
        return asdict(self)


def finding(check: str, found: str, *, wrong: bool, advice: str, level: Level = Level.WARN) -> Finding:
    """Make a finding that is OK, and has no advice, unless `wrong`."""
    return Finding(check, level, found, advice) if wrong else Finding(check, Level.OK, found)
