"""A gateway made of one blocking socket, for what no gateway would say: the wire as docs/wire.md has it."""

import secrets
import socket
from pathlib import Path

from pools.frame_bodies import NONCE_BYTES, Body, Open, Opened, Refused, decode, encode
from pools.frames import Frame, FrameReader, FrameType, Role
from pools.handshake import Handshake
from pools.key_file import KeyFile
from tests.scenarios.harness.programs import LIMIT_S


class Opener:
    """One leg that this one has opened, and proved to be `name`'s.

    Args:
        port: where other gateways come in.
        key_file: with the overlay's key.
    """

    def __init__(self, port: int, name: str, key_file: Path) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        self._reader = FrameReader()
        self._rest = b""
        self._sessions = 0
        keys, nonce = KeyFile(str(key_file)).keys(), secrets.token_bytes(NONCE_BYTES)
        handshake = Handshake(Role.OPENER, name, keys=keys, nonce=nonce)
        self.sock.sendall(handshake.begin())
        while handshake.peer_name is None:
            self.sock.sendall(handshake.receive(self.hear()))

    def ask(self, message: Open) -> Opened | Refused:
        """Open the next session and give the answer; one that is refused is over afterwards."""
        self._sessions += 1
        self.say(message)
        answer = decode(self.hear())
        assert isinstance(answer, Opened | Refused), answer
        if isinstance(answer, Refused):
            self.sock.sendall(Frame(FrameType.FIN, self._sessions).encode())
        return answer

    def say(self, body: Body) -> None:
        """Send a frame of the session that there is, or was last."""
        self.sock.sendall(encode(body, session=self._sessions))

    def hear(self) -> Frame:
        """Give the next frame, which must be none with payload."""
        while True:
            item, left = self._reader.take(memoryview(self._rest))
            self._rest = bytes(left)
            if isinstance(item, Frame):
                return item
            assert item is None, f"expected a control frame; found {item}"
            self._rest = self.sock.recv(1 << 14)
            assert self._rest, "expected a frame; found the end of the leg"

    def close(self) -> None:
        """Close the leg."""
        self.sock.close()
