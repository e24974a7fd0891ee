"""Mutated frames against the reader, the bodies, the handshake and the leg's state: `python -m tests.fuzz_frames N`.

Each input is a stream of right frames with a few bytes changed, put in, taken out, or cut off, fed in pieces. Nothing
but ProtocolError may come of it, and no more may be held than the longest control frame. Ends with exit code 0, or
with the traceback of the first input that broke a rule and the seed that makes it again.
"""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from pools.frame_bodies import Hello, Open, Opened, Ping, Pong, Refused, Reset, Where, decode, encode
from pools.frames import CONTROL_LIMIT, HEADER_BYTES, Frame, FrameReader, FrameType, Header, Role, data_header
from pools.handshake import Handshake, OverlayKey
from pools.leg_state import LegState
from pools.net.endpoint import Endpoint
from pools.net.errors import ProtocolError

KEY: Final = OverlayKey(bytes(range(32)))
OPENER_HELLO: Final = Hello("oregon", Role.OPENER, bytes(32))
ACCEPTOR_HELLO: Final = Hello("mumbai", Role.ACCEPTOR, bytes([1]) * 32)
SESSION: Final = (
    encode(Open(Endpoint("orders.example", 443), ("pune",), Endpoint("192.0.2.1", 50_000), bytes(16)), session=1),
    encode(Opened("pune", 70_000), session=1),
    encode(Refused("pune", 111, 70_000, Where.CONNECT), session=1),
    data_header(1, 40) + b"x" * 40,
    Frame(FrameType.FIN, 1).encode(),
    encode(Reset(104), session=1),
    encode(Ping(1, 1_000_000)),
    encode(Pong(1, 1_000_000)),
    Frame(FrameType.GOAWAY).encode(),
    Header(FrameType.PAD, 0, 30).pack() + bytes(30),
)
GREETINGS: Final = (
    encode(OPENER_HELLO) + encode(KEY.proof(Role.OPENER, opener=OPENER_HELLO, acceptor=ACCEPTOR_HELLO)),
    encode(ACCEPTOR_HELLO) + encode(KEY.proof(Role.ACCEPTOR, opener=OPENER_HELLO, acceptor=ACCEPTOR_HELLO)),
)
_TELLING: Final = bytes(
    [0x00, 0x01, 0x7F, 0x80, 0x8F, 0x9F, 0xC0, 0xC1, 0xC7, 0xCF, 0xD3, 0xD9, 0xDB, 0xDC, 0xDF, 0xFF]
)


@dataclass(slots=True)
class Outcome:
    """What came of all inputs: frames that were read, bodies that were right, rules that were said to be broken."""

    inputs: int = 0
    frames: int = 0
    bodies: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


def run(count: int, *, seed: int) -> Outcome:
    """Try `count` inputs, input n being made from `seed` + n alone."""
    outcome = Outcome()
    for number in range(seed, seed + count):
        try:
            _try(Random(number), outcome)
        except BaseException as error:
            error.add_note(f"seed {number}")
            raise
        outcome.inputs += 1
    return outcome


def mutated(random: Random) -> bytes:
    """Give some right frames with up to four mistakes."""
    stream = bytearray(random.choice(GREETINGS) if random.random() < 0.3 else b"".join(random.choices(SESSION, k=3)))
    for _ in range(random.randrange(5)):
        at, size = random.randrange(len(stream) + 1), random.randrange(4)
        put = bytes(random.choices(_TELLING, k=size)) if random.random() < 0.5 else random.randbytes(size)
        stream[at : at + random.choice((size, size, 0, 3))] = put
    return bytes(stream[: random.randrange(len(stream) + 1)] if random.random() < 0.1 else stream)


def _try(random: Random, outcome: Outcome) -> None:
    stream = memoryview(mutated(random))
    cut = random.randrange(len(stream) + 1)
    reader, role = FrameReader(), random.choice((Role.OPENER, Role.ACCEPTOR))
    hello = OPENER_HELLO if role is Role.OPENER else ACCEPTOR_HELLO
    handshake = Handshake(role, hello.gateway, keys=[KEY], nonce=hello.nonce)
    state = LegState(role)
    for piece in (stream[:cut], stream[cut:]):
        refused(outcome, "reader", _read, reader, piece, handshake, state, outcome)
        held = repr(reader)
        assert int(held.split("held=")[1].split()[0]) <= HEADER_BYTES + CONTROL_LIMIT, held


def _read(reader: FrameReader, piece: memoryview, handshake: Handshake, state: LegState, outcome: Outcome) -> None:
    for event in reader.feed(piece):
        outcome.frames += 1
        if isinstance(event, Frame):
            outcome.bodies += not refused(outcome, "body", decode, event)
            if handshake.peer_name is None:
                refused(outcome, "handshake", handshake.receive, event)
            refused(outcome, "state", state.received, event.type, event.session)
        elif event.begins:
            refused(outcome, "state", state.received, event.header.type, event.header.session)


def refused(outcome: Outcome, by: str, call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except ProtocolError:
        outcome.refusals[by] += 1
        return True
    return False


def main(count: int) -> None:
    """Try `count` inputs and say how it went."""
    run(1000, seed=0)  # whatever is made once is made now
    before_kib, began_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    outcome = run(count, seed=1000)
    took_s = time.monotonic() - began_s
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    print(f"{outcome.inputs} inputs in {took_s:.1f} s, {outcome.inputs / took_s:.0f}/s; memory grew by {grown_kib} KiB")
    print(f"{outcome.frames} frames, {outcome.bodies} right bodies; refused: {dict(outcome.refusals)}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
