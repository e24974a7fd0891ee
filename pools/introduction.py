"""Says and hears the handshake on a fresh leg. What is said, and whether it is believed, is `pools.handshake`'s."""

import errno
import os

from pools.frames import Frame
from pools.handshake import Handshake
from pools.leg import PoolLeg
from pools.net.errors import ProtocolError
from pools.net.stream import StreamFailed

_RECEIVE_BYTES = 1024  # a whole handshake has fewer; a stranger fills no more than that


def introduce(leg: PoolLeg, handshake: Handshake) -> str:
    """Go through `handshake` on `leg`, parking this greenlet; the deadline is the caller's.

    Returns:
        The name of the gateway at the other end, proved.

    Raises:
        ProtocolError: what came is no handshake, or proves nothing. Close the leg without a word.
        StreamFailed: the connection broke, or ended: the other gateway believed nothing.
        StreamClosed: we closed it meanwhile.
    """
    leg.send_all(handshake.begin())
    while handshake.peer_name is None:
        leg.send_all(handshake.receive(_next_frame(leg)))
    return handshake.peer_name


def _next_frame(leg: PoolLeg) -> Frame:
    while True:
        if not leg.rest:
            leg.rest = leg.receive(_RECEIVE_BYTES)
            if not leg.rest:
                raise StreamFailed(OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
        item, left = leg.reader.take(memoryview(leg.rest))
        leg.rest = bytes(left)
        if isinstance(item, Frame):
            return item
        if item is not None:
            raise ProtocolError(f"expected a frame of the handshake; found {item.header.type.name}")
