"""The files that the page is made of, and the headers that keep it to itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DIRECTORY: Final = Path(__file__).with_name("static")
_FIRST: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# All from here, nothing in line: a name that came through as markup could neither run nor fetch anything.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS: Final = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
"""For every answer of the admin listener.

Source: W3C Content Security Policy Level 3; the Fetch standard, 3.6 and 3.7.
"""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page, and its media type."""

    type: str
    body: bytes


def load() -> dict[str, Asset]:
    """Read all files of the page, by the path that each is asked for."""
    found = sorted(_DIRECTORY.iterdir())
    return {_path(file): Asset(_TYPES[file.suffix], file.read_bytes()) for file in found if file.suffix in _TYPES}


def _path(file: Path) -> str:
    return "/" if file.name == _FIRST else f"/page/{file.name}"
