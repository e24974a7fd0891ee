"""Strangers at the overlay's door: whoever proves nothing learns nothing, and keeps nobody else out."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from pools.frame_bodies import Hello, Ping, Proof, encode
from pools.frames import DATA_LIMIT, Frame, FrameType, Header, Role
from pools.handshake import Handshake, OverlayKey
from pools.key_file import KeyFile, written
from pools.leg import PoolLeg
from pools.net import sockopts
from pools.net.scoreboard import Cell, Row
from tests.far_end import KEY, FarEnd, plain
from tests.floor import Floor, rest_of, settle, tcp_pair, turn_until
from tests.workers.world import empty_row
from workers.door import Door

OTHER = OverlayKey(b"o" * 32)
CLIENT = ("192.0.2.1", 5000)
HELLO = encode(Hello("oregon", Role.OPENER, b"n" * 32))


class Doorstep:
    """A door, and who comes to it."""

    def __init__(self, floor: Floor, keys: KeyFile, **more: Any) -> None:
        self.floor = floor
        self.row: Row = empty_row()
        self.came: list[str] = []
        self.door = Door("mumbai", keys=keys, greenlets=floor.greenlets, row=self.row, **more)
        self.door.on_peer = self.greet

    def greet(self, leg: PoolLeg, peer: str) -> None:
        self.came.append(peer)
        leg.close_after(b"")

    def newcomer(self, *first: bytes, host: str = CLIENT[0]) -> FarEnd:
        """Let somebody come, who says something."""
        ours, theirs = tcp_pair()
        sockopts.linger_reset(ours)
        self.floor.keep(theirs)
        far = FarEnd(theirs)
        far.send(*first)
        leg = self.floor.readiness.open(ours, PoolLeg)
        self.floor.in_hub(lambda: self.door.knock(leg, (host, 5000)))
        return far

    @property
    def strangers(self) -> int:
        return self.row[Cell.STRANGERS]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    path = tmp_path / "overlay.key"
    path.touch(mode=0o600)
    path.write_bytes(written([KEY]))
    return KeyFile(path)


@pytest.fixture
def floor() -> Iterator[Floor]:
    with Floor() as floor:
        yield floor


@pytest.fixture
def step(floor: Floor, keys: KeyFile) -> Doorstep:
    return Doorstep(floor, keys)


def expect_silence(far: FarEnd) -> None:
    """Insist that it gets not one byte, and then the end of the connection."""
    assert rest_of(far.sock) == (b"", "reset")


def test_a_gateway_with_the_key_comes_in_by_its_name(step: Doorstep) -> None:
    far = step.newcomer()
    assert far.introduce() == "mumbai"
    turn_until(lambda: step.came)
    assert (step.came, len(step.door), step.strangers) == (["oregon"], 0, 0)


def test_what_is_said_byte_by_byte_is_heard(step: Doorstep) -> None:
    far = step.newcomer()
    handshake = Handshake(Role.OPENER, "oregon", keys=[KEY], nonce=b"n" * 32)
    words = handshake.begin()
    for octet in words[:-1]:
        far.send(bytes([octet]))
        settle(1)
        with pytest.raises(BlockingIOError):
            far.sock.recv(1)
    far.send(words[-1:])
    answer = far.hear()
    assert isinstance(answer, Frame)
    for octet in handshake.receive(answer):
        far.send(bytes([octet]))
        settle(1)
    turn_until(lambda: step.came)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: mumbai\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(4096),
        encode(Hello("oregon", Role.OPENER, b"n" * 32, version=2)),
        encode(Hello("oregon", Role.ACCEPTOR, b"n" * 32)),
        encode(Hello("mumbai", Role.OPENER, b"n" * 32)),
        Frame(FrameType.HELLO, 1, HELLO[8:]).encode(),
        Frame(FrameType.HELLO, 0, b"\xc1").encode(),
        encode(Proof(KEY.id, b"m" * 32)),
        encode(Ping(1, 1)),
        plain(FrameType.GOAWAY),
        Header(FrameType.PAD, 0, DATA_LIMIT).pack(),
        b"\x01\x00\x00\x00" + (513).to_bytes(4),
    ],
    ids=[
        "HTTP",
        "TLS",
        "zeros",
        "another version",
        "our role",
        "our name",
        "in a session",
        "no msgpack",
        "proof first",
        "ping first",
        "goaway first",
        "padding first",
        "too long",
    ],
)
def test_who_says_no_valid_hello_hears_nothing(step: Doorstep, words: bytes) -> None:
    expect_silence(step.newcomer(words))
    assert (step.came, len(step.door), step.strangers) == ([], 0, 1)


@pytest.mark.parametrize(
    "proof",
    [encode(Proof(OTHER.id, b"m" * 32)), encode(Proof(KEY.id, b"m" * 32)), HELLO, b"HTTP/1.1"],
    ids=["key unknown", "key not had", "hello again", "garbage"],
)
def test_who_proves_nothing_hears_our_hello_and_no_more(step: Doorstep, proof: bytes) -> None:
    far = step.newcomer(HELLO)
    answer = far.hear()
    assert isinstance(answer, Frame)
    assert answer.type is FrameType.HELLO
    far.send(proof)
    expect_silence(far)
    assert (step.came, step.strangers) == ([], 1)


def test_a_proof_of_another_leg_is_worth_nothing(step: Doorstep) -> None:
    first = step.newcomer()
    handshake = Handshake(Role.OPENER, "oregon", keys=[KEY], nonce=b"n" * 32)
    first.send(handshake.begin())
    answer = first.hear()
    assert isinstance(answer, Frame)
    proof = handshake.receive(answer)
    second = step.newcomer(HELLO)
    assert isinstance(second.hear(), Frame)
    second.send(proof)
    expect_silence(second)
    first.send(proof)
    turn_until(lambda: step.came)
    assert (step.came, step.strangers) == (["oregon"], 1)


@pytest.mark.parametrize("words", [b"", HELLO[:-1]], ids=["nothing", "a part"])
def test_who_is_too_slow_hears_nothing(floor: Floor, keys: KeyFile, words: bytes) -> None:
    step = Doorstep(floor, keys, limit_s=0.05)
    expect_silence(step.newcomer(words))
    assert (step.came, len(step.door), step.strangers) == ([], 0, 1)


def test_a_trickle_does_not_put_the_deadline_off(floor: Floor, keys: KeyFile) -> None:
    step = Doorstep(floor, keys, limit_s=0.05)
    far = step.newcomer()
    words = iter(HELLO[:-1])

    def trickles() -> bool:
        if (octet := next(words, None)) is not None and step.strangers == 0:
            far.sock.send(bytes([octet]))
        return step.strangers == 1

    turn_until(trickles)
    expect_silence(far)


def test_who_leaves_before_proving_anything_is_counted_and_forgotten(step: Doorstep) -> None:
    step.newcomer(HELLO).sock.close()
    turn_until(lambda: step.strangers == 1)
    assert len(step.door) == 0


def test_one_source_pushes_out_its_own_oldest_and_nobody_else(floor: Floor, keys: KeyFile) -> None:
    step = Doorstep(floor, keys, room=4)
    peer = step.newcomer(host="192.0.2.1")
    crowd = [step.newcomer(host="203.0.113.9") for _ in range(3)]
    for _ in range(20):
        crowd.append(step.newcomer(host="203.0.113.9"))
        assert len(step.door) == 4
    for pushed in crowd[:-3]:
        expect_silence(pushed)
    assert step.strangers == 20
    assert peer.introduce() == "mumbai"
    step.door.close()


def test_the_addresses_of_one_ipv6_network_are_one_source(floor: Floor, keys: KeyFile) -> None:
    step = Doorstep(floor, keys, room=3)
    peer = step.newcomer(host="2001:db8:1::1")
    pushed, *_ = [step.newcomer(host=f"2001:db8:2::{number}") for number in range(1, 4)]
    expect_silence(pushed)
    assert peer.introduce() == "mumbai"
    step.door.close()


def test_of_many_sources_the_one_that_has_been_there_longest_goes(floor: Floor, keys: KeyFile) -> None:
    step = Doorstep(floor, keys, room=3)
    oldest, *_ = [step.newcomer(host=f"192.0.2.{number}") for number in range(1, 5)]
    expect_silence(oldest)
    assert (len(step.door), step.strangers) == (3, 1)
    step.door.close()


def test_a_closed_door_leaves_nobody_standing_and_counts_no_strangers(step: Doorstep) -> None:
    waiting = [step.newcomer(), step.newcomer(HELLO[:9])]
    step.door.close()
    for far in waiting:
        expect_silence(far)
    assert (len(step.door), step.strangers) == (0, 0)


def test_one_line_a_while_tells_where_strangers_come_from_and_what_they_did(
    step: Doorstep, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            expect_silence(step.newcomer(b"GET / HTTP/1.1\r\n"))
    [line] = caplog.messages
    assert line.startswith("192.0.2.1:5000 is no gateway of this overlay: expected a frame of type 1 to 12; found 71")
    assert step.strangers == 5


def test_the_line_about_a_wrong_key_tells_nothing_of_ours(step: Doorstep, caplog: pytest.LogCaptureFixture) -> None:
    far = step.newcomer(HELLO)
    answer = far.hear()
    assert isinstance(answer, Frame)
    far.send(encode(Proof(OTHER.id, b"m" * 32)))
    expect_silence(far)
    [line] = caplog.messages
    assert f"expected one of our keys; found key {OTHER.id.hex()}" in line
    assert KEY.secret.hex() not in line
    assert KEY.id.hex() not in line


def test_a_stranger_s_words_break_no_line(step: Doorstep, caplog: pytest.LogCaptureFixture) -> None:
    body = Hello("oregon", Role.OPENER, b"n" * 32).content() | {"g": "x\nWARNING forged" + "y" * 300}
    expect_silence(step.newcomer(Frame(FrameType.HELLO, 0, msgpack.packb(body)).encode()))
    [line] = caplog.messages
    assert "\n" not in line
    assert len(line) < 300


def test_a_rotated_key_lets_its_holder_in_without_a_restart(floor: Floor, tmp_path: Path) -> None:
    path = tmp_path / "overlay.key"
    path.touch(mode=0o600)
    path.write_bytes(written([KEY]))
    clock = [0.0]
    step = Doorstep(floor, KeyFile(path, now_s=lambda: clock[0]))
    step.newcomer().introduce(key=KEY)
    path.write_bytes(written([OTHER, KEY]))
    clock[0] = 10.0
    step.newcomer().introduce(key=OTHER)
    turn_until(lambda: len(step.came) == 2)


def test_without_a_key_nobody_comes_in_and_the_line_says_why(
    floor: Floor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step = Doorstep(floor, KeyFile(tmp_path / "missing"))
    expect_silence(step.newcomer(HELLO))
    assert "overlay.key_file" in caplog.text
