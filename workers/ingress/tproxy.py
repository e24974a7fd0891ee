"""Where a client wanted to go whose packets the firewall gave to this host as they were: to the address it has here."""

from ipaddress import ip_address

from pools.net.endpoint import Endpoint
from workers.ingress.conversation import NotCaptured


def destination(local: Endpoint, bind: Endpoint) -> Endpoint:
    """Give the destination of an accepted connection.

    Args:
        local: its address here, which no interface need have.
        bind: the listener's. Where that is any address, its port belongs to no destination: which addresses are this
            host's own changes, and is not asked for each connection.

    Raises:
        NotCaptured: it was made to the listener itself, and dialling on would lead here again.
    """
    if local.port == bind.port and (local.host == bind.host or ip_address(bind.host).is_unspecified):
        raise NotCaptured(local)
    return local
