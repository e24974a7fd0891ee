"""The process that is an emulated WAN: makes its sites, carries their packets, and obeys commands. See gateway.lab.wan.

A companion: gateway.lab.companion says how it is spoken to. With its descriptors go the sites, their devices and all
that was under way.

    {"sites": {"a": {}, "b": {}}, "lines": [["a", "b", {"delay_s": 0.1}]]}    a line goes one way
    {"change": ["a", "b", {"delay_s": 0.2}]}                                  new terms for a line
    {"change": ["a", "b", {"loss": 0.1}], "seed": 1}                          and what is lost is drawn anew
    {"counts": true}                                                          what became of the packets
"""

import gc
import json
import os
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict
from io import FileIO
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any, Final

from gateway.lab.carrier import Carrier
from gateway.lab.delay_line import DelayLine, LineTerms
from gateway.lab.site import Site
from pools.net.errors import StartError

NETWORK: Final = IPv4Network("10.77.0.0/24")
Table = dict[str, Any]


def build(plan: Table, held: ExitStack) -> Carrier:
    """Make the sites of a plan, which `held` closes, and the lines between them.

    Raises:
        StartError: a right is missing, or something of the system.
        ValueError: terms out of range, or more sites than addresses.
    """
    hosts = NETWORK.hosts()
    sites = []
    for name, sysctls in plan["sites"].items():
        address = next(hosts, None)
        if address is None:
            raise ValueError(f"there are addresses for {NETWORK.num_addresses - 2} sites; found {len(plan['sites'])}")
        sites.append(_site(name, IPv4Interface((address, NETWORK.prefixlen)), sysctls))
        held.callback(sites[-1].close)
    seeded = enumerate(plan["lines"])
    carrier = Carrier(sites, {(a, b): DelayLine(LineTerms(**terms), seed=seed) for seed, (a, b, terms) in seeded})
    lose_singly(carrier)
    return carrier


def _site(name: str, address: IPv4Interface, sysctls: dict[str, str]) -> Site:
    try:
        return Site.open(name, address, sysctls=sysctls)
    except OSError as error:
        raise StartError(f"site {name}: needs root, /dev/net/tun and ip(8); found: {error}") from error


def lose_singly(carrier: Carrier) -> None:
    """Have sites whose lines lose some of their packets send each by itself, so that it is also lost by itself."""
    losing = {start for (start, _), line in carrier.lines.items() if 0 < line.terms.loss < 1}
    for site in carrier.sites:
        if site.name in losing:
            site.cut_packets()


def obey(command: Table, carrier: Carrier) -> Table:
    """Do what one command says and give the answer to it."""
    if "change" in command:
        start, end, terms = command["change"]
        carrier.lines[start, end].terms = LineTerms(**terms)
        if "seed" in command:
            carrier.lines[start, end].draw_anew(command["seed"])
        lose_singly(carrier)
        return {}
    lines = [[start, end, asdict(line.counts)] for (start, end), line in carrier.lines.items()]
    answer = {"lines": lines, **asdict(carrier.punctuality)}
    carrier.punctuality.worst_s = 0.0  # a count can be compared with an earlier one, a maximum cannot
    return answer


def be_punctual() -> None:
    """Go before ordinary processes, wake to the microsecond, and never stop to collect: no object here has a cycle.

    Where realtime scheduling is not allowed all works, only less exactly beside other work.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    Path("/proc/self/timerslack_ns").write_text("1")  # the usual 50 us would make every packet late by as much
    gc.freeze()
    gc.disable()


def answer(found: Table) -> None:
    """Write one line."""
    print(json.dumps(found), flush=True)


def main() -> int:
    """Be the WAN until standard input ends."""
    commands = FileIO(0, closefd=False)  # without a buffer: select(2) sees all that is still to be read
    with ExitStack() as held:
        try:
            carrier = build(json.loads(commands.readline()), held)
        except (StartError, ValueError) as error:
            answer({"error": str(error)})
            return 1
        be_punctual()
        answer({site.name: [str(site.address.ip), site.namespace] for site in carrier.sites})

        def command() -> bool:
            if line := commands.readline():
                answer(obey(json.loads(line), carrier))
            return bool(line)

        carrier.run(commands.fileno(), command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
