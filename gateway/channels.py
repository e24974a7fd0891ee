"""Channels between the broker and the workers: a fresh one for each pair of lives, of which nobody else holds an end.

What travels on them, and what becomes of it when one of the two dies, is told in `pools.broker_messages`.
"""

import logging
from collections.abc import Sequence

from gateway.slot import Slot
from pools.net.fd_passing import socket_pair
from pools.net.orders import Order, OrderMessage

_log = logging.getLogger(__name__)


def connect(born: Slot, *, workers: Sequence[Slot], broker: Slot | None) -> None:
    """Give a child that was just born, a worker or the broker, a channel to each living one of the other kind.

    A child whose orders cannot be sent to gets none, and neither does its partner: the worker dials, until the next
    birth of one of the two.

    Args:
        workers: in any order; the numbers of their roles are what the broker knows them by.
        broker: None in a gateway without one.
    """
    for worker in workers:
        if broker is not None and (born is worker or born is broker) and _speak(worker, broker):
            _connect(worker, broker, number=worker.role.number)


def _speak(worker: Slot, broker: Slot) -> bool:
    """Tell whether both are there, and go by the same configuration: not who is about to leave."""
    return bool(worker.child and broker.child) and not (worker.is_leaving or broker.is_relieved)


def _connect(worker: Slot, broker: Slot, *, number: int) -> None:
    try:
        pair = socket_pair()
    except OSError as error:
        _log.error("cannot make a channel between %s and %s: %s", worker.role.name, broker.role.name, error)
        return
    message = OrderMessage(Order.CHANNEL, slot=number)
    workers_end, brokers_end = pair
    with workers_end, brokers_end:  # closed at once, sent or not: a copy here would keep open what is in flight
        # If the worker cannot be told, the broker finds the end of file, as if the worker had died.
        if broker.tell(message, (brokers_end.fileno(),)):
            worker.tell(message, (workers_end.fileno(),))
