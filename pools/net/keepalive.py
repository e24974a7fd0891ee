"""How long a silent connection is believed in: numbers for the kernel, which `pools.net.sockopts` hands over."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keepalive (tcp(7)) of every leg, and the user timeout (RFC 5482) that goes with it.

    Attributes:
        idle: seconds without data before the first probe.
        interval: seconds between probes.
        probes: unanswered probes that end a leg.
        user_timeout: seconds that sent data may stay unacknowledged.
    """

    idle: int = 45
    interval: int = 10
    probes: int = 3
    user_timeout: int = 60
