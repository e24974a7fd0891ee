"""A plain request for an http:// URL, as a proxy gets it, made into what its origin expects (RFC 9112 section 3.2).

Only the head is here. The body passes untouched, so the fields that frame it stay whatever `Connection` says. No Via is
added: it breaks loops between proxies (RFC 9110 section 7.6.3), and a gateway that reached itself would refuse the
origin-form written here.
"""

import re

import h11

_URL = re.compile(rb"(?i:http)://([^/?#]+)([/?][^#]*)?\Z")
_ENDS_IN_PORT = re.compile(r":[^:\]]+\Z")  # what is no number fails where ports are judged
_KEPT = frozenset({b"content-length", b"transfer-encoding"})
_HOP_BY_HOP = frozenset({b"connection", b"host", b"keep-alive", b"te", b"upgrade"})  # RFC 9110 section 7.6.1; host anew


def split(target: bytes) -> tuple[str, bytes]:
    """Part an http:// URL into its authority and what follows, which may be empty.

    Raises:
        ValueError: another scheme, user information (RFC 9110 section 4.2.4), a fragment, or no URL; the text
            quotes no more than the scheme, for the rest may hold secrets.
    """
    found = _URL.match(target)
    if found is None:
        scheme, mark, _ = target[:80].decode("ascii", "backslashreplace").partition("://")
        raise ValueError(
            f"must be a URL http://HOST[:PORT]/PATH; found {f'scheme {scheme!r}' if mark else 'no scheme'}"
        )
    if b"@" in found[1]:
        raise ValueError("must be a URL without user information; found some")
    return found[1].decode("ascii"), found[2] or b""


def with_port(authority: str) -> str:
    """Give `authority` with its port, 80 where none is written (RFC 9110 section 4.2.1)."""
    authority = authority.removesuffix(":")
    return authority if _ENDS_IN_PORT.search(authority) else f"{authority}:80"


def origin_head(request: h11.Request, *, authority: str, path: bytes) -> bytes:
    """Write the head for the origin: origin-form, its own Host, nothing meant for a proxy, and `Connection: close`."""
    line = b"%b %b HTTP/%b" % (request.method, _origin_form(request.method, path), request.http_version)
    dropped = _dropped(request)
    fields = [
        b"%b: %b" % (raw, value)
        for (name, value), (raw, _) in zip(request.headers, request.headers.raw_items(), strict=True)
        if name not in dropped and not name.startswith(b"proxy-")
    ]
    return b"\r\n".join([line, b"Host: " + authority.encode(), *fields, b"Connection: close", b"", b""])


def _origin_form(method: bytes, path: bytes) -> bytes:
    if method == b"OPTIONS" and not path:
        return b"*"  # RFC 9112 section 3.2.4
    return path if path.startswith(b"/") else b"/" + path


def _dropped(request: h11.Request) -> frozenset[bytes]:
    """Name the fields of this hop: the known ones and those that Connection nominates."""
    nominated = {
        option.strip().lower()
        for name, value in request.headers
        if name == b"connection"
        for option in value.split(b",")
    }
    names = {name for name, _ in request.headers}
    framed_twice = {b"content-length"} if {b"content-length", b"transfer-encoding"} <= names else set()
    return _HOP_BY_HOP | (nominated - _KEPT) | framed_twice  # RFC 9112 section 6.3: the coding wins, the length goes
