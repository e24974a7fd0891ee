"""Two gateways come to trust each other; everybody else learns nothing."""

import gc
import hashlib
import hmac
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.frame_bodies import Hello, Proof, encode
from pools.frames import Frame, FrameReader, FrameType, Role
from pools.handshake import Handshake, OverlayKey, transcript
from pools.net.errors import Fault, ProtocolError

OLD, NEW, FOREIGN = (OverlayKey(bytes([number]) * 32) for number in range(3))
NONCES = {Role.OPENER: b"o" * 32, Role.ACCEPTOR: b"a" * 32}
WIRE = Path(__file__).parents[2] / "docs/wire.md"


def end(role: Role, *keys: OverlayKey, name: str = "", peer: str | None = None, nonce: bytes = b"") -> Handshake:
    name = name or ("oregon" if role is Role.OPENER else "mumbai")
    return Handshake(role, name, keys=keys or (OLD,), nonce=nonce or NONCES[role], peer=peer)


def frame(sent: bytes) -> Frame:
    [read] = FrameReader().feed(memoryview(sent))
    assert isinstance(read, Frame)
    return read


def shake(opener: Handshake, acceptor: Handshake) -> list[FrameType]:
    """Carry frames back and forth until nobody has more to say, and tell which ones there were."""
    said, hears, other, sent = [], acceptor, opener, opener.begin()
    while sent:
        said.append(frame(sent).type)
        sent, hears, other = hears.receive(frame(sent)), other, hears
    return said


def test_a_handshake_is_freed_without_the_collector() -> None:
    """What it waited for next led back to it, so that each leg, and each stranger, left one behind for a long time."""
    gc.collect()
    gc.disable()
    try:
        before = set(map(id, handshakes()))
        shake(end(Role.OPENER), end(Role.ACCEPTOR))
        end(Role.ACCEPTOR)
        assert [each for each in handshakes() if id(each) not in before] == []
    finally:
        gc.enable()


def handshakes() -> list[Handshake]:
    """Find those that are alive, other tests' too."""
    return [each for each in gc.get_objects() if isinstance(each, Handshake)]


def test_four_frames_and_each_knows_the_other() -> None:
    opener, acceptor = end(Role.OPENER, peer="mumbai"), end(Role.ACCEPTOR)
    assert acceptor.begin() == b""
    assert shake(opener, acceptor) == [FrameType.HELLO, FrameType.HELLO, FrameType.PROOF, FrameType.PROOF]
    assert (opener.peer_name, acceptor.peer_name) == ("mumbai", "oregon")


@pytest.mark.parametrize(
    ("opener", "acceptor"),
    [
        ((OLD,), (OLD, NEW)),
        ((OLD, NEW), (OLD,)),
        ((OLD, NEW), (NEW, OLD)),
        ((NEW, OLD), (OLD, NEW)),
        ((NEW,), (NEW, OLD)),
        ((NEW, OLD), (NEW,)),
    ],
)
def test_no_step_of_a_rotation_parts_two_gateways(
    opener: tuple[OverlayKey, ...], acceptor: tuple[OverlayKey, ...]
) -> None:
    ends = end(Role.OPENER, *opener), end(Role.ACCEPTOR, *acceptor)
    shake(*ends)
    assert [each.peer_name for each in ends] == ["mumbai", "oregon"]


def test_the_acceptor_proves_with_the_key_that_it_was_shown() -> None:
    opener, acceptor = end(Role.OPENER, OLD, NEW), end(Role.ACCEPTOR, NEW, OLD)
    proof = frame(acceptor.receive(frame(opener.receive(frame(acceptor.receive(frame(opener.begin())))))))
    assert Proof.read(proof.body).key_id == OLD.id


def test_a_stranger_who_says_hello_gets_no_proof() -> None:
    opener, acceptor = end(Role.OPENER, FOREIGN), end(Role.ACCEPTOR, OLD, NEW)
    proof = frame(opener.receive(frame(acceptor.receive(frame(opener.begin())))))
    with pytest.raises(ProtocolError, match="expected one of our keys; found key") as caught:
        acceptor.receive(proof)
    assert caught.value.reply == b""
    assert acceptor.peer_name is None


def test_a_mac_of_another_key_is_refused_under_a_known_id() -> None:
    opener, acceptor = end(Role.OPENER), end(Role.ACCEPTOR)
    theirs = frame(acceptor.receive(frame(opener.begin())))
    hellos = Hello("oregon", Role.OPENER, NONCES[Role.OPENER]), Hello.read(theirs.body)
    forged = Proof(OLD.id, FOREIGN.proof(Role.OPENER, opener=hellos[0], acceptor=hellos[1]).mac)
    with pytest.raises(ProtocolError, match="expected the HMAC"):
        acceptor.receive(frame(encode(forged)))


def test_a_proof_sent_back_proves_nothing() -> None:
    opener, acceptor = end(Role.OPENER), end(Role.ACCEPTOR)
    proof = frame(opener.receive(frame(acceptor.receive(frame(opener.begin())))))
    with pytest.raises(ProtocolError, match="expected the HMAC"):
        opener.receive(proof)


def test_a_proof_of_one_leg_proves_nothing_on_another() -> None:
    opener, acceptor = end(Role.OPENER), end(Role.ACCEPTOR)
    proof = frame(opener.receive(frame(acceptor.receive(frame(opener.begin())))))
    later = end(Role.ACCEPTOR, nonce=b"z" * 32)
    later.receive(frame(opener.begin()))
    with pytest.raises(ProtocolError, match="expected the HMAC"):
        later.receive(proof)


@pytest.mark.parametrize(
    ("hello", "rule"),
    [
        (Hello("pune", Role.ACCEPTOR, b"x" * 32), "expected the gateway mumbai; found pune"),
        (Hello("oregon", Role.ACCEPTOR, b"x" * 32), "expected another gateway than oregon"),
        (Hello("mumbai", Role.OPENER, b"x" * 32), "expected the acceptor; found the opener"),
        (Hello("mumbai", Role.ACCEPTOR, NONCES[Role.OPENER]), "expected a nonce of its own"),
        (Hello("mumbai", Role.ACCEPTOR, b"x" * 32, version=9), "expected version 1 .*; found version 9"),
    ],
)
def test_a_wrong_hello_is_answered_by_nothing_and_changes_nothing(hello: Hello, rule: str) -> None:
    opener = end(Role.OPENER, peer="mumbai")
    with pytest.raises(ProtocolError, match=rule):
        opener.receive(frame(encode(hello)))
    assert shake(opener, end(Role.ACCEPTOR))[-1] is FrameType.PROOF


@pytest.mark.parametrize("kind", [kind for kind in FrameType if kind is not FrameType.HELLO])
def test_nothing_comes_before_hello(kind: FrameType) -> None:
    for role in Role:
        with pytest.raises(ProtocolError, match=f"expected HELLO in the handshake; found {kind.name}"):
            end(role).receive(Frame(kind))


def test_a_handshake_belongs_to_no_session() -> None:
    with pytest.raises(ProtocolError, match="of session 0; found session 1"):
        end(Role.ACCEPTOR).receive(frame(encode(Hello("oregon", Role.OPENER, bytes(32)), session=1)))


def test_a_handshake_that_is_over_takes_no_more() -> None:
    ends = end(Role.OPENER), end(Role.ACCEPTOR)
    shake(*ends)
    for each in ends:
        with pytest.raises(ProtocolError, match="after the handshake") as caught:
            each.receive(Frame(FrameType.PING))
        assert caught.value.fault is Fault.OURS


names = st.text("ab1.-_", min_size=1, max_size=4)
nonces = st.binary(max_size=4)
said = st.tuples(st.sampled_from(Role), names, names, nonces, nonces)


@given(said, said)
def test_two_transcripts_are_the_same_only_when_all_that_was_said_is(
    one: tuple[Role, str, str, bytes, bytes], other: tuple[Role, str, str, bytes, bytes]
) -> None:
    assert (transcript_of(*one) == transcript_of(*other)) == (one == other)


def transcript_of(prover: Role, opener: str, acceptor: str, theirs: bytes, ours: bytes) -> bytes:
    hellos = Hello(opener, Role.OPENER, theirs), Hello(acceptor, Role.ACCEPTOR, ours)
    return transcript(prover, opener=hellos[0], acceptor=hellos[1])


def test_the_worked_example_of_the_page_is_right() -> None:
    """Once by the page's own words and the standard library, once by the product."""
    example = dict(re.findall(r"^([a-z][a-z ]+?) +([0-9a-f]{16,})$", WIRE.read_text(), re.MULTILINE))
    key = bytes.fromhex(example["key"])
    hellos = Hello("oregon", Role.OPENER, bytes(range(32, 64))), Hello("mumbai", Role.ACCEPTOR, bytes(range(64, 96)))
    frames = {f"{hello.role} hello": encode(hello) for hello in hellos}
    for role in Role:
        message = bytes.fromhex(example[f"{role} transcript"])
        assert hmac.new(key, message, hashlib.sha256).hexdigest() == example[f"{role} mac"]
        assert transcript(role, opener=hellos[0], acceptor=hellos[1]) == message
        frames[f"{role} proof"] = encode(OverlayKey(key).proof(role, opener=hellos[0], acceptor=hellos[1]))
    assert hmac.new(key, b"midmile key id", hashlib.sha256).hexdigest()[:16] == example["key id"]
    assert {name: sent.hex() for name, sent in frames.items()} == {name: example[name] for name in frames}


def test_no_key_is_ever_shown() -> None:
    key = OverlayKey(b"0123456789abcdef" * 2)
    shown = repr(key) + repr(end(Role.OPENER, key)) + str(key)
    assert "0123456789abcdef" not in shown
    assert key.secret.hex() not in shown


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_and_nonces_have_their_sizes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        OverlayKey(bytes(size))
    with pytest.raises(ValueError, match="32 bytes"):
        Handshake(Role.OPENER, "oregon", keys=[OLD], nonce=bytes(size))


@pytest.mark.parametrize("keys", [[], [OLD, NEW, FOREIGN]])
def test_there_are_one_or_two_keys(keys: list[OverlayKey]) -> None:
    with pytest.raises(ValueError, match="1 to 2 keys"):
        Handshake(Role.OPENER, "oregon", keys=keys, nonce=bytes(32))
