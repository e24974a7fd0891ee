r"""The access log: one line for each session that ended, as text or JSON.

A client over limits.sessions_per_source is reset before it becomes a session: it is only counted, and has no line.

How lines reach a shared stderr without blocking is `pools.net.line_sink`'s; what happened is the session's own.

Text is seventeen columns, always all of them, one space between, `-` for nothing to say (here cut in three for width):

    2026-11-23T09:15:02.118Z 3-5f0c orders 198.51.100.7:51234 - app.example:443 203.0.113.9:7400 -- -
    us=120/840/15210/2310544 bytes=512/1048576 rtt_us=181/15102 retransmits=0/2
    via=-/mumbai,singapore far=singapore/opened/1480 trace=9f86d081884c7d659a2feaa0c55ad015 early=28310

    1 when it began, UTC    5 client by PROXY header        9 errno that ended it
    2 session               6 destination asked for        10 us=handshake/resolve/connect/total
    3 listener              7 address connected to         11 bytes=forward/backward
    4 client                8 end code, two letters        12, 13 rtt_us= and retransmits= inbound/outbound leg

    14 via=gateway that asked/gateways crossed, in order
    15 far=gateway that answered/opened, or at what it failed/microseconds that it took there
    16 trace=the same at all gateways of the session
    17 early=microseconds by which it began before it was accepted, at the client's SYN

End code, after HAProxy's session state (its configuration manual, section 8.5): who ended it, then in which phase.

    C inbound leg closed or failed     c timed out waiting for the inbound leg     P we refused: a bad request
    S outbound leg closed or failed    s timed out waiting for the outbound leg    R we ran out of a resource
    K the operator ended it            I a fault of ours                           - both sides finished

    R request, destination not yet known    Q resolving its name    C connecting to it
    D data                                  L last, one direction has finished         - ended normally

JSON is one object a line, the same facts with units in the keys, null for nothing. Destinations come from clients:
in both formats whatever is not visible ASCII is written as \xNN, \uNNNN or \UNNNNNNNN, a backslash as \\.
"""

import errno
import json
import re
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from pools.net.errors import Phase, Side
from pools.net.line_sink import LineSink
from workers.settings import LogFormat

UNKNOWN: Final = -1  # a phase not reached, a leg that never was
_WORD_MAX: Final = 256  # keeps the longest line under PIPE_BUF, in JSON too, where a backslash takes two bytes
_UNSAFE: Final = re.compile(r"[^\x21-\x5b\x5d-\x7e]")
_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


class EndedBy(StrEnum):
    """Who ended a session: the first letter of its end code."""

    NORMAL = "-"
    INBOUND = "C"
    OUTBOUND = "S"
    INBOUND_TIMEOUT = "c"
    OUTBOUND_TIMEOUT = "s"
    REFUSED = "P"
    RESOURCES = "R"
    INTERNAL = "I"
    KILLED = "K"


def ended_by(side: Side, number: int) -> EndedBy:
    """Say who ended a session of which the leg `side` failed with errno `number`."""
    if number in _RESOURCES:
        return EndedBy.RESOURCES
    if number == errno.ETIMEDOUT:
        return EndedBy.INBOUND_TIMEOUT if side is Side.INBOUND else EndedBy.OUTBOUND_TIMEOUT
    return EndedBy.INBOUND if side is Side.INBOUND else EndedBy.OUTBOUND


def end_code(who: EndedBy, phase: Phase) -> str:
    """Give the two letters for a session that `who` ended in `phase`; a normal end has no phase."""
    return "--" if who is EndedBy.NORMAL else who.value + phase.value


@dataclass(slots=True)
class SessionRecord:
    """What is known of a session that ended. Not frozen, for one is made per session and freezing doubles its cost.

    Attributes:
        began_s: when it was accepted, or its SYN was seen where it began then; seconds of wall clock time since 1970.
        session: its id, unique within one life of the worker that it names.
        listener: the listener's name.
        client: the address that connected to us.
        proxied_client: the client that a PROXY protocol header named; empty without one.
        destination: what the client asked for, or the listener leads to; empty if it never came to that.
        connected: the address of the outbound leg; empty without one.
        end: see `end_code`.
        errno: the kernel's number that ended it, 0 for none.
        handshake_us: from its beginning to a known destination; UNKNOWN where not reached, as for the three below.
        resolve_us: in the resolver.
        connect_us: from the first SYN to a connected outbound leg.
        total_us: from its beginning to the end.
        forward_bytes: inbound to outbound.
        backward_bytes: outbound to inbound.
        inbound_rtt_us: the kernel's smoothed round trip time at the end; UNKNOWN without a reading.
        outbound_rtt_us: the same of the outbound leg.
        inbound_retransmits: segments sent again in the leg's life; UNKNOWN without a reading.
        outbound_retransmits: the same of the outbound leg.
        inbound_gateway: the gateway that asked for it; empty where a client did.
        outbound_gateways: those on the path that it took, or tried last, in order.
        far_gateway: which of those answered; empty without an answer.
        far_where: at what it failed there, or "opened".
        far_us: how long that took there; UNKNOWN without an answer.
        trace: what tells the session from others at all its gateways; empty where there is only one.
        early_us: from its client's SYN to accept; UNKNOWN where nothing was begun before accept.
    """

    began_s: float
    session: str
    listener: str
    client: str
    proxied_client: str = ""
    destination: str = ""
    connected: str = ""
    end: str = "--"
    errno: int = 0
    handshake_us: int = UNKNOWN
    resolve_us: int = UNKNOWN
    connect_us: int = UNKNOWN
    total_us: int = UNKNOWN
    forward_bytes: int = 0
    backward_bytes: int = 0
    inbound_rtt_us: int = UNKNOWN
    outbound_rtt_us: int = UNKNOWN
    inbound_retransmits: int = UNKNOWN
    outbound_retransmits: int = UNKNOWN
    inbound_gateway: str = ""
    outbound_gateways: tuple[str, ...] = ()
    far_gateway: str = ""
    far_where: str = ""
    far_us: int = UNKNOWN
    trace: str = ""
    early_us: int = UNKNOWN


def as_text(record: SessionRecord) -> str:
    """Give the record's seventeen columns, without a newline; never longer than PIPE_BUF."""
    r = record
    return (
        f"{_utc(r.began_s)} {_word(r.session)} {_word(r.listener)} {_word(r.client)} {_word(r.proxied_client)}"
        f" {_word(r.destination)} {_word(r.connected)} {r.end} {_errno_name(r.errno) or '-'}"
        f" us={_number(r.handshake_us)}/{_number(r.resolve_us)}/{_number(r.connect_us)}/{_number(r.total_us)}"
        f" bytes={r.forward_bytes}/{r.backward_bytes}"
        f" rtt_us={_number(r.inbound_rtt_us)}/{_number(r.outbound_rtt_us)}"
        f" retransmits={_number(r.inbound_retransmits)}/{_number(r.outbound_retransmits)}"
        f" via={_word(r.inbound_gateway)}/{_word(','.join(r.outbound_gateways))}"
        f" far={_word(r.far_gateway)}/{_word(r.far_where)}/{_number(r.far_us)} trace={r.trace or '-'}"
        f" early={_number(r.early_us)}"
    )


def as_json(record: SessionRecord) -> str:
    """Give the record as one JSON object, without a newline; never longer than PIPE_BUF."""
    r = record
    facts = {
        "time": _utc(r.began_s),
        "session": r.session,
        "listener": _word(r.listener),
        "client": _word(r.client),
        "proxied_client": _word(r.proxied_client, nothing="") or None,
        "destination": _word(r.destination, nothing="") or None,
        "connected": _word(r.connected, nothing="") or None,
        "end": r.end,
        "errno": _errno_name(r.errno) or None,
        "handshake_us": _known(r.handshake_us),
        "resolve_us": _known(r.resolve_us),
        "connect_us": _known(r.connect_us),
        "total_us": _known(r.total_us),
        "forward_bytes": r.forward_bytes,
        "backward_bytes": r.backward_bytes,
        "inbound_rtt_us": _known(r.inbound_rtt_us),
        "outbound_rtt_us": _known(r.outbound_rtt_us),
        "inbound_retransmits": _known(r.inbound_retransmits),
        "outbound_retransmits": _known(r.outbound_retransmits),
        "inbound_gateway": r.inbound_gateway or None,
        "outbound_gateways": _word(",".join(r.outbound_gateways), nothing="") or None,
        "far_gateway": r.far_gateway or None,
        "far_where": r.far_where or None,
        "far_us": _known(r.far_us),
        "trace": r.trace or None,
        "early_us": _known(r.early_us),
    }
    return json.dumps(facts, separators=(",", ":"))


class AccessLog:
    """Writes records to the worker's log lines, in one of the two forms.

    Args:
        sink: where lines go; lent. Whoever has it flushes it a few times a second.
        format: text or JSON.
    """

    __slots__ = ("_render", "_sink")

    def __init__(self, sink: LineSink, format: LogFormat) -> None:
        self._sink = sink
        self._render = as_json if format is LogFormat.JSON else as_text

    def add(self, record: SessionRecord) -> int:
        """Put one ended session's line into the buffer; writes only when much has come together, and never waits.

        Returns:
            Lines dropped by this call, for Cell.LOG_LINES_DROPPED.
        """
        return self._sink.put(self._render(record).encode("ascii") + b"\n")


def _word(text: str, *, nothing: str = "-") -> str:
    """Make one column of text that may come from a client: visible ASCII, no blank, bounded."""
    if not text:
        return nothing
    word = _UNSAFE.sub(_escaped, text[:_WORD_MAX]) if _UNSAFE.search(text) else text
    return word if len(word) <= _WORD_MAX else word[: _WORD_MAX - 3] + "..."


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == ord("\\"):
        return "\\\\"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _number(value: int) -> str:
    return str(value) if value >= 0 else "-"


def _known(value: int) -> int | None:
    return value if value >= 0 else None


def _errno_name(number: int) -> str:
    return errno.errorcode.get(number, str(number)) if number else ""


def _utc(began_s: float) -> str:
    """Write ISO 8601 UTC with milliseconds, rounded down; only the milliseconds are computed anew within a second."""
    whole_s = int(began_s)
    return f"{_utc_second(whole_s)}.{int((began_s - whole_s) * 1000):03d}Z"


@lru_cache(maxsize=64)
def _utc_second(whole_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole_s))
