"""Mutated frames against the reader, the bodies, the handshake and the leg's state: `python -m tests.fuzz_frames N`.

Each input is a stream of right frames with a few bytes changed, put in, taken out, or cut off, for one end of a leg of
either role. Nothing but ProtocolError may come of it. Besides, for each: every step takes some of the bytes; no more is
held than the longest control frame; a cut changes nothing of what is read; what was refused has changed nothing; nobody
is believed to be another than who proved it. Ends with exit code 0, or with the traceback of the first input that broke
a rule and the seed that makes it again; with exit code 1 if memory grew.
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
from pools.frames import CONTROL_LIMIT, HEADER_BYTES, Frame, FrameReader, FrameType, Header, Payload, Role, data_header
from pools.handshake import Handshake, OverlayKey
from pools.leg_state import LegState
from pools.net.endpoint import Endpoint
from pools.net.errors import Fault, ProtocolError

KEY: Final = OverlayKey(bytes(range(32)))
HELLOS: Final = {
    Role.OPENER: Hello("oregon", Role.OPENER, bytes(32)),
    Role.ACCEPTOR: Hello("mumbai", Role.ACCEPTOR, bytes([1]) * 32),
}
SESSION: Final = (
    encode(Open(Endpoint("orders.example", 443), ("pune",), Endpoint("192.0.2.1", 50_000), bytes(16)), session=1),
    encode(Opened("pune", 70_000), session=1),
    encode(Refused("pune", 111, 70_000, Where.CONNECT), session=1),
    data_header(1, 40) + b"x" * 40,
    Frame(FrameType.FIN, 1).encode(),
    encode(Reset(104), session=1),
    encode(Ping(1, 1_000_000)),
    encode(Ping(1, 1_000_000, 4096)),
    encode(Pong(1, 1_000_000)),
    Frame(FrameType.GOAWAY).encode(),
    Header(FrameType.PAD, 0, 30).pack() + bytes(30),
)
GREETINGS: Final = [
    encode(HELLOS[role]) + encode(KEY.proof(role, opener=HELLOS[Role.OPENER], acceptor=HELLOS[Role.ACCEPTOR]))
    for role in Role
]
_TELLING: Final = bytes(
    [0x00, 0x01, 0x7F, 0x80, 0x8F, 0x9F, 0xC0, 0xC1, 0xC7, 0xCF, 0xD3, 0xD9, 0xDB, 0xDC, 0xDF, 0xFF]
)
_GROWTH_LIMIT_KIB: Final = 8192  # whatever the allocator keeps; a leak of ten bytes an input is more, at a million


@dataclass(slots=True)
class Outcome:
    """What came of all inputs: frames read, bodies that were right, handshakes done, rules said to be broken."""

    inputs: int = 0
    frames: int = 0
    bodies: int = 0
    proofs: Counter[Role] = field(default_factory=Counter)
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


class End:
    """One end of a leg, at which frames come in, and which says something now and then."""

    def __init__(self, random: Random, outcome: Outcome) -> None:
        self._random = random
        self._outcome = outcome
        self.role = random.choice(list(Role))
        self.reader = FrameReader()
        hello, self._peer = HELLOS[self.role], HELLOS[self.role.other].gateway
        self._handshake = Handshake(self.role, hello.gateway, keys=[KEY], nonce=hello.nonce)
        self._state = LegState(self.role)
        if self.role is Role.OPENER:
            self._say(FrameType.OPEN)

    def take(self, view: memoryview) -> None:
        """Take `view` apart and hear what it brings, up to the first bytes that no frame can begin with."""
        while view:
            event, rest = self.reader.take(view)
            assert len(rest) < len(view), "a step that takes nothing"
            assert event is not None or not rest, "bytes that bring nothing, and are not held"
            assert _held(self.reader) <= HEADER_BYTES + CONTROL_LIMIT, self.reader
            view = rest
            if isinstance(event, Frame):
                self._hear(event)
            elif event and event.begins:
                self._receive(event.header.type, event.header.session)

    def _hear(self, frame: Frame) -> None:
        self._outcome.bodies += not refused(self._outcome, "body", decode, frame)
        if self._handshake.peer_name is None:
            refused(self._outcome, "handshake", self._handshake.receive, frame)
            assert self._handshake.peer_name in (None, self._peer), self._handshake
            self._outcome.proofs[self.role] += self._handshake.peer_name is not None
        self._receive(frame.type, frame.session)

    def _receive(self, kind: FrameType, session: int) -> None:
        self._outcome.frames += 1
        before = _facts(self._state)
        if refused(self._outcome, "state", self._state.received, kind, session):
            assert _facts(self._state) == before, "a frame that was refused has changed the state"
        self._say(self._random.choice(list(FrameType)))

    def _say(self, kind: FrameType) -> None:
        before, session = _facts(self._state), self._state.session
        number = self._state.next_session if kind is FrameType.OPEN else self._random.choice((session, session, 0))
        try:
            self._state.sent(kind, number)
            return
        except ProtocolError as error:
            fault = error.fault
        assert fault is Fault.OURS, f"{kind.name} of our own is said to be theirs"
        assert _facts(self._state) == before, "a frame that was not sent has changed the state"


def _try(random: Random, outcome: Outcome) -> None:
    stream = memoryview(mutated(random))
    cut = random.randrange(len(stream) + 1)
    pieces = (stream[:cut], stream[cut:])
    assert _contents(*pieces) == _contents(stream), "a cut changes what is read"
    end = End(random, outcome)
    for piece in pieces:
        refused(outcome, "reader", end.take, piece)


def _contents(*pieces: memoryview) -> list[object]:
    """Give what a reader gives, payloads put together again, and whether it refused something at last."""
    reader, contents = FrameReader(), list[object]()
    try:
        for event in (event for piece in pieces for event in reader.feed(piece)):
            if isinstance(event, Payload):
                contents += [event.header, b""] if event.begins else []
                contents[-1] = bytes(contents[-1]) + event.part  # type: ignore[call-overload]
            else:
                contents.append(event)
    except ProtocolError as error:
        contents.append(str(error))
    return contents


def _held(reader: FrameReader) -> int:
    return int(repr(reader).split("held=")[1].split()[0])


def _facts(state: LegState) -> tuple[object, ...]:
    return state.session, state.ours, state.theirs, state.going_away, state.is_reusable


def refused(outcome: Outcome, by: str, call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except ProtocolError:
        outcome.refusals[by] += 1
        return True
    return False


def main(count: int) -> int:
    """Try `count` inputs, say how it went, and give the exit code."""
    run(1000, seed=0)  # whatever is made once is made now
    before_kib, began_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    outcome = run(count, seed=1000)
    took_s = time.monotonic() - began_s
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    print(f"{outcome.inputs} inputs in {took_s:.1f} s, {outcome.inputs / took_s:.0f}/s; memory grew by {grown_kib} KiB")
    print(f"{outcome.frames} frames, {outcome.frames / took_s:.0f}/s, {outcome.bodies} right bodies")
    print(f"handshakes done: {dict(outcome.proofs)}; refused: {dict(outcome.refusals)}")
    return int(grown_kib > _GROWTH_LIMIT_KIB)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
