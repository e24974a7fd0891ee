"""One edge-triggered epoll per process, watched by gevent's hub, and the sockets registered with it.

gevent's own watchers are level-triggered: every wait is an epoll_ctl(2) to begin and one to end. Here a socket is
registered once, for its whole life; what the kernel says of it is kept in its `Stream` until somebody reads or
writes. What is done with the bytes is not decided here.
"""

import select
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, overload

import gevent
from greenlet import getcurrent

from pools.net.sockopts import Socket
from pools.net.stream import Stream, Wake

if TYPE_CHECKING:
    from gevent.hub import Hub

AnyStream = TypeVar("AnyStream", bound=Stream)

_EDGES: Final = select.EPOLLIN | select.EPOLLPRI | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_READ_EVENTS: Final = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_LATE_EVENTS: Final = select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_WRITE_EVENTS: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_BATCH: Final = 256
_ROUNDS: Final = 16  # batches before timers and other watchers of the hub get their turn


class Readiness:
    """The epoll of one process. Make it in the process that uses it, after the fork.

    Args:
        on_fault: told of an exception that a wake let out, with the stream if it was one's: a bug, not a network event.
    """

    def __init__(self, *, on_fault: Callable[[Stream | None], None]) -> None:
        self._hub: Hub = gevent.get_hub()
        self._epoll = select.epoll()
        self._streams: dict[int, Stream] = {}
        self._newborn: dict[int, Stream] = {}  # opened since the last poll: events of that one are not theirs
        self._next_turn: list[Wake] = []
        self._dispatching = False
        self._on_fault = on_fault
        self._watcher = self._hub.loop.io(self._epoll.fileno(), 1)
        self._watcher.start(self._dispatch)
        self._turns = self._hub.loop.timer(0.0)

    def __len__(self) -> int:
        return len(self._streams) + len(self._newborn)

    @overload
    def open(self, sock: Socket) -> Stream: ...

    @overload
    def open(self, sock: Socket, kind: type[AnyStream]) -> AnyStream: ...

    def open(self, sock: Socket, kind: type[Stream] = Stream) -> Stream:
        """Register a non-blocking socket for its whole life. The stream, of this kind, owns it from here on."""
        fd = sock.fileno()
        stream = kind(self, sock, fd)
        self._newborn[fd] = stream
        self._epoll.register(fd, _EDGES)
        return stream

    def watch(self, fd: int, on_readable: Wake) -> Callable[[], None]:
        """Call `on_readable` in the hub as long as `fd`, a listening socket, has something to accept.

        Level-triggered, so a burst of connections may be taken in portions.

        Returns:
            A function that stops it. The descriptor stays the caller's.
        """
        watcher = self._hub.loop.io(fd, 1)
        watcher.start(on_readable)

        def stop() -> None:
            watcher.stop()
            watcher.close()

        return stop

    def park(self) -> None:
        """Give control to the hub. Somebody must hold this greenlet's `switch`, or it sleeps for ever."""
        self._hub.switch()

    def take_turns(self) -> None:
        """Let every other socket that is ready go first, then go on: for whoever has moved its share."""
        self.defer(getcurrent().switch)
        self._hub.switch()

    def defer(self, wake: Wake) -> None:
        """Call `wake` in the hub soon, after the events at hand. It must neither block nor raise."""
        self._next_turn.append(wake)
        if not self._dispatching and len(self._next_turn) == 1:
            self._turns.start(self._dispatch)

    def forget(self, stream: Stream) -> None:
        """Take a stream out, because its socket is about to be closed (which ends the kernel's registration)."""
        if self._newborn.pop(stream.fd, None) is None:
            del self._streams[stream.fd]
        if stream.on_readable is not None or stream.on_writable is not None:
            self.defer(partial(_wake_waiters, stream))

    def release(self, stream: Stream) -> None:
        """Take a stream out whose socket lives on in another process: closing our copy would not end its events."""
        self._epoll.unregister(stream.fd)
        self.forget(stream)

    def close(self) -> None:
        """Stop watching. The streams stay their owners'."""
        self._watcher.stop()
        self._watcher.close()
        self._turns.stop()
        self._turns.close()
        self._epoll.close()

    def _dispatch(self) -> None:
        """Take events until none is left, at most so many; runs in the hub."""
        self._dispatching = True
        for _ in range(_ROUNDS):
            if self._newborn:
                self._streams.update(self._newborn)
                self._newborn.clear()
            more = self._take_batch()
            if self._next_turn:
                self._run_turn()
            elif not more:
                break
        self._dispatching = False
        if self._next_turn:
            self._turns.start(self._dispatch)

    def _take_batch(self) -> bool:
        """Handle one batch of events and tell whether there may be more at once. The hottest loop of a worker."""
        streams = self._streams
        events = self._epoll.poll(0, _BATCH)
        for fd, mask in events:
            stream = streams.get(fd)
            if stream is None:  # closed by what an earlier event of this batch caused, its number perhaps in use again
                continue
            try:
                if mask & _READ_EVENTS:
                    stream.readable = True
                    if mask & _LATE_EVENTS:
                        stream.note_end(mask)
                    if stream.on_readable is not None:
                        stream.on_readable()
                if mask & _WRITE_EVENTS and stream.on_writable is not None:
                    stream.on_writable()
            except Exception:  # noqa: BLE001  # the top of a session: one session's bug is not another's
                self._on_fault(stream)
        return len(events) == _BATCH

    def _run_turn(self) -> None:
        turn, self._next_turn = self._next_turn, []
        for wake in turn:
            try:
                wake()
            except Exception:  # noqa: BLE001  # as above: what else was deferred must not be lost
                self._on_fault(None)


def _wake_waiters(stream: Stream) -> None:
    for wake in (stream.on_readable, stream.on_writable):
        if wake is not None:
            wake()
