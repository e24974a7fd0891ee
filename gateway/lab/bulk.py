"""One long stream from a sender to a reader, past whatever stands between: what comes through, and who holds it up."""

import socket
import threading
from dataclasses import dataclass
from typing import Final, Self

from gateway.lab.client import FetchError
from gateway.lab.payload import payload

_PIECE: Final = payload(1 << 20)
_PATIENCE_S: Final = 30.0
_STILL_S: Final = 1.0  # without room for one byte more: then nobody takes any


@dataclass(frozen=True, slots=True)
class Ends:
    """Both ends of a session that stands: what is sent into one comes out of the other. A context manager."""

    sender: socket.socket
    reader: socket.socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sender.close()
        self.reader.close()

    def carry(self, size_bytes: int) -> None:
        """Send whole pieces, `size_bytes` at most, and read as many; the reader only counts.

        Raises:
            FetchError: fewer came.
        """
        pieces = size_bytes // len(_PIECE)
        expected = pieces * len(_PIECE)
        self.sender.settimeout(_PATIENCE_S)
        thread = threading.Thread(target=self._send, args=(pieces,))
        thread.start()
        found = self.read(expected)
        thread.join()
        if found != expected:
            raise FetchError(f"expected {expected} bytes; found {found}")

    def _send(self, pieces: int) -> None:
        try:
            for _ in range(pieces):
                self.sender.sendall(_PIECE)
        except OSError:
            return  # the reader misses them, and says so

    def read(self, size_bytes: int) -> int:
        """Read until so many bytes have come or no more do, and give how many did."""
        self.reader.settimeout(_PATIENCE_S)
        found, buffer = 0, bytearray(len(_PIECE))
        while found < size_bytes:
            try:
                came = self.reader.recv_into(buffer)
            except OSError:
                break
            if not came:
                break
            found += came
        return found

    def taken_in(self, *, at_most_bytes: int) -> int:
        """Send to a reader that does not read, until nothing has been taken in for a second, and give how much was.

        Args:
            at_most_bytes: where to stop, as somebody keeps it all in memory.
        """
        self.sender.settimeout(_STILL_S)
        sent = 0
        while sent < at_most_bytes:
            try:
                sent += self.sender.send(_PIECE)
            except TimeoutError:
                break
        return sent
