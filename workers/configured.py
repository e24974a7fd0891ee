"""What a worker has after it was told to go on by another configuration: the message becomes a post."""

import os
import socket
from collections.abc import Sequence
from dataclasses import replace

from pools.net.errors import Fault, ProtocolError
from pools.net.orders import OrderMessage
from pools.net.sealed import unseal
from workers.post import Post
from workers.settings import WorkerSettings
from workers.syn_sockets import Capture, capture_by
from workers.syn_targets import targets_of


def configured(post: Post, message: OrderMessage, descriptors: Sequence[int]) -> Post:
    """Give what a worker has by a CONFIGURE.

    Args:
        post: what it had before; its sockets are not touched.
        descriptors: what came with the message, owned here from now on.

    Raises:
        ProtocolError: they are not what the message says. All of them are lost, and so is this worker.
    """
    if len(descriptors) != 1 + message.listeners + message.captures:
        raise _wrong(f"1 + {message.listeners} + {message.captures} descriptors", len(descriptors))
    settings = _shared(unseal(descriptors[0], WorkerSettings), post.settings)
    os.close(descriptors[0])
    if message.listeners != len(settings.listens):
        raise _wrong(f"{len(settings.listens)} listening sockets", message.listeners)
    sockets = tuple(socket.socket(fileno=descriptor) for descriptor in descriptors[1:])
    for sock in sockets:
        sock.setblocking(False)
    listeners, captures = sockets[: message.listeners], sockets[message.listeners :]
    capture = _capture(settings, listeners, captures) if captures else None
    return replace(post, settings=settings, listeners=listeners, capture=capture)


def _shared(settings: WorkerSettings, before: WorkerSettings) -> WorkerSettings:
    """Have the large things that did not change be the same ones.

    What a service that is over leaves behind may wait for the collector through hundreds of reloads; passwords of a
    hundred thousand users must not wait with it each time.
    """
    users = {listen.name: listen.users for listen in before.listens}
    listens = tuple(
        replace(listen, users=users[listen.name]) if users.get(listen.name) == listen.users else listen
        for listen in settings.listens
    )
    egress = before.egress if before.egress == settings.egress else settings.egress
    return replace(settings, listens=listens, egress=egress)


def _capture(
    settings: WorkerSettings, listeners: Sequence[socket.socket], captures: tuple[socket.socket, ...]
) -> Capture:
    ports = [listener.getsockname()[1] for listener in listeners]
    pairs = zip(settings.listens, ports, strict=True)
    return capture_by(captures, [target for listen, port in pairs for target in targets_of(listen, port=port)])


def _wrong(expected: str, found: object) -> ProtocolError:
    return ProtocolError(f"expected {expected} with CONFIGURE; found {found}", fault=Fault.OURS)
