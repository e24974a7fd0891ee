"""An HTTP/1.1 proxy's first request: CONNECT, or a plain request for an http:// URL (RFC 9110, RFC 9112).

h11 reads the head and nothing else, once all of it is there. What follows the head is the destination's and passes
untouched, so a connection carries one request. What an origin gets of a plain request is made in `plain_request`.
"""

import base64
import binascii
import errno
import os
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import h11

from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, ProtocolError
from workers.ingress import plain_request
from workers.ingress.conversation import Conversation, Request, destination
from workers.ingress.credentials import are_known

HEAD_LIMIT = 16 * 1024  # bytes; h11's own default

_Users = Mapping[str, str]
_HEAD_END = re.compile(rb"\n\r?\n")  # as h11 ends one; RFC 9112 section 2.2 lets a receiver take a bare LF
_SAFE_WORDS = re.compile(r"[A-Za-z -]*")  # what h11's texts begin with; they go on to quote the client's headers
_AUTHORITY_END = re.compile(r"[/?#]")  # what follows in a URL may hold tokens
_QUOTED_LIMIT = 80  # characters of the client's own words in an error
_ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_CHALLENGE = 'Proxy-Authenticate: Basic realm="midmile", charset="UTF-8"\r\n'  # RFC 7617
_STATUSES = {
    errno.EACCES: HTTPStatus.FORBIDDEN,
    errno.EPERM: HTTPStatus.FORBIDDEN,
    errno.ETIMEDOUT: HTTPStatus.GATEWAY_TIMEOUT,
}


class _Asked(NamedTuple):
    """What a head asks for; `head` is what the destination gets in its place, nothing for a tunnel."""

    destination: Endpoint
    head: bytes = b""


class Connect(Conversation):
    """One client's request to an HTTP proxy; holds less than `HEAD_LIMIT` bytes until the request is known.

    Args:
        users: name → password; when there are any, a client must send them as HTTP Basic.
    """

    __slots__ = ("_held", "_tunnel", "_users")

    def __init__(self, users: _Users) -> None:
        super().__init__()
        self._users = users
        self._held = bytearray()
        self._tunnel = True

    def _receive(self, data: bytes) -> bytes:
        before = len(self._held)
        self._held += data
        try:
            self._read(searched=before)
        except ProtocolError:
            del self._held[before:]
            raise
        return b""

    def _read(self, *, searched: int) -> None:
        end = _end_of_head(self._held, searched=searched)
        if end is None:
            return
        asked = _asked(_parsed(bytes(self._held[:end])), self._users)
        self.request = Request(asked.destination, asked.head + self._held[end:])
        self._tunnel = not asked.head
        self._held = bytearray()

    def granted(self, bound: Endpoint) -> bytes:  # noqa: ARG002 -- HTTP has no word for it
        """Tell the client that its tunnel stands; a plain request is answered by its destination."""
        return _ESTABLISHED if self._tunnel else b""

    def denied(self, error: LegError) -> bytes:
        """Tell the client 403, 502 or 504 and the kernel's reason, but no address that it did not name itself."""
        wanted = f" to {self.request.destination}" if self.request else ""
        reason = f"{errno.errorcode.get(error.errno, error.errno)} ({os.strerror(error.errno)})"
        status = _STATUSES.get(error.errno, HTTPStatus.BAD_GATEWAY)
        return _answer(status, f"expected a connection{wanted}; found {reason}")


def _end_of_head(held: bytearray, *, searched: int) -> int | None:
    """Find where the head ends; of the bytes searched before, only two can belong to the blank line."""
    if held and held[0] <= 0x20:
        hint = " (TLS?)" if held[0] == 0x16 else ""
        raise _refusal(HTTPStatus.BAD_REQUEST, f"expected an HTTP method; found byte {held[0]:#04x} first{hint}")
    if found := _HEAD_END.search(held, max(0, searched - 2), HEAD_LIMIT):
        return found.end()
    if len(held) >= HEAD_LIMIT:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        raise _refusal(status, f"expected a request head of at most {HEAD_LIMIT} bytes; found no end of it")
    return None


def _parsed(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        found = _SAFE_WORDS.match(str(error))
        reason = f"expected a request head by RFC 9112; found fault: {found[0] if found else ''}"
        raise _refusal(HTTPStatus(error.error_status_hint), reason) from None
    if not isinstance(event, h11.Request) or not event.http_version.startswith(b"1."):
        raise _refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "expected an HTTP/1.1 request; found another version")
    return event


def _asked(request: h11.Request, users: _Users) -> _Asked:
    if users and not _is_authorised(request, users):
        reason = "expected Proxy-Authorization: Basic with a known user and the right password; found none"
        raise _refusal(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, reason, field=_CHALLENGE)
    if request.method == b"CONNECT":
        return _Asked(_destination(request.target.decode("ascii")))
    if request.target.startswith((b"/", b"*")):
        reason = "expected CONNECT or an http:// URL, this being a proxy; found a path"
        raise _refusal(HTTPStatus.METHOD_NOT_ALLOWED, reason, field="Allow: CONNECT\r\n")
    return _asked_plainly(request)


def _asked_plainly(request: h11.Request) -> _Asked:
    try:
        authority, path = plain_request.split(request.target)
    except ValueError as error:
        raise _refusal(HTTPStatus.BAD_REQUEST, f"a target {error}") from None
    head = plain_request.origin_head(request, authority=authority, path=path)
    return _Asked(_destination(plain_request.with_port(authority)), head)


def _destination(authority: str) -> Endpoint:
    try:
        named = Endpoint.parse(authority)
        return destination(named.host, named.port)
    except ValueError as error:
        found = "user information" if "@" in authority else ascii(_AUTHORITY_END.split(authority)[0][:_QUOTED_LIMIT])
        raise _refusal(HTTPStatus.BAD_REQUEST, f"a destination {error}; found {found}") from None


def _is_authorised(request: h11.Request, users: _Users) -> bool:
    """Judge HTTP Basic credentials (RFC 7617); a field given twice is as good as none."""
    fields = [value for name, value in request.headers if name == b"proxy-authorization"]
    scheme, _, token = fields[0].partition(b" ") if len(fields) == 1 else (b"", b"", b"")
    if scheme.lower() != b"basic":
        return False
    try:
        name, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
    except binascii.Error:
        return False
    return bool(colon) and are_known(users, name, password)


def _refusal(status: HTTPStatus, reason: str, *, field: str = "") -> ProtocolError:
    number = errno.EACCES if status is HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else 0
    return ProtocolError(reason, reply=_answer(status, reason, field=field), number=number)


def _answer(status: HTTPStatus, text: str, *, field: str = "") -> bytes:
    """Write a whole response; `field` is a header line with its end."""
    body = f"{status.value} {status.phrase}: {text}\n".encode()
    kind = "Content-Type: text/plain; charset=utf-8\r\n"
    length = f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{field}{kind}{length}Connection: close\r\n\r\n".encode() + body
