"""How a listener learns where its clients want to go: by which conversation, or without a word."""

from collections.abc import Callable, Mapping

from pools.net import sockopts
from pools.net.endpoint import Endpoint, unmapped
from pools.net.sockopts import Socket
from workers.ingress import redirect, tproxy
from workers.ingress.connect import Connect
from workers.ingress.conversation import Conversation
from workers.ingress.mixed import Mixed
from workers.ingress.socks5 import Socks5
from workers.settings import Listen, Mode

_CONVERSATIONS: Mapping[Mode, Callable[[Mapping[str, str]], Conversation]] = {
    Mode.SOCKS5: Socks5,
    Mode.CONNECT: Connect,
    Mode.MIXED: Mixed,
}


def conversation_for(listen: Listen) -> Conversation | None:
    """Begin the conversation that clients of `listen` expect; None where `destination_given` knows without one."""
    kind = _CONVERSATIONS.get(listen.mode)
    return None if kind is None else kind(listen.users)


def destination_given(listen: Listen, sock: Socket) -> Endpoint | None:
    """Give the destination of a connection to `listen` without a word of its client; None where that has to say it.

    Args:
        sock: the accepted connection.

    Raises:
        NotCaptured: `listen` is for connections that the firewall leads here, and this is none.
    """
    if not listen.captures:
        return listen.to
    host, port, *_ = sock.getsockname()
    local = Endpoint(unmapped(host), port)
    if listen.mode is Mode.TPROXY:
        return tproxy.destination(local, listen.bind)
    original = sockopts.original_destination(sock, local.family)
    return redirect.destination(local, None if original is None else Endpoint(*original))
