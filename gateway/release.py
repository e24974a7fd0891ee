"""Which version this is. Light: `gateway version` loads nothing else."""

import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

_CHECKOUT: Final = Path(__file__).parent.parent / "pyproject.toml"


@cache
def version(checkout: Path = _CHECKOUT) -> str:
    """Give the version that was installed; where none was, the one that the checkout would install, and that it is one.

    A process keeps to its first answer: it runs what it was started from, whatever is installed meanwhile.

    Args:
        checkout: the file that says so; another one for tests.
    """
    try:
        return metadata.version("midmile")
    except metadata.PackageNotFoundError:
        return f"{_written(checkout)} (from a checkout)"


def _written(checkout: Path) -> str:
    try:
        number: str = tomllib.loads(checkout.read_text(encoding="utf-8"))["project"]["version"]
    except (OSError, ValueError, KeyError):  # the packages alone were copied somewhere
        return "unknown"
    return number
