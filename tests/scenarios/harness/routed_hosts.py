"""A client's host, a gateway's and a server's, each a network namespace, with the gateway's between the other two.

Rules and routes of the gateway's host are those of docs/transparent.md: it gives clients' connections to listeners.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from gateway.lab import network_namespace
from gateway.lab.network_namespace import entered
from tests.scenarios.harness.programs import LIMIT_S, require

CLIENT: Final = {4: "10.1.0.2", 6: "fd01::2"}
GATEWAY: Final = {4: "10.1.0.1", 6: "fd01::1"}
BEFORE_SERVER: Final = {4: "10.2.0.1", 6: "fd02::1"}  # the gateway's host, as the server sees it
SERVER: Final = {4: "10.2.0.2", 6: "fd02::2"}
LISTENERS: Final = {"redirect": 15001, "tproxy": 15002, "tproxy-as-client": 15003, "through-peer": 15004}
CAPTURED: Final = {"redirect": 8001, "tproxy": 8002, "tproxy-as-client": 8003, "through-peer": 8004}
RULES: Final = """\
table inet midmile {
    chain capture {
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto tcp socket transparent 1 meta mark set 0x4d4d accept
        iifname lo accept
        tcp dport { 8002, 9002 } tproxy to :15002 meta mark set 0x4d4d accept
        tcp dport { 8003, 9003 } tproxy to :15003 meta mark set 0x4d4d accept
        tcp dport { 8004, 9004 } tproxy to :15004 meta mark set 0x4d4d accept
    }
    chain arrivals {
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport { 8001, 9001 } redirect to :15001
    }
}
"""
LISTEN: Final = """\
[[listen]]
name = "{name}"
bind = "[::]:{port}"
dual_stack = true
mode = "{mode}"
"""
EARLY: Final = """\
early_syn = true
capture = ["10.2.0.0/16:{port}", "[fd02::/16]:{port}"]"""


def ip(*commands: str) -> None:
    """Have ip(8) do it where this thread stands."""
    run([require("ip"), "-batch", "-"], "\n".join(commands))


def run(argv: list[str], words: str) -> None:
    done = subprocess.run(argv, input=words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


@contextmanager
def hosts() -> Iterator[tuple[int, int, int]]:
    """Give the namespaces of client, gateway and server, with routes between them."""
    with ExitStack() as held:
        client, gateway, server = (network_namespace.create() for _ in range(3))
        for each in (client, gateway, server):
            held.callback(os.close, each)
        with entered(gateway):
            for device, far in (("client0", client), ("server0", server)):
                ip(f"link add {device} type veth peer name up0 netns /proc/{os.getpid()}/fd/{far}")
            ip("link set lo up", *stands("client0", GATEWAY), *stands("server0", BEFORE_SERVER))
            for family in ("-4", "-6"):
                argv = [require("ip"), family, "-batch", "-"]
                run(argv, "rule add fwmark 0x4d4d lookup 15\nroute add local default dev lo table 15")
            run([require("nft"), "-f", "-"], RULES)
        for namespace, addresses, router in ((client, CLIENT, GATEWAY), (server, SERVER, BEFORE_SERVER)):
            with entered(namespace):
                ways = [f"route add default via {router[4]}", f"-6 route add default via {router[6]}"]
                ip("link set lo up", *stands("up0", addresses))
                for way in ways:
                    run([require("ip"), *way.split()], "")
        yield client, gateway, server


def stands(device: str, addresses: dict[int, str]) -> list[str]:
    return [
        f"address add {addresses[4]}/24 dev {device}",
        f"address add {addresses[6]}/64 dev {device} nodad",
        f"link set {device} up",
    ]


def ask(client: int, host: str, port: int, *, source: str = "") -> tuple[str, str]:
    """Connect from a client's namespace, and give whom the server talks to, and where.

    Args:
        source: the client's address; empty for the one that the system takes.
    """
    with entered(client):
        sock = socket.create_connection((host, port), timeout=LIMIT_S, source_address=(source, 0) if source else None)
    with sock:
        told = b"".join(iter(lambda: sock.recv(100), b"")).decode().split()
    return told[0], told[1]


@contextmanager
def servers(host: str = "::") -> Iterator[None]:
    """Serve on all ports where this thread stands; each connection is told its two ends."""
    is_any = host == "::"
    family = socket.AF_INET6 if is_any else socket.AF_INET
    with ExitStack() as held:
        for port in CAPTURED.values():
            server = held.enter_context(socket.create_server((host, port), family=family, dualstack_ipv6=is_any))
            thread = threading.Thread(target=serve, args=(server,), daemon=True)
            thread.start()
            held.callback(thread.join, LIMIT_S)
            held.callback(server.shutdown, socket.SHUT_RDWR)  # wakes accept()
        yield


def serve(server: socket.socket) -> None:
    while True:
        try:
            session, _ = server.accept()
        except OSError:
            return
        with session, suppress(ConnectionError):
            ends = (session.getpeername(), session.getsockname())
            session.sendall(" ".join(str(end[0]).removeprefix("::ffff:") for end in ends).encode())
