"""Which SYNs a listener wants to see: those that its connections begin with. Pure."""

from ipaddress import ip_address, ip_network

from pools.net.endpoint import unmapped
from workers.settings import Listen
from workers.syn_filter import ANY_IPV4, ANY_IPV6, Target


def targets_of(listen: Listen, *, port: int) -> list[Target]:
    """Give the destinations of SYNs for a listener; none where it does not begin early.

    A listener on any address means each that this host has, not those that it only forwards packets to: containers
    behind it may well connect to the same port somewhere else.

    Args:
        port: where it listens, the one that the kernel chose where `listen` leaves it open.
    """
    if not listen.early_syn:
        return []
    if listen.captures:
        return list(listen.capture)
    address = ip_address(unmapped(listen.bind.host).partition("%")[0])
    if not address.is_unspecified:
        return [Target(ip_network(address), port)]
    found = [Target(ANY_IPV6, port, ends_here=True)] if address.version == 6 else []
    if address.version == 4 or listen.dual_stack:
        found.append(Target(ANY_IPV4, port, ends_here=True))
    return found
