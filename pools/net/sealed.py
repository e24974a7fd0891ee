"""What a child that lives is told anew, on its way from the supervisor: a pickle in memory that nobody can change.

A pickle can make whoever reads it do anything, so where it comes from is all that matters. It comes over the child's
channel, a socket pair without a name, of which the supervisor alone has the other end. The supervisor is the process
that the child was forked from, of the same user, and what it sends here it made itself, of settings that it had judged
already: it could as well have forked the child with them. A child of another release is never told: an upgrade has
its own. The seals say that what was read once is what the supervisor wrote.
"""

import fcntl
import os
import pickle
from typing import Final, TypeVar

from pools.net.errors import Fault, ProtocolError

Settings = TypeVar("Settings")

LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Far beyond what a configuration takes, passwords of a hundred thousand users included."""

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def seal(settings: object) -> int:
    """Write `settings` down for children that live.

    Returns:
        A descriptor, the caller's, that may be sent to any number of them.

    Raises:
        OSError: there is no memory, or no descriptor left.
    """
    descriptor = os.memfd_create("midmile-settings", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            pickle.dump(settings, file, pickle.HIGHEST_PROTOCOL)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unseal(descriptor: int, kind: type[Settings]) -> Settings:
    """Read what `seal` wrote, which must be of this `kind`. The descriptor stays the caller's.

    Raises:
        ProtocolError: it is no sealed memory, or too much of it, or holds something else: a bug, nothing was done.
    """
    size = os.fstat(descriptor).st_size
    if not (_is_sealed(descriptor) and 0 < size <= LIMIT_BYTES):
        raise _wrong(f"sealed memory of 1 to {LIMIT_BYTES} bytes", f"{size} bytes")
    try:
        settings = pickle.loads(os.pread(descriptor, size, 0))  # the offset is shared with other children
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise _wrong("a pickle", str(error)) from error
    if not isinstance(settings, kind):
        raise _wrong(kind.__name__, type(settings).__name__)
    return settings


def _is_sealed(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:  # no memory file
        return False


def _wrong(expected: str, found: str) -> ProtocolError:
    return ProtocolError(f"expected {expected} with CONFIGURE; found {found}", fault=Fault.OURS)
