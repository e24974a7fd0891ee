"""SOCKS 5 (RFC 1928) with user and password (RFC 1929): the CONNECT command and nothing else.

Each stage of the handshake is a pure function from the bytes held to a step, or None while its message is incomplete.
Every length in these messages is one byte, so a stage never holds more than `HELD_LIMIT` bytes.
"""

import errno
import socket
from collections.abc import Callable, Mapping
from enum import IntEnum
from ipaddress import ip_address
from typing import NamedTuple

from pools.net.endpoint import Endpoint, unmapped
from pools.net.errors import LegError, ProtocolError
from workers.ingress.conversation import Conversation, Request, destination
from workers.ingress.credentials import are_known

HELD_LIMIT = 512  # the longest unfinished message: version, length, 255 bytes, length, 254 of 255 bytes

_Users = Mapping[str, str]
_SOCKS4_REJECTED = bytes([0, 91, 0, 0, 0, 0, 0, 0])  # Ying-Da Lee, "SOCKS: A protocol for TCP proxy": CD 91


class _Method(IntEnum):
    """RFC 1928 section 3."""

    NONE = 0
    USER_PASSWORD = 2
    NOT_ACCEPTABLE = 255


class _AddressType(IntEnum):
    """RFC 1928 section 5."""

    IPV4 = 1
    DOMAIN = 3
    IPV6 = 4


class Reply(IntEnum):
    """RFC 1928 section 6."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


# A timeout is "TTL expired" as in Dante: a client can then tell silence from an ICMP answer.
_REPLIES = {
    errno.EACCES: Reply.NOT_ALLOWED,
    errno.EPERM: Reply.NOT_ALLOWED,
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
    errno.ENETDOWN: Reply.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
    errno.EHOSTDOWN: Reply.HOST_UNREACHABLE,
    errno.ECONNREFUSED: Reply.REFUSED,
    errno.ETIMEDOUT: Reply.TTL_EXPIRED,
    errno.EAFNOSUPPORT: Reply.ADDRESS_TYPE_NOT_SUPPORTED,
}


class _Step(NamedTuple):
    """What a complete message leads to: the next stage, or after the last one the destination."""

    taken: int
    reply: bytes = b""
    then: "_Stage | None" = None
    destination: Endpoint | None = None


_Stage = Callable[[bytes, _Users], _Step | None]


class Socks5(Conversation):
    """One client's SOCKS 5 handshake.

    Args:
        users: name → password; when there are any, a client must log in.
    """

    __slots__ = ("_held", "_stage", "_users")

    def __init__(self, users: _Users) -> None:
        super().__init__()
        self._users = users
        self._stage: _Stage | None = _greeting
        self._held = b""

    def _receive(self, data: bytes) -> bytes:
        stage, held, replies, step = self._stage, self._held + data, b"", None
        try:
            while stage and (following := stage(held, self._users)):
                step = following
                stage, held, replies = step.then, held[step.taken :], replies + step.reply
        except ProtocolError as error:
            raise ProtocolError(str(error), reply=replies + error.reply, number=error.errno) from None
        if step and step.destination:
            self.request, held = Request(step.destination, held), b""
        self._stage, self._held = stage, held
        return replies

    def granted(self, bound: Endpoint) -> bytes:
        """Tell the client that the destination is connected, and from which address."""
        return _reply(Reply.SUCCEEDED, bound)

    def denied(self, error: LegError) -> bytes:
        """Tell the client why the destination is not connected, in the eight words of RFC 1928 section 6."""
        return _reply(_REPLIES.get(error.errno, Reply.FAILED))


def _greeting(held: bytes, users: _Users) -> _Step | None:
    if held[:1] == b"\x04":
        raise ProtocolError(
            "expected SOCKS version 5; found version 4, which cannot be used here", reply=_SOCKS4_REJECTED
        )
    _expect_version(held, 5, of="SOCKS")
    if len(held) < 2 or len(held) < (end := 2 + held[1]):
        return None
    wanted = _Method.USER_PASSWORD if users else _Method.NONE
    if wanted not in held[2:end]:
        refusal = bytes([5, _Method.NOT_ACCEPTABLE])
        number = errno.EACCES if users else 0
        raise ProtocolError(
            f"expected method {wanted} to be offered; found {list(held[2:end])}", reply=refusal, number=number
        )
    return _Step(end, bytes([5, wanted]), _login if users else _request)


def _login(held: bytes, users: _Users) -> _Step | None:
    _expect_version(held, 1, of="user/password negotiation")
    if len(held) < 2 or len(held) < (colon := 2 + held[1]) + 1 or len(held) < (end := colon + 1 + held[colon]):
        return None
    if not are_known(users, held[2:colon], held[colon + 1 : end]):
        message = "expected a known user with the right password; found another"
        raise ProtocolError(message, reply=b"\x01\x01", number=errno.EACCES)
    return _Step(end, b"\x01\x00", _request)


def _request(held: bytes, _: _Users) -> _Step | None:
    _expect_version(held, 5, of="SOCKS request")
    if len(held) < 5 or len(held) < (end := _address_end(held) + 2):
        return None
    if held[1] != 1:
        raise _refusal(Reply.COMMAND_NOT_SUPPORTED, f"expected command CONNECT (1); found {held[1]}")
    host, port = _host(held[3], held[4 : end - 2]), int.from_bytes(held[end - 2 : end])
    try:
        return _Step(end, destination=destination(host, port))
    except ValueError as error:
        raise _refusal(Reply.HOST_UNREACHABLE, f"a destination {error}; found {host!r} and port {port}") from None


def _expect_version(held: bytes, version: int, *, of: str) -> None:
    if held and held[0] != version:
        raise ProtocolError(f"expected {of} version {version}; found {held[0]}")


def _address_end(held: bytes) -> int:
    match held[3]:
        case _AddressType.IPV4:
            return 4 + 4
        case _AddressType.IPV6:
            return 4 + 16
        case _AddressType.DOMAIN:
            return 4 + 1 + held[4]
        case other:
            raise _refusal(
                Reply.ADDRESS_TYPE_NOT_SUPPORTED, f"expected an IPv4, IPv6 or domain address; found type {other}"
            )


def _host(kind: int, address: bytes) -> str:
    if kind == _AddressType.IPV4:
        return socket.inet_ntop(socket.AF_INET, address)
    if kind == _AddressType.IPV6:
        return socket.inet_ntop(socket.AF_INET6, address)
    return address[1:].decode("latin-1")  # any byte has a character; only ASCII can become a host


def _refusal(code: Reply, message: str) -> ProtocolError:
    return ProtocolError(message, reply=_reply(code))


def _reply(code: Reply, bound: Endpoint | None = None) -> bytes:
    if bound is None:
        return bytes([5, code, 0, _AddressType.IPV4, 0, 0, 0, 0, 0, 0])
    address = ip_address(unmapped(bound.host))
    kind = _AddressType.IPV4 if address.version == 4 else _AddressType.IPV6
    return bytes([5, code, 0, kind]) + address.packed + bound.port.to_bytes(2)
