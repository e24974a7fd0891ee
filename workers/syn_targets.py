"""Which SYNs a listener wants to see: those that its connections begin with. Pure."""

from ipaddress import ip_address, ip_network

from pools.net.endpoint import unmapped
from workers.settings import Listen
from workers.syn_filter import ANY_IPV4, ANY_IPV6, Target


def targets_of(listen: Listen, *, port: int) -> list[Target]:
    """Give the destinations of SYNs for a listener; none where it does not begin early.

    A listener on any address means every address: whether a packet that goes there ends here at all, or is only
    forwarded, is not for a filter to know.

    Args:
        port: where it listens, the one that the kernel chose where `listen` leaves it open.
    """
    if not listen.early_syn:
        return []
    address = ip_address(unmapped(listen.bind.host).partition("%")[0])
    if not address.is_unspecified:
        return [Target(ip_network(address), port)]
    takes_ipv4 = address.version == 4 or listen.dual_stack
    return [Target(ANY_IPV6, port)] * (address.version == 6) + [Target(ANY_IPV4, port)] * takes_ipv4
