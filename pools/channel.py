"""One end of the channel between a worker and the broker: what is said gets there in order, and legs along with it.

Carries `pools.broker_messages` by `pools.net.fd_passing`; what they mean is not known here. Nothing waits: what the
kernel does not take now goes out as soon as the other end has read.
"""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import gevent

from pools import idle_leg
from pools.broker_messages import FromBroker, FromWorker, Full, Give
from pools.leg import PoolLeg
from pools.net.errors import MidmileError, ProtocolError
from pools.net.fd_passing import ChannelClosed, ChannelError, close_all, receive_message, send_message
from pools.net.readiness import Readiness

Message = TypeVar("Message", bound=FromWorker | FromBroker)

_READ: Final = 1
_WRITE: Final = 2
_BATCH: Final = 32  # messages before others in the loop get their turn


class Channel(Generic[Message]):
    """One end, which speaks to the other as long as both live. Owns the socket, and the legs that wait to be sent.

    Args:
        sock: SOCK_SEQPACKET, non-blocking.
        readiness: where legs that arrive are registered.
        decode: `decode_from_worker` or `decode_from_broker`.
        hear: called in the hub with each message and its legs, which are then its own. It raises ProtocolError, with
            nothing changed, where a message cannot be; that ends the channel.
        end: called once when nothing more will come, with the reason, which is None when the other end has just gone,
            and the legs that were not sent, which are then its own.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        readiness: Readiness,
        decode: Callable[..., Message],
        hear: Callable[[Message, tuple[PoolLeg, ...]], None],
        end: Callable[[MidmileError | None, tuple[PoolLeg, ...]], None],
    ) -> None:
        self._socket = sock
        self._readiness = readiness
        self._decode = decode
        self._hear = hear
        self._end = end
        self._is_deaf = False
        self._outbox: deque[tuple[bytes, tuple[PoolLeg, ...]]] = deque()
        loop = gevent.get_hub().loop
        self._input = loop.io(sock.fileno(), _READ)
        self._room = loop.io(sock.fileno(), _WRITE)
        self._input.start(self._read)

    def __repr__(self) -> str:
        return f"<Channel fd={self._socket.fileno()} waiting={len(self._outbox)}>"

    @property
    def is_congested(self) -> bool:
        """Whether something waits because the other end has not read what was said before."""
        return bool(self._outbox)

    def say(self, payload: bytes, legs: Sequence[PoolLeg] = ()) -> None:
        """Send a message, now or when there is room. Legs are this channel's until they are sent, or it ends."""
        self._outbox.append((payload, tuple(legs)))
        if len(self._outbox) == 1:
            self._flush()

    def say_now(self, payload: bytes, legs: Sequence[PoolLeg] = ()) -> bool:
        """Send a message now or not at all, and tell which. If not, the legs stay the caller's."""
        if self._outbox or self._socket.fileno() < 0:
            return False
        try:
            self._send(payload, legs)
        except (BlockingIOError, ChannelError):
            return False
        return True

    def read_out(self) -> None:
        """Hear all that has arrived, at once: before this end is closed."""
        while self._read_one():
            pass

    def stop_hearing(self) -> None:
        """Hear all that has arrived, and nothing more: what the other end says from now on stays with it."""
        self._is_deaf = True
        self._input.stop()
        self._socket.shutdown(socket.SHUT_RD)
        self.read_out()

    def close(self) -> tuple[PoolLeg, ...]:
        """Close this end; calling it again does nothing. `end` is not called.

        Returns:
            The legs that were not sent, the caller's.
        """
        if self._socket.fileno() < 0:
            return ()
        for watcher in (self._input, self._room):
            watcher.stop()
            watcher.close()
        self._socket.close()
        unsent = tuple(leg for _, legs in self._outbox for leg in legs)
        self._outbox.clear()
        return unsent

    def _send(self, payload: bytes, legs: Sequence[PoolLeg]) -> None:
        send_message(self._socket, payload, [leg.fd for leg in legs])
        for leg in legs:
            leg.on_readable = None
            leg.hand_over()

    def _flush(self) -> None:
        while self._outbox:
            try:
                self._send(*self._outbox[0])
            except BlockingIOError:
                self._room.start(self._flush)
                return
            except ChannelClosed:  # what the other end had said is heard first, and then its end
                break
            except ChannelError as error:
                self._fail(error)
                return
            self._outbox.popleft()
        self._room.stop()

    def _read(self) -> None:
        for _ in range(_BATCH):
            if not self._read_one():
                return

    def _read_one(self) -> bool:
        """Hear one message; False where none is left, or the channel is over."""
        if self._socket.fileno() < 0:
            return False
        try:
            payload, descriptors = receive_message(self._socket)
            if payload:
                self._take(payload, descriptors)
                return True
        except BlockingIOError:
            return False
        except ChannelClosed:
            pass
        except (ChannelError, ProtocolError) as error:
            self._fail(error)
            return False
        if not self._is_deaf:
            self._fail(None)
        return False

    def _take(self, payload: bytes, descriptors: list[int]) -> None:
        try:
            message = self._decode(payload, descriptors=len(descriptors))
        except ProtocolError:
            close_all(descriptors)
            raise
        legs = self._legs(message, descriptors)
        try:
            self._hear(message, legs)
        except ProtocolError:
            idle_leg.retire_all(legs)
            raise

    def _legs(self, message: FromWorker | FromBroker, descriptors: list[int]) -> tuple[PoolLeg, ...]:
        if not isinstance(message, Give | Full):
            return ()
        return tuple(
            idle_leg.received(descriptor, message.peer, card, readiness=self._readiness)
            for descriptor, card in zip(descriptors, message.legs, strict=True)
        )

    def _fail(self, error: MidmileError | None) -> None:
        if self._socket.fileno() >= 0:
            self._end(error, self.close())
