"""Who may come in: both ends of a new leg prove that they have an overlay key, before anything else is said.

Four frames: HELLO of the opener, HELLO of the acceptor, PROOF of the opener, PROOF of the acceptor. A proof is an
HMAC over all that both said, and over who proves it, so none can be sent back or used again. It shows that the other
end had a key when the leg began; what comes later on the leg is neither encrypted nor signed.

Pure: nonces and keys are arguments, deadlines are the caller's. docs/wire.md has the bytes and a worked example.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pools.body_values import Name
from pools.frame_bodies import KEY_ID_BYTES, NONCE_BYTES, VERSION, Hello, Proof, encode
from pools.frames import Frame, FrameType, Role
from pools.net.errors import Fault, ProtocolError

KEY_BYTES: Final = 32
KEYS_LIMIT: Final = 2

_KEY_ID_LABEL: Final = b"midmile key id"
_PROOF_LABEL: Final = b"midmile proof"


@dataclass(frozen=True, slots=True)
class OverlayKey:
    """What all gateways of one overlay share. Shown by its id only.

    Attributes:
        secret: KEY_BYTES random bytes.
    """

    secret: bytes = field(repr=False)
    id: bytes = field(init=False, compare=False)
    """KEY_ID_BYTES that name the key and tell nothing of it."""

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"must be {KEY_BYTES} bytes")
        object.__setattr__(self, "id", self._mac(_KEY_ID_LABEL)[:KEY_ID_BYTES])

    def proof(self, prover: Role, *, opener: Hello, acceptor: Hello) -> Proof:
        """Prove, as `prover`, that this key belongs to who said one of these two."""
        return Proof(self.id, self._mac(transcript(prover, opener=opener, acceptor=acceptor)))

    def _mac(self, message: bytes) -> bytes:
        return hmac.digest(self.secret, message, "sha256")


def transcript(prover: Role, *, opener: Hello, acceptor: Hello) -> bytes:
    """Give what a proof is an HMAC of: each field after its length, so that no two transcripts are the same bytes."""
    fields = (
        _PROOF_LABEL,
        prover.encode(),
        VERSION.to_bytes(4),
        opener.gateway.encode(),
        acceptor.gateway.encode(),
        opener.nonce,
        acceptor.nonce,
    )
    return b"".join(len(each).to_bytes(2) + each for each in fields)


class Handshake:
    """One end of a handshake.

    Args:
        role: ours.
        gateway: our name.
        keys: one or two. The opener proves with the first and takes any; the acceptor takes any, and proves with the
            one that the opener used, which both are known to have.
        nonce: NONCE_BYTES random bytes, new for each leg.
        peer: who must be at the other end; None for any gateway of the overlay.

    Attributes:
        peer_name: who is at the other end, once that is proved and all was said; None until then. A name is as true
            as the overlay's members are: whoever has a key can take any.
    """

    __slots__ = ("_expected", "_hello", "_keys", "_theirs", "peer_name")

    def __init__(
        self, role: Role, gateway: Name, *, keys: Sequence[OverlayKey], nonce: bytes, peer: Name | None = None
    ) -> None:
        if not 1 <= len(keys) <= KEYS_LIMIT or len(nonce) != NONCE_BYTES:
            raise ValueError(f"must have 1 to {KEYS_LIMIT} keys and {NONCE_BYTES} bytes of nonce")
        self.peer_name: Name | None = None
        self._hello = Hello(gateway, role, nonce)
        self._keys = {key.id: key for key in keys}
        self._expected = peer
        self._theirs: Hello | None = None

    def __repr__(self) -> str:
        state = f"with {self.peer_name}" if self.peer_name else "unfinished"
        return f"<Handshake {self._hello.gateway} as {self._hello.role} {state}>"

    def begin(self) -> bytes:
        """Give what must be sent before anything was received: the opener's HELLO. An acceptor keeps silent."""
        return encode(self._hello) if self._hello.role is Role.OPENER else b""

    def receive(self, frame: Frame) -> bytes:
        """Take the other end's next frame and give the frame that must be sent now, which may be none.

        Raises:
            ProtocolError: not what must come next, or not proved: close without an answer. Nothing has changed.
        """
        if self.peer_name is not None:
            raise ProtocolError("expected no frame after the handshake; found more given", fault=Fault.OURS)
        return self._hear_hello(frame) if self._theirs is None else self._hear_proof(self._theirs, frame)

    def _hear_hello(self, frame: Frame) -> bytes:
        _expect(FrameType.HELLO, frame)
        theirs = Hello.read(frame.body)
        self._check_hello(theirs)
        self._theirs = theirs
        if self._hello.role is Role.ACCEPTOR:
            return encode(self._hello)
        return encode(self._proof(next(iter(self._keys.values())), Role.OPENER, theirs))

    def _check_hello(self, theirs: Hello) -> None:
        if theirs.role is not self._hello.role.other:
            raise ProtocolError(f"HELLO: expected the {self._hello.role.other}; found the {theirs.role}")
        if theirs.gateway == self._hello.gateway:
            raise ProtocolError(f"HELLO: expected another gateway than {theirs.gateway}; found that name")
        if self._expected not in (None, theirs.gateway):
            raise ProtocolError(f"HELLO: expected the gateway {self._expected}; found {theirs.gateway}")
        if hmac.compare_digest(theirs.nonce, self._hello.nonce):
            raise ProtocolError("HELLO: expected a nonce of its own; found ours")

    def _hear_proof(self, theirs: Hello, frame: Frame) -> bytes:
        _expect(FrameType.PROOF, frame)
        given = Proof.read(frame.body)
        key = self._keys.get(given.key_id)
        if key is None:
            raise ProtocolError(f"PROOF: expected one of our keys; found key {given.key_id.hex()}")
        if not hmac.compare_digest(given.mac, self._proof(key, theirs.role, theirs).mac):
            raise ProtocolError(f"PROOF: expected the HMAC that key {key.id.hex()} gives; found another")
        self.peer_name = theirs.gateway
        return encode(self._proof(key, Role.ACCEPTOR, theirs)) if self._hello.role is Role.ACCEPTOR else b""

    def _proof(self, key: OverlayKey, prover: Role, theirs: Hello) -> Proof:
        ours = self._hello
        opener, acceptor = (ours, theirs) if ours.role is Role.OPENER else (theirs, ours)
        return key.proof(prover, opener=opener, acceptor=acceptor)


def _expect(wanted: FrameType, frame: Frame) -> None:
    if frame.type is not wanted:
        raise ProtocolError(f"expected {wanted.name} in the handshake; found {frame.type.name}")
    if frame.session:
        raise ProtocolError(f"expected {wanted.name} of session 0; found session {frame.session}")
