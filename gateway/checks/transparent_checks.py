"""What a host needs for connections that the firewall leads to this gateway, and for legs that come from its clients.

Rules of facts alone, as in `host_checks`. The firewall's own rules are not looked at: nobody but the operator
knows which connections are meant. Here is what must be among them.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.checks.findings import Finding, Level, finding
from gateway.checks.host import Capability, Host
from workers.settings import Listen, Mode

_DIVERT: Final = "meta l4proto tcp socket transparent 1 meta mark set 0x4d4d accept"
_DELIVERY: Final = "ip rule add fwmark 0x4d4d lookup 15, ip route add local default dev lo table 15, and both with -6"
_FORWARDING: Final = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
_REVERSE_PATH: Final = "net.ipv4.conf.all.rp_filter"
_STRICT, _LOOSE = 1, 2  # Documentation/networking/ip-sysctl.rst


def takes_foreign_addresses(listen: Listen) -> bool:
    """Tell whether sockets for this listener have addresses that are not this host's."""
    return listen.mode is Mode.TPROXY or listen.preserve_source


def check_transparent(host: Host, listens: Sequence[Listen]) -> Iterator[Finding]:
    """Hold the host against what captured connections and preserved sources need; nothing where there are none."""
    foreign = [listen.name for listen in listens if takes_foreign_addresses(listen)]
    if foreign:
        yield rights(host, foreign)
        yield reverse_path(host)
    if any(listen.mode is Mode.TPROXY for listen in listens):
        yield from forwarding(host)
    for listen in listens:
        yield from rules_for(listen)


def rights(host: Host, names: Sequence[str]) -> Finding:
    """Judge the right to use addresses of others (ip(7), IP_TRANSPARENT)."""
    held = host.may(Capability.NET_RAW) or host.may(Capability.NET_ADMIN)
    found = f"{', '.join(names)}: CAP_NET_RAW or CAP_NET_ADMIN {'held' if held else 'not held'}"
    advice = "AmbientCapabilities=CAP_NET_RAW in the systemd unit; the gateway does not start without"
    return finding("addresses of others", found, wrong=not held, advice=advice, level=Level.FAIL)


def reverse_path(host: Host) -> Finding:
    """Judge the filter that drops packets whose way back would take another interface."""
    strict = host.numbers(_REVERSE_PATH) == (_STRICT,)
    advice = f"sysctl -w {_REVERSE_PATH}={_LOOSE}: it drops packets whose sender is routed by another interface"
    found = host.sysctls.get(_REVERSE_PATH, "not shown by this kernel")
    return finding(_REVERSE_PATH, found, wrong=strict, advice=advice)


def forwarding(host: Host) -> Iterator[Finding]:
    """Judge whether what else routed clients send goes on; what is captured ends here."""
    for name in _FORWARDING:
        for value in host.numbers(name):
            advice = f"sysctl -w {name}=1: what routed clients send besides is dropped"
            yield finding(name, str(value), wrong=value == 0, advice=advice)


def rules_for(listen: Listen) -> Iterator[Finding]:
    """Say what the firewall and the routes must have for a listener; whether they do is not looked at."""
    needs = []
    if listen.mode is Mode.REDIRECT:
        needs.append(f"nft: tcp dport PORTS redirect to :{listen.bind.port} (nat, prerouting)")
    if takes_foreign_addresses(listen):
        needs.append(f"nft: {_DIVERT} (filter, prerouting)")
    if listen.mode is Mode.TPROXY:
        needs.append("nft: iifname lo accept")
        needs.append(f"nft: tcp dport PORTS tproxy to :{listen.bind.port} meta mark set 0x4d4d accept")
    if takes_foreign_addresses(listen):
        needs.append(_DELIVERY)
    if needs:
        yield Finding(f"firewall for {listen.name}", Level.OK, f"not looked at; it needs {'; '.join(needs)}")
