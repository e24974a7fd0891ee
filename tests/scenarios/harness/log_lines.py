"""What a program says on stderr, read all the time so that it never waits for the test. Knows nothing of programs."""

import re
import threading
import time
from typing import IO


class LogLines:
    """Lines of a stream, whose owner it is from here on, with waits for a line that is there or comes in time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._ended = False
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str, *, count: int = 1, limit_s: float) -> list[re.Match[str]]:
        """Return the matches of the lines that `pattern` is found in, once there are at least `count` of them."""
        deadline_s = time.monotonic() + limit_s
        with self._more:
            while len(found := self._matches(pattern)) < count:
                left_s = deadline_s - time.monotonic()
                more = not self._ended and left_s > 0 and self._more.wait(left_s)
                assert more, f"expected {count} of {pattern!r} in the log; found {len(found)} in:\n{self.text()}"
            return found

    def text(self) -> str:
        """Give everything that was said so far."""
        return "\n".join(self._lines)

    def close(self, limit_s: float) -> None:
        """Wait for the stream's end, which comes when the last process that writes to it is gone."""
        self._reader.join(limit_s)
        assert not self._reader.is_alive(), f"somebody still holds the log open:\n{self.text()}"
        self._stream.close()

    def _matches(self, pattern: str) -> list[re.Match[str]]:
        return [match for line in self._lines if (match := re.search(pattern, line))]

    def _read(self) -> None:
        for raw in self._stream:
            with self._more:
                self._lines.append(raw.decode(errors="replace").rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()
