"""The process log: what the gateway says of itself, on stderr. One line a session is workers.access_log's.

Every process calls `configure` once, a child again after the fork, and then uses the standard library's logging.
A reader of stderr that stops reading never stops a process: lines wait in a bounded buffer and are then dropped.
"""

import json
import logging
import re
from datetime import UTC, datetime

from pools.net.line_sink import LineSink
from workers.settings import LogFormat

_STDERR = 2
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def configure(format: LogFormat, role: str, *, level: int = logging.INFO, descriptor: int = _STDERR) -> None:
    """Send this process's log to `descriptor`, every line with its time and `role`.

    Replaces what an earlier call, or the parent before the fork, had set up.

    Args:
        format: text or JSON.
        role: who speaks, as in "supervisor", "worker 0", "admin".
        level: the least that is said, a number of the logging module.
        descriptor: where lines go; borrowed.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    handler = SinkHandler(LineSink(descriptor))
    handler.setFormatter(JsonFormatter(role) if format is LogFormat.JSON else TextFormatter(role))
    root.addHandler(handler)
    root.setLevel(level)


class SinkHandler(logging.Handler):
    """A logging handler before a LineSink, which it owns."""

    def __init__(self, sink: LineSink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record at once, or hold it while nobody reads."""
        try:
            self._sink.put(self.format(record).encode(errors="backslashreplace") + b"\n")
        except (TypeError, ValueError):  # arguments that do not fit the message: reported the library's own way
            self.handleError(record)
            return
        self.flush()

    def flush(self) -> None:
        """Write what is held as far as the reader takes it; the library calls this once more at the end."""
        self._sink.flush()

    def close(self) -> None:
        """Give up the sink and what it still holds."""
        self._sink.close()
        super().close()


class TextFormatter(logging.Formatter):
    """`TIME ROLE LEVEL message`; further lines of a message or traceback are indented, so none can pass for another."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Give the record's text, without the last newline."""
        parts = [record.getMessage(), *_traceback(self, record)]
        head = f"{_utc(record.created)} {self._role} {record.levelname.lower()}: "
        return head + _visible("\n".join(parts)).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """One object a line: time, role, level, logger, message, and traceback where there is one."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Give the record as JSON, without a newline."""
        facts = {
            "time": _utc(record.created),
            "role": self._role,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for traceback in _traceback(self, record):
            facts["traceback"] = traceback
        return json.dumps(facts, separators=(",", ":"))


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    return [formatter.formatException(record.exc_info)] if record.exc_info else []


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _visible(text: str) -> str:
    """Write control characters, other than the newline, as \\xNN: a name in a message must not move the cursor."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
