"""A real gateway whose workers do little: the program that the supervisor's tests run in a process of its own.

A client says one word. "who": the worker's slot and pid. "stay": a session until the client closes, each line echoed.
"hang": the worker's loop stops for good. "told": how many sessions it may have, and how many workers there are. "ask":
what the broker answers to the worker, on the channel between them.

What is wished comes as JSON, and with each reload again from the file that "again" names, as far as it is another wish
by then. A worker that is told of DIE_AT sessions dies of it.

The broker is there if there is a peer. It answers with the slot of the channel, its pid and its origin.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from gateway.child import AdminPost
from gateway.config import configuration
from gateway.config.settings import GatewaySettings
from gateway.launch import launch
from gateway.upgrading import upgrade
from pools.broker_post import BrokerPost
from pools.net.clock import monotonic_ns
from pools.net.endpoint import Endpoint
from pools.net.errors import ChildError
from pools.net.fd_passing import close_all, receive_message, send_message
from pools.net.link_board import LinkCell
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, ChildState
from pools.net.sealed import unseal
from pools.peer import Peer
from workers.operator_wire import SessionRow, row_frames
from workers.post import Post
from workers.settings import WorkerSettings

DIE_AT = 666


class SmallWorker:
    def __init__(self, post: Post) -> None:
        self.post = post
        self.listeners = list(post.listeners)
        self.staying: list[socket.socket] = []
        self.broker: socket.socket | None = None
        self.is_held = post.held

    def begin(self) -> None:
        self.is_held = False
        self.post.row[Cell.STATE] = ChildState.READY
        send_message(self.post.channel, ReportMessage(Report.READY).encode())

    def run(self) -> int:
        if self.is_held:
            send_message(self.post.channel, ReportMessage(Report.HELD).encode())
        else:
            self.begin()
        while self.is_held or self.listeners or self.staying:
            self.post.row[Cell.HEARTBEAT_NS] = monotonic_ns()
            self.post.row[Cell.SESSIONS] = len(self.staying)
            listeners = [] if self.is_held else self.listeners
            ready, _, _ = select.select([self.post.channel, *listeners, *self.staying], [], [], 0.1)
            for sock in ready:
                self.serve(sock)
        return 0

    def serve(self, sock: socket.socket) -> None:
        if sock is self.post.channel:
            self.obey()
        elif sock in self.listeners:
            self.accept(sock)
        elif sock in self.staying:
            line = sock.recv(100)
            sock.sendall(line)
            if not line:
                self.staying.remove(sock)
                sock.close()

    def accept(self, listener: socket.socket) -> bool:
        """Serve who comes first; tell whether there was anybody: another supervisor's worker may have been faster."""
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return False
        self.post.row.add(Cell.SESSIONS_TOTAL)
        connection.setblocking(True)
        word = connection.recv(100)
        if word == b"stay":
            self.staying.append(connection)
            connection.sendall(b"staying")
            return True
        if word == b"hang":
            connection.sendall(b"hanging")
            hang()
        with connection:
            connection.sendall(self.answer(word))
        return True

    def answer(self, word: bytes) -> bytes:
        if word == b"told":
            return b"%d %d" % (self.post.settings.limits.sessions, self.post.settings.workers)
        return self.ask() if word == b"ask" else b"%d %d" % (self.post.slot, os.getpid())

    def ask(self) -> bytes:
        """Ask the broker that lives: where the channel has ended, wait for the next one."""
        while True:
            answer = b""
            with suppress(OSError):  # reset: the broker died with a question unread
                if self.broker is not None:
                    self.broker.sendall(b"who")
                    answer = self.broker.recv(100)
            if answer:
                return b"%d %d %d %b" % (self.post.slot, os.getpid(), self.post.origin, answer)
            select.select([self.post.channel], [], [])
            self.obey()

    def obey(self) -> None:
        payload, descriptors = receive_message(self.post.channel)
        message = OrderMessage.decode(payload) if payload else OrderMessage(Order.STOP)
        order = message.order
        if order is Order.CONFIGURE:
            self.configure(descriptors, listeners=message.listeners)
            return
        if order is Order.CHANNEL:
            if self.broker is not None:
                self.broker.close()
            self.broker = socket.socket(fileno=descriptors.pop())
            self.broker.setblocking(True)
            return
        if order is Order.BEGIN:
            self.begin()
            return
        self.show(descriptors)
        if order is not Order.SESSIONS:
            self.drain(lingers=message.linger_s > 0)
        if order is Order.STOP:
            self.staying.clear()

    def show(self, descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as operator:
                row = SessionRow("small", "192.0.2.1:50000", "192.0.2.2:443", 61.0, 2048, 10, 1500, 0, 90_000, 3)
                operator.sendall(b"".join(row_frames([row])))

    def drain(self, *, lingers: bool) -> None:
        self.is_held = False
        self.post.row[Cell.STATE] = ChildState.DRAINING
        for listener in self.listeners:
            while lingers and self.accept(listener):
                pass
            listener.close()
        self.listeners.clear()

    def configure(self, descriptors: list[int], *, listeners: int) -> None:
        settings = unseal(descriptors[0], WorkerSettings)
        if settings.limits.sessions == DIE_AT:
            os._exit(7)
        for sock in self.listeners:
            sock.close()
        self.listeners = [socket.socket(fileno=number) for number in descriptors[1 : listeners + 1]]
        close_all([descriptors[0], *descriptors[listeners + 1 :]])
        self.post = replace(self.post, settings=settings, listeners=tuple(self.listeners))
        send_message(self.post.channel, ReportMessage(Report.CONFIGURED).encode())


class SmallBroker:
    def __init__(self, post: BrokerPost) -> None:
        self.post = post
        self.workers: dict[int, socket.socket] = {}
        self.is_over = False

    def run(self) -> int:
        self.post.row[Cell.STATE] = ChildState.READY
        for number in self.post.links.numbers:  # as if it had legs, which a new supervisor waits for
            self.post.links.link(number).add(LinkCell.FILLED_TOTAL)
        send_message(self.post.channel, ReportMessage(Report.READY).encode())
        while not self.is_over:
            self.post.row[Cell.HEARTBEAT_NS] = monotonic_ns()
            ready, _, _ = select.select([self.post.channel, *self.workers.values()], [], [], 0.1)
            if self.post.channel in ready:
                self.obey()
            for slot in [slot for slot, channel in self.workers.items() if channel in ready]:
                self.answer(slot)
        send_message(self.post.channel, ReportMessage(Report.DRAINED).encode())
        return 0

    def obey(self) -> None:
        payload, descriptors = receive_message(self.post.channel)
        message = OrderMessage.decode(payload) if payload else OrderMessage(Order.STOP)
        if message.order is Order.CHANNEL:
            if message.slot in self.workers:
                self.workers.pop(message.slot).close()
            self.workers[message.slot] = socket.socket(fileno=descriptors.pop())
        self.is_over = message.order is Order.STOP

    def answer(self, slot: int) -> None:
        if self.workers[slot].recv(100):
            self.workers[slot].sendall(b"%d %d %d" % (slot, os.getpid(), self.post.origin))
        else:
            self.workers.pop(slot).close()


def hang() -> NoReturn:
    while True:
        signal.pause()


def cannot_boot(post: Post) -> int:
    raise ChildError(f"slot {post.slot} lacks what it needs", exit_code=3)


def cannot_boot_broker(post: BrokerPost) -> int:
    raise ChildError(f"no leg to {post.settings.peers[0].name}", exit_code=3)


def never_able(post: Post) -> int:
    print("a worker that is never able", file=sys.stderr, flush=True)
    select.select([post.channel], [], [])
    return 0


def able_when_told(post: Post) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    print(f"a worker that waits to be able, pid {os.getpid()}", file=sys.stderr, flush=True)
    signal.sigwait([signal.SIGUSR1])
    return SmallWorker(post).run()


def begin_when_it_drains(post: Post) -> int:
    send_message(post.channel, ReportMessage(Report.HELD).encode())
    while (payload := next_order(post.channel)) and OrderMessage.decode(payload).order is not Order.STOP:
        if OrderMessage.decode(payload).order is Order.DRAIN:
            send_message(post.channel, ReportMessage(Report.READY).encode())
            print("a worker that is ready too late", file=sys.stderr, flush=True)
        else:
            print("a worker that does not begin yet", file=sys.stderr, flush=True)
    return 0


def next_order(channel: socket.socket) -> bytes:
    select.select([channel], [], [])
    return receive_message(channel)[0]


def stay_in_office(post: AdminPost) -> int:
    """Serve no page, and do not end when told to."""
    send_message(post.channel, ReportMessage(Report.READY).encode())
    next_order(post.channel)
    print("an admin child that does not end", file=sys.stderr, flush=True)
    hang()


def fail_in_office(post: AdminPost) -> int:
    send_message(post.channel, ReportMessage(Report.HELD).encode())
    select.select([post.channel], [], [])
    raise ChildError("no page can be shown", exit_code=3)


def stumble(post: Post) -> int:
    raise RuntimeError("nobody expected this")


MAINS = {
    "serve": lambda post: SmallWorker(post).run(),
    "cannot boot": cannot_boot,
    "never able": never_able,
    "able when told": able_when_told,
    "begin when it drains": begin_when_it_drains,
    "stumble": stumble,
}
BROKER_MAINS = {"serve": lambda post: SmallBroker(post).run(), "cannot boot": cannot_boot_broker}


ADMIN_MAINS = {"fail in office": fail_in_office, "does not end": stay_in_office}


def settings_of(wish: dict[str, Any]) -> GatewaySettings:
    settings = configuration.default()
    bind = Endpoint("127.0.0.1", wish["port"])
    listen = replace(settings.listens[0], bind=bind, early_syn=wish["early_syn"])
    return replace(
        settings,
        workers=wish["workers"],
        runtime_dir=Path(wish["runtime_dir"]),
        admin=Endpoint("127.0.0.1", 0) if wish["has_admin"] else None,
        listens=(listen, *(replace(listen, name=name) for name in wish["more_listeners"])),
        limits=replace(settings.limits, sessions=wish["sessions"]),
        timeouts=replace(settings.timeouts, worker_heartbeat=wish["heartbeat_s"]),
        health=replace(settings.health, memory_limit=wish["memory_limit"]),
        peers=(Peer("mumbai", Endpoint("127.0.0.1", 1)),) * wish["peers"],
    )


def main(wish: dict[str, Any]) -> int:
    if os.path.exists(wish["next"]):  # another version of this program was installed
        wish |= json.loads(Path(wish["next"]).read_text())
    upgrade.READY_S = wish["ready_s"]  # type: ignore[misc]  # shorter than anybody would want to wait for
    if wish["main"] == "crash":
        raise RuntimeError("this version is broken")
    if wish["main"] == "hang":
        hang()

    def read() -> GatewaySettings:
        found = json.loads(Path(wish["again"]).read_text())
        print("file read", file=sys.stderr, flush=True)
        return settings_of(wish | found)

    return launch(
        settings_of(wish),
        read=read if wish["again"] else None,
        worker_main=MAINS[wish["main"]],
        broker_main=BROKER_MAINS[wish["broker"]],
        admin_main=ADMIN_MAINS[wish["admin"]],
    )


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
