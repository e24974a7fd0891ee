"""Short sessions all the time, several at once, and a destination that answers them."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final

from tests.scenarios.peers_under_test import Destination, End, Heard, visit

CLIENTS: Final = 4
SERVED: Final = Heard(b"served", End.FIN)
RESET: Final = Heard(b"", End.RESET)


@contextmanager
def answering() -> Iterator[int]:
    """Answer who says something on a port of 127.0.0.1, which it gives; several at once."""
    with Destination() as destination, ThreadPoolExecutor(2 * CLIENTS) as threads:
        listening = [threads.submit(_answer, destination) for _ in range(2 * CLIENTS)]
        try:
            yield destination.port
        finally:
            destination.listener.shutdown(socket.SHUT_RDWR)
            for each in listening:
                each.result()


def _answer(destination: Destination) -> None:
    while True:
        try:
            far = destination.accept()
        except TimeoutError:
            continue
        except OSError:  # it listens no more
            return
        with far, suppress(ConnectionResetError, BrokenPipeError):
            if far.recv(100):
                far.sendall(SERVED.data)


@contextmanager
def visiting(port: int) -> Iterator[list[Heard]]:
    """Have sessions until the block ends; gives what came of them so far, in the order in which they ended."""
    outcomes: list[Heard] = []
    enough = threading.Event()

    def go_on() -> None:
        while not enough.is_set():
            outcomes.append(visit(port, b"?"))

    with ThreadPoolExecutor(CLIENTS) as threads:
        loops = [threads.submit(go_on) for _ in range(CLIENTS)]
        try:
            yield outcomes
        finally:
            enough.set()
    for loop in loops:
        loop.result()
