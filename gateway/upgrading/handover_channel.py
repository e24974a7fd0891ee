"""One end of the channel between an old supervisor and a new one, in the event loop of either. Nothing here waits."""

import logging
import selectors
import socket
from collections import deque
from collections.abc import Callable, Sequence

from gateway.peer_process import peer_process
from gateway.upgrading import handover
from pools.net.errors import ProtocolError
from pools.net.fd_passing import ChannelError, close_all, receive_message, send_message

_log = logging.getLogger(__name__)


class HandoverChannel:
    """Says and hears the words of `gateway.upgrading.handover`. What does not go at once waits in its order.

    Args:
        sock: SOCK_SEQPACKET, connected; owned from here on.
        selector: each key's data is called without arguments when its descriptor is ready. Borrowed.

    Attributes:
        on_message: called with each message. None carries descriptors once supervisors have event loops.
        on_end: called once, when the other end is gone or says what makes no sense; then this end is closed.
        peer_pid: process at the other end.
    """

    def __init__(
        self,
        sock: socket.socket,
        selector: selectors.BaseSelector,
        *,
        on_message: Callable[[handover.Message], None] = lambda _: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._socket = sock
        self._selector = selector
        self.on_message = on_message
        self.on_end = on_end
        self.peer_pid = peer_process(sock).pid
        self._unsent: deque[tuple[bytes, Sequence[int]]] = deque()
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ, self._turn)

    def fileno(self) -> int:
        """Give the descriptor, -1 once it is closed."""
        return self._socket.fileno()

    def say(self, message: handover.Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, in time; one to a channel that has ended goes nowhere.

        Args:
            descriptors: stay the caller's, and open until this channel is closed.
        """
        self._unsent.append((handover.encode(message), descriptors))
        if self.fileno() >= 0:
            self._send()

    def close(self) -> None:
        """Close this end; the other hears the end."""
        if self.fileno() >= 0:
            self._selector.unregister(self._socket)
            self._socket.close()

    def leave(self) -> None:
        """Close this end in a forked child; the epoll is shared, and stays as it is."""
        self._socket.close()

    def hear(self) -> None:
        """Take all that has come, which happens by itself while the event loop turns."""
        while self.fileno() >= 0 and self._hear():
            pass

    def _turn(self) -> None:
        if self._unsent and self.fileno() >= 0:
            self._send()
        self.hear()

    def _send(self) -> None:
        try:
            while self._unsent:
                send_message(self._socket, *self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            pass
        except ChannelError as error:
            _log.debug("nobody hears: %s", error)
            self._unsent.clear()  # the end is read in its turn, after what came before it
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._selector.modify(self._socket, events, self._turn)

    def _hear(self) -> bool:
        try:
            payload, descriptors = receive_message(self._socket)
            close_all(descriptors)
            if payload:
                self.on_message(handover.decode(payload))
                return True
        except BlockingIOError:
            return False
        except (ChannelError, ProtocolError) as error:
            _log.error("the other supervisor: %s", error)
        self.close()
        self.on_end()
        return False
