"""Files with secrets, read only if nobody else may: the mode, and the owner, are judged before the content is."""

import os
import stat
from pathlib import Path

from pools.net.errors import Problem


def read_private(path: Path, *, key: str, limit_bytes: int, uid: int | None = None) -> tuple[bytes, list[Problem]]:
    """Read a file of mode 0600 or less, judged by its descriptor so that nobody can change it in between.

    Args:
        key: the key of the configuration that named it, for the problems.
        limit_bytes: how long it may be.
        uid: the user whose it may be, beside root; None where that does not matter.

    Returns:
        The content, and what is wrong with the file, all of it; never both.
    """
    try:
        # Without O_NONBLOCK a named pipe would hold the start for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if problems := _problems(os.fstat(file.fileno()), key=key, uid=uid):
                return b"", problems
            content = file.read(limit_bytes + 1)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        return b"", [Problem(key, "must name a file that this user can read", said)]
    if len(content) > limit_bytes:
        return b"", [Problem(key, f"must name a file of at most {limit_bytes} bytes", "more")]
    return content, []


def _problems(facts: os.stat_result, *, key: str, uid: int | None) -> list[Problem]:
    if not stat.S_ISREG(facts.st_mode):
        return [Problem(key, "must name a regular file", "something else")]
    problems = []
    if (mode := stat.S_IMODE(facts.st_mode)) & 0o077:
        problems.append(Problem(key, "must name a file that only its owner may use, mode 0600", f"mode {mode:04o}"))
    if uid is not None and facts.st_uid not in (0, uid):
        problems.append(Problem(key, f"must name a file of user {uid} or of root", f"user {facts.st_uid}"))
    return problems
