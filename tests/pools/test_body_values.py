"""A body's map is a map of strings, each key once, or it is refused as a whole; values come out under their rules."""

from enum import StrEnum

import msgpack
import pytest

from pools.body_values import BodyValues, is_name
from pools.frames import FrameType
from pools.net.endpoint import Endpoint
from pools.net.errors import ProtocolError


class Colour(StrEnum):
    RED = "red"


def values(**content: object) -> BodyValues:
    return BodyValues(FrameType.OPEN, msgpack.packb(content))


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"\xc1", "expected msgpack"),
        (b"\x81\xa1a", "expected msgpack"),
        (b"\x80\x00", "expected msgpack"),
        (b"\x81\xa1\xff\x00", "expected msgpack"),
        (b"\x90", "expected a map; found \\[\\]"),
        (b"\xc7\x00\x05", "expected a map; found ExtType"),
        (b"\xd4\x05\x00", "expected msgpack"),
        (b"\x82\xa1a\x01\xa1a\x02", "a key twice"),
        (b"\x81\x01\x01", "expected msgpack"),
        (b"\x81\xc4\x01a\x01", "a key that is not a string"),
        (b"\x81\x90\x01", "expected msgpack"),
        (b"\xde\x00\x21" + b"".join(b"\xa1" + bytes([97 + n]) + b"\x01" for n in range(26)), "expected msgpack"),
        (b"\x91" * 1500 + b"\xc0", "expected msgpack"),
    ],
)
def test_what_is_no_map_of_strings_is_refused(body: bytes, rule: str) -> None:
    with pytest.raises(ProtocolError, match=rule):
        BodyValues(FrameType.OPEN, body)


def test_values_come_out_under_their_rules() -> None:
    found = values(i=7, o=b"ab", w="red", g="pune", v=["a", "b"], e=["::1", 0])
    assert found.allow("e", "g", "i", "o", "v", "w") is found
    assert found.integer("i", range(8)) == 7
    assert found.octets("o", 2) == b"ab"
    assert found.word("w", Colour) is Colour.RED
    assert found.name("g") == "pune"
    assert found.names("v", 2) == ("a", "b")
    assert found.endpoint("e") == Endpoint("::1", 0)


def test_keys_that_are_missing_or_too_many_are_named() -> None:
    with pytest.raises(ProtocolError, match="OPEN: expected the keys a, b; found 'a, c'"):
        values(a=1, c=2).allow("a", "b")


def test_a_value_that_is_not_there_breaks_each_rule() -> None:
    found = values()
    for ask in (
        lambda: found.integer("x", range(8)),
        lambda: found.octets("x", 2),
        lambda: found.word("x", Colour),
        lambda: found.name("x"),
        lambda: found.names("x", 2),
        lambda: found.endpoint("x"),
    ):
        with pytest.raises(ProtocolError, match="OPEN: expected x to"):
            ask()


def test_what_was_found_is_shown_in_part_only() -> None:
    with pytest.raises(ProtocolError) as caught:
        values(g="\n" * 2000).name("g")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_name_is_short_and_plain() -> None:
    assert all(map(is_name, ("a", "0", "eu-west_1.b", "a" * 64)))
    assert not any(map(is_name, ("", ".a", "-a", "_a", "a b", "a\n", "é", "a" * 65)))
