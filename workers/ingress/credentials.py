"""Whether a name and a password belong together. Neither may show in an error, a log line or a repr."""

import hmac
from collections.abc import Mapping
from hashlib import sha256


def are_known(users: Mapping[str, str], name: bytes, password: bytes) -> bool:
    """Tell whether `users` holds `name` with `password`, both in UTF-8.

    The time taken tells neither where two passwords differ nor how long the right one is, nor whether the name
    exists: digests of equal length are compared, for an unknown name too.
    """
    expected = users.get(name.decode("utf-8", "surrogateescape"))
    against = b"" if expected is None else expected.encode()
    same = hmac.compare_digest(sha256(password).digest(), sha256(against).digest())
    return same and expected is not None
