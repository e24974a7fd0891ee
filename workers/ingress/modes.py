"""Which conversation a listener holds with its clients."""

from collections.abc import Callable, Mapping

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


def conversation_for(listen: Listen) -> Conversation:
    """Begin the conversation that clients of `listen` expect.

    Raises:
        ValueError: the listener's mode has none, for it knows the destination (Mode.FORWARD).
    """
    if listen.mode not in _CONVERSATIONS:
        raise ValueError(f"listen {listen.name}: expected one of {', '.join(_CONVERSATIONS)}; found {listen.mode}")
    return _CONVERSATIONS[listen.mode](listen.users)
