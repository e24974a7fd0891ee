"""The values of a control frame's body, taken out of its msgpack map one by one, each under its rule.

Which keys there are, and what they mean, is in `pools.frame_bodies`.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias, TypeVar

import msgpack

from pools.frames import FrameType
from pools.net.endpoint import Endpoint, is_host
from pools.net.errors import ProtocolError

Name: TypeAlias = str
"""A gateway's name, of which `is_name` is true."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ENTRIES_LIMIT: Final = 32  # of a map or a list; msgpack's own is the bytes of the body, for each list within another
_HOST_AND_PORT: Final = 2
_PORTS: Final = range(1 << 16)
_Word = TypeVar("_Word", bound=StrEnum)


def is_name(text: str) -> bool:
    """Tell whether `text` may name something: 1 to 64 letters, digits, '_', '.' or '-', first a letter or a digit."""
    return _NAME.fullmatch(text) is not None


class BodyValues:
    """The map of one body.

    Args:
        frame_type: for messages.
        body: as it came.

    Raises:
        ProtocolError: not msgpack, not a map, a key that is no string or is there twice; and from each method, a value
            that is not there or breaks its rule.
    """

    __slots__ = ("_map", "_type")

    def __init__(self, frame_type: FrameType, body: bytes) -> None:
        self._type = frame_type
        try:
            content = msgpack.unpackb(
                body,
                object_pairs_hook=_each_once,
                max_map_len=_ENTRIES_LIMIT,
                max_array_len=_ENTRIES_LIMIT,
                max_ext_len=0,
            )
        except ValueError as error:  # msgpack's exceptions derive from it
            raise self.wrong("msgpack", error) from error
        if not isinstance(content, dict):
            raise self.wrong("a map", content)
        self._map: dict[str, Any] = content

    def allow(self, *keys: str, perhaps: str = "") -> Self:
        """Insist on `keys`, all of them and no others, but for one that may be there."""
        if self._map.keys() - {perhaps} != set(keys):
            raise self.wrong(f"the keys {', '.join(keys)}", ", ".join(self._map))
        return self

    def has(self, key: str) -> bool:
        """Tell whether there is a value for `key`."""
        return key in self._map

    def integer(self, key: str, allowed: range) -> int:
        """Give a whole number out of `allowed`."""
        value = self._map.get(key)
        if type(value) is not int or value not in allowed:  # a bool is an int to isinstance
            raise self.wrong(f"{key} to be from {allowed[0]} to {allowed[-1]}", value)
        return value

    def octets(self, key: str, size: int) -> bytes:
        """Give exactly `size` bytes."""
        value = self._map.get(key)
        if not isinstance(value, bytes) or len(value) != size:
            raise self.wrong(f"{key} to be {size} bytes", type(value).__name__)  # the value may be a MAC
        return value

    def word(self, key: str, words: type[_Word]) -> _Word:
        """Give one of `words`."""
        value = self._map.get(key)
        if isinstance(value, str) and value in words.__members__.values():
            return words(value)
        raise self.wrong(f"{key} to be one of {', '.join(words)}", value)

    def name(self, key: str) -> Name:
        """Give a gateway's name."""
        return self.named(key, self._map.get(key))

    def names(self, key: str, most: int) -> tuple[Name, ...]:
        """Give a list of up to `most` names of gateways."""
        value = self._map.get(key)
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(f"{key} to be a list of at most {most} names", value)
        return tuple(self.named(key, name) for name in value)

    def endpoint(self, key: str) -> Endpoint:
        """Give a host, without a zone, and a port from 0 to 65535."""
        value = self._map.get(key)
        if isinstance(value, list) and len(value) == _HOST_AND_PORT:
            host, port = value
            if isinstance(host, str) and type(port) is int and port in _PORTS and "%" not in host and is_host(host):
                return Endpoint(host, port)
        raise self.wrong(f"{key} to be a host and a port", value)

    def rows(self, key: str, most: int, columns: int) -> list[list[Any]]:
        """Give a list of up to `most` lists of `columns` values each, which are the caller's to judge."""
        value = self._map.get(key)
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(f"{key} to be a list of at most {most} lists", value)
        if not all(isinstance(row, list) and len(row) == columns for row in value):
            raise self.wrong(f"{key} to be lists of {columns} values", value)
        return value

    def named(self, key: str, value: object) -> Name:
        """Give `value`, which stands somewhere under `key`, if it is a gateway's name."""
        if not isinstance(value, str) or not is_name(value):
            raise self.wrong(f"{key} to name a gateway by 1 to 64 letters, digits, '_', '.' or '-'", value)
        return value

    def wrong(self, rule: str, found: object) -> ProtocolError:
        """Make the error that says which rule was broken."""
        return ProtocolError(f"{self._type.name}: expected {rule}; found {found!r:.100}")


def _each_once(pairs: Iterable[tuple[object, object]]) -> dict[object, object]:
    entries = list(pairs)
    if not all(isinstance(key, str) for key, _ in entries):
        raise ValueError("a key that is not a string")
    if len(content := dict(entries)) < len(entries):
        raise ValueError("a key twice")
    return content
