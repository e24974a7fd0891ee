"""Where a client wanted to go whose connection the firewall redirected here: netfilter remembers it. No I/O here."""

from pools.net.endpoint import Endpoint
from workers.ingress.conversation import NotCaptured


def destination(local: Endpoint, original: Endpoint | None) -> Endpoint:
    """Give the destination of an accepted connection.

    Args:
        local: its address here.
        original: where it went before the firewall changed that; None where connection tracking does not know it.

    Raises:
        NotCaptured: nothing was changed: it was made to the listener itself, and dialling on would lead here again.
    """
    if original is None or original == local:
        raise NotCaptured(local)
    return original
