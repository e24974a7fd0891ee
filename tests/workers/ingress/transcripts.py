"""How the tests of this folder hold a conversation, and how they spoil one."""

from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from pools.net.endpoint import Endpoint
from pools.net.errors import Fault, ProtocolError
from workers.ingress.conversation import Conversation


class Outcome(NamedTuple):
    """What a client heard and got."""

    said: bytes = b""
    destination: Endpoint | None = None
    early: bytes = b""
    error: str = ""

    @property
    def decided(self) -> bool:
        return self.destination is not None or self.error != ""


def converse(conversation: Conversation, data: bytes, cuts: list[int] | None = None) -> Outcome:
    """Say `data` in pieces that end at `cuts`, until the conversation has decided, as a worker would."""
    said = b""
    for start, end in pairwise(sorted({0, len(data), *(cut for cut in cuts or [] if cut < len(data))})):
        try:
            said += conversation.receive(data[start:end])
        except ProtocolError as error:
            if error.fault is Fault.OURS or conversation.request:
                raise
            return Outcome(said + error.reply, error=str(error))
        if request := conversation.request:
            return Outcome(said, request.destination, request.early + data[end:])
    return Outcome(said)


def every_byte(data: bytes) -> list[int]:
    return list(range(len(data)))


def cuts() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 300), max_size=8)


@st.composite
def spoiled(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """One of `valid` with some bytes changed, removed or put in, or cut short."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        removed = draw(st.integers(0, 3))
        data[at : at + removed] = draw(st.binary(max_size=3))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)
