"""Names and passwords."""

import pytest

from workers.ingress.credentials import are_known

USERS = {"alice": "open sesame", "zoë": "pässword", "empty": ""}


@pytest.mark.parametrize(("name", "password"), list(USERS.items()))
def test_a_user_with_the_right_password_is_known(name: str, password: str) -> None:
    assert are_known(USERS, name.encode(), password.encode())


@pytest.mark.parametrize(
    ("name", "password"),
    [(b"alice", b"open"), (b"alice", b""), (b"bob", b"open sesame"), (b"bob", b""), (b"", b""), (b"zo\xeb", b"\xff")],
)
def test_anyone_else_is_not(name: bytes, password: bytes) -> None:
    assert not are_known(USERS, name, password)
