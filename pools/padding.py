"""Padding: bytes that mean nothing, sent so that a leg's window grows before a session needs it.

An opener sends some over a fresh leg, then a PING that asks for as much; the acceptor answers that with padding and,
behind it, PONG. So both directions have been through their slow start, and the opener knows when. It takes no rights.
"""

import errno
from typing import Final

import gevent

from pools.frame_bodies import PADDING_LIMIT, Ping, Pong
from pools.frames import FrameType, Header
from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.errors import LegError, Phase, ProtocolError, Side
from pools.net.stream import StreamClosed, StreamFailed

WARMING_S: Final = 60.0
"""For a leg to be warmed: what 16 MiB each way take at 5 Mbit/s."""

_FRAME_BYTES: Final = 65_536
_NOTHING: Final = bytes(_FRAME_BYTES)


def warm(leg: PoolLeg, count: int, *, limit_s: float = WARMING_S) -> None:
    """Send `count` bytes of padding over a fresh leg and have as many sent back, parking this greenlet.

    Args:
        leg: an opener's, idle, the caller's; nobody else reads from it meanwhile.
        count: 1 to PADDING_LIMIT. The other end may send less back.
        limit_s: seconds.

    Raises:
        LegError: the leg broke, or took too long. It is closed then, as it is when this greenlet is ended.
    """
    timeout = gevent.Timeout.start_new(limit_s)
    try:
        _send(leg, count)
        leg.say(Ping(0, int(monotonic_s() * 1e6), count))
        while leg.state.awaits_pong:
            leg.wait_readable()
            leg.hear_open()
            gevent.sleep(0)  # padding may come faster than others get their turn
    except BaseException as error:
        leg.close()
        if error is timeout:
            raise _failed(leg, errno.ETIMEDOUT) from None
        if isinstance(error, StreamFailed | ProtocolError):
            raise _failed(leg, error.errno if isinstance(error, StreamFailed) else errno.EPROTO) from error
        raise
    finally:
        timeout.close()


def respond(leg: PoolLeg, ping: Ping) -> None:
    """Answer a PING that asks for padding, in a greenlet of its own: a `PoolLeg.padder`, for acceptors.

    However often an opener asks, a leg gets PADDING_LIMIT bytes in all.
    """
    leg.is_padding = True
    gevent.spawn(_respond, leg, ping)


def _respond(leg: PoolLeg, ping: Ping) -> None:
    count = min(ping.padding, PADDING_LIMIT - leg.padded_bytes)
    leg.padded_bytes += count
    try:
        _send(leg, count)
        leg.is_padding = False
        leg.say(Pong.to(ping, leg.links()))
    except StreamClosed:
        return
    except (StreamFailed, ProtocolError):
        leg.close()


def _send(leg: PoolLeg, count: int) -> None:
    """Write padding, waiting for room; what others say meanwhile goes out between two frames of it."""
    while count > 0:
        length = min(count, _FRAME_BYTES)
        leg.settle()
        leg.state.sent(FrameType.PAD, 0)
        leg.mid_frame = True
        leg.begin_payload(Header(FrameType.PAD, 0, length).pack())
        leg.send_all(memoryview(_NOTHING)[:length])
        leg.mid_frame = False
        count -= length
    leg.settle()


def _failed(leg: PoolLeg, number: int) -> LegError:
    return LegError(Side.OUTBOUND, Phase.CONNECT, number, f"padding to gateway {leg.peer}", retryable=True)
