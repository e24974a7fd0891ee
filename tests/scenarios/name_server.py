"""A name server of the test's own: one IPv4 address a name, changed, withheld or denied while it runs (RFC 1035)."""

import socket
import struct
import threading
from types import TracebackType
from typing import Self

_A, _IN = 1, 1
_ANSWER, _NO_SUCH_NAME = 0x8180, 0x8183
_TTL_S = 0


class NameServer:
    """Answers on UDP port 53 of `address` until the block ends.

    Attributes:
        addresses: name → IPv4 address; a name that is not there does not exist.
        silent: names about which nothing is said, until `speak`.
        asked: how many questions came.
    """

    def __init__(self, address: str) -> None:
        self.addresses: dict[str, str] = {}
        self.silent: set[str] = set()
        self.asked = 0
        self._withheld: list[tuple[bytes, tuple[str, int]]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((address, 53))
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def speak(self) -> None:
        """Keep silent no longer, and answer what was asked meanwhile."""
        self.silent.clear()
        for packet, client in self._withheld:
            self._answer(packet, client)

    def _serve(self) -> None:
        while query := self._socket.recvfrom(512):
            packet, client = query
            if not packet:
                return
            self.asked += 1
            self._answer(packet, client)

    def _answer(self, packet: bytes, client: tuple[str, int]) -> None:
        name, end = _name_in(packet)
        if name in self.silent:
            self._withheld.append((packet, client))
        else:
            self._socket.sendto(self._reply(packet, name, end), client)

    def _reply(self, packet: bytes, name: str, end: int) -> bytes:
        (kind,) = struct.unpack_from("!H", packet, end)
        address = self.addresses.get(name)
        flags = _NO_SUCH_NAME if address is None else _ANSWER
        records = b"" if address is None or kind != _A else _a_record(address)
        head = packet[:2] + struct.pack("!5H", flags, 1, bool(records), 0, 0)
        return head + packet[12 : end + 4] + records


def _name_in(packet: bytes) -> tuple[str, int]:
    """Give the name that a query asks about, and where it ends."""
    labels, at = [], 12
    while size := packet[at]:
        labels.append(packet[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels).lower(), at + 1


def _a_record(address: str) -> bytes:
    pointer_to_question = 0xC00C
    return struct.pack("!HHHIH", pointer_to_question, _A, _IN, _TTL_S, 4) + socket.inet_aton(address)
