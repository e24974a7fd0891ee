"""Small nginx origins that say who they think the client is. Shared by the stories about proxies and PROXY headers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.processes import free_ports
from tests.scenarios.harness.configuration import at
from tests.scenarios.harness.servers import nginx


@contextmanager
def hello(directory: Path, *hosts: str) -> Iterator[int]:
    """Answer "hello" on one port of each of `hosts`, 127.0.0.1 where none is named; give the port."""
    (port,) = free_ports(1)
    listens = " ".join(f"listen {at(port, host)};" for host in hosts or ("127.0.0.1",))
    with nginx(directory, f'server {{ {listens} location / {{ return 200 "hello"; }} }}', ports=[port]):
        yield port


@contextmanager
def who_came(directory: Path) -> Iterator[int]:
    """Expect a PROXY protocol header, v1 or v2, and answer with client and port that it named; give the port."""
    (port,) = free_ports(1)
    answer = 'return 200 "$proxy_protocol_addr $proxy_protocol_port $remote_addr";'
    server = f"server {{ listen {at(port)} proxy_protocol; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"
    with nginx(directory, f"{server} location / {{ {answer} }} }}", ports=[port]):
        yield port
