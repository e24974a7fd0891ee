"""A real gateway whose workers do little: the program that the supervisor's tests run in a process of its own.

A client says one word. "who": the worker's slot and pid. "stay": a session until the client closes, each line echoed.
"hang": the worker's loop stops for good.
"""

import json
import os
import select
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from gateway import config
from gateway.launch import launch
from pools.net.clock import monotonic_ns
from pools.net.endpoint import Endpoint
from pools.net.errors import ChildError
from pools.net.fd_passing import receive_message, send_message
from pools.net.orders import Order, OrderMessage, Report, ReportMessage
from pools.net.scoreboard import Cell, ChildState
from workers.operator_wire import SessionRow, row_frames
from workers.post import Post


class SmallWorker:
    def __init__(self, post: Post) -> None:
        self.post = post
        self.listeners = list(post.listeners)
        self.staying: list[socket.socket] = []

    def run(self) -> int:
        self.post.row[Cell.STATE] = ChildState.READY
        send_message(self.post.channel, ReportMessage(Report.READY).encode())
        while self.listeners or self.staying:
            self.post.row[Cell.HEARTBEAT_NS] = monotonic_ns()
            self.post.row[Cell.SESSIONS] = len(self.staying)
            ready, _, _ = select.select([self.post.channel, *self.listeners, *self.staying], [], [], 0.1)
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

    def accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setblocking(True)
        word = connection.recv(100)
        if word == b"stay":
            self.staying.append(connection)
            connection.sendall(b"staying")
            return
        if word == b"hang":
            connection.sendall(b"hanging")
            hang()
        with connection:
            connection.sendall(b"%d %d" % (self.post.slot, os.getpid()))

    def obey(self) -> None:
        payload, descriptors = receive_message(self.post.channel)
        order = OrderMessage.decode(payload).order if payload else Order.STOP
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as operator:
                row = SessionRow("small", "192.0.2.1:50000", "192.0.2.2:443", 61.0, 2048, 10, 1500, 0, 90_000, 3)
                operator.sendall(b"".join(row_frames([row])))
        if order is not Order.SESSIONS:
            self.post.row[Cell.STATE] = ChildState.DRAINING
            for listener in self.listeners:
                listener.close()
            self.listeners.clear()
        if order is Order.STOP:
            self.staying.clear()


def hang() -> NoReturn:
    while True:
        signal.pause()


def cannot_boot(post: Post) -> int:
    raise ChildError(f"slot {post.slot} lacks what it needs", exit_code=3)


def stumble(post: Post) -> int:
    raise RuntimeError("nobody expected this")


MAINS = {"serve": lambda post: SmallWorker(post).run(), "cannot boot": cannot_boot, "stumble": stumble}


def main(wish: dict[str, Any]) -> int:
    settings = config.default()
    bind = Endpoint("127.0.0.1", wish["port"])
    settings = replace(
        settings,
        workers=wish["workers"],
        runtime_dir=Path(wish["runtime_dir"]),
        admin=None,
        listens=(replace(settings.listens[0], bind=bind),),
        timeouts=replace(settings.timeouts, worker_heartbeat=wish["heartbeat_s"]),
    )
    return launch(settings, worker_main=MAINS[wish["main"]])


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
