"""The access log's text lines, taken apart by column as its users do. Written from the log's documentation."""

import re
from typing import Final

COLUMNS: Final = ("began", "session", "listener", "client", "proxied", "destination", "connected", "end", "errno")
NAMED_COLUMNS: Final = ("us", "bytes", "rtt_us", "retransmits", "via", "far", "trace", "early")


def line_of(listener: str) -> str:
    """Give the pattern of a whole line of `listener`, with a group for each column."""
    columns = {name: f"(?P<{name}>[^ =]+)" for name in COLUMNS} | {"listener": f"(?P<listener>{re.escape(listener)})"}
    named = [f"{name}=(?P<{name}>[^ =]+)" for name in NAMED_COLUMNS]
    return f"^{' '.join([*columns.values(), *named])}$"
