"""Where all sessions end: a small HTTP answer, and an iperf3 that sends. The same for every relay, on the load core."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.configurations import Doors
from tests.bench.processes import free_ports, running, sockets, wait_for, wait_listening

BODY = "x" * 100

# Timeouts of an hour, and twice the connections: idle sessions are measured, so nobody may end one, and nginx ends the
# oldest idle ones as soon as fewer than a sixteenth of its connections are free.
_NGINX = """\
daemon off;
pid {directory}/origin.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_header_timeout 1h;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 "{body}"; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Origins:
    """Where one answers HTTP, and an iperf3 listens."""

    doors: Doors
    bulk: subprocess.Popen[bytes]
    log: Path

    def wait_bulk_free(self) -> None:
        """Return once iperf3, which takes one test at a time, has closed all sessions of the last one."""
        wait_for(self.bulk, lambda: len(sockets(self.bulk.pid)) == 1, expected="has ended its last test", log=self.log)


@contextmanager
def started(directory: Path, *, core: int, sessions: int) -> Iterator[Origins]:
    """Run both origins on `core` for as long as the block lasts; up to `sessions` may be open."""
    http_port, bulk_port = free_ports(2)
    config, log = directory / "origin.conf", directory / "origins.log"
    config.write_text(_NGINX.format(directory=directory, port=http_port, body=BODY, connections=2 * sessions))
    nginx = ["nginx", "-e", "stderr", "-c", str(config)]
    iperf3 = ["iperf3", "--server", "--bind", "127.0.0.1", "--port", str(bulk_port)]
    with running(nginx, core=core, log=log) as http, running(iperf3, core=core, log=log) as bulk:
        wait_listening(http, [http_port], log)
        wait_listening(bulk, [bulk_port], log)
        yield Origins(Doors(http_port, bulk_port), bulk, log)
