"""What an origin gets of a request that was made to a proxy."""

import h11
import pytest

from workers.ingress.plain_request import origin_head, split, with_port


def request(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"http://a.example", ("a.example", b"")),
        (b"HTTP://a.example:8080/", ("a.example:8080", b"/")),
        (b"http://[::1]/x?y=http://z", ("[::1]", b"/x?y=http://z")),
        (b"http://a.example?q", ("a.example", b"?q")),
    ],
)
def test_a_url_is_parted(target: bytes, parts: tuple[str, bytes]) -> None:
    assert split(target) == parts


@pytest.mark.parametrize(
    "target", [b"https://a/secret", b"http:///secret", b"a:80", b"http://me:secret@a/", b"http://a/#secret", b"http:a"]
)
def test_other_targets_are_refused_without_their_secrets(target: bytes) -> None:
    with pytest.raises(ValueError, match="must be a URL") as caught:
        split(target)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("authority", "full"),
    [("a", "a:80"), ("a:", "a:80"), ("a:81", "a:81"), ("[::1]", "[::1]:80"), ("[::1]:81", "[::1]:81")],
)
def test_the_port_is_80_unless_written(authority: str, full: str) -> None:
    assert with_port(authority) == full


def test_fields_of_this_hop_are_dropped_and_others_kept_as_written() -> None:
    asked = request(
        b"GET http://a.example/x HTTP/1.1\r\nHost: wrong.example\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"
        b"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic c2VjcmV0\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"X-MiXed-Case: Kept\r\nAccept: */*\r\nAuthorization: Bearer kept\r\n\r\n"
    )
    assert origin_head(asked, authority="a.example", path=b"/x") == (
        b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-MiXed-Case: Kept\r\nAccept: */*\r\nAuthorization: Bearer kept\r\n"
        b"Connection: close\r\n\r\n"
    )


def test_what_frames_the_body_stays_whatever_connection_says() -> None:
    asked = request(
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert b"Transfer-Encoding: chunked\r\n" in origin_head(asked, authority="a", path=b"/")


def test_of_two_framings_the_length_goes() -> None:
    asked = request(b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
    head = origin_head(asked, authority="a", path=b"/")
    assert b"Transfer-Encoding: chunked\r\n" in head
    assert b"Content-Length" not in head


@pytest.mark.parametrize(
    ("method", "path", "line"),
    [
        (b"GET", b"", b"GET / HTTP/1.0\r\n"),
        (b"GET", b"?q", b"GET /?q HTTP/1.0\r\n"),
        (b"OPTIONS", b"", b"OPTIONS * HTTP/1.0\r\n"),
        (b"OPTIONS", b"/x", b"OPTIONS /x HTTP/1.0\r\n"),
    ],
)
def test_the_request_line_is_in_origin_form(method: bytes, path: bytes, line: bytes) -> None:
    asked = request(method + b" http://a" + path + b" HTTP/1.0\r\n\r\n")
    assert origin_head(asked, authority="a", path=path).startswith(line)
