"""Where all sessions end: a small HTTP answer, and an iperf3 that sends. The same for every relay, on the load core."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.configurations import Doors
from tests.bench.processes import running, sockets, wait_for, wait_listening

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
        listen {address} backlog=4096;
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
    doors, log = Doors.free(), directory / "origins.log"
    iperf3 = ["iperf3", "--server", "--bind", doors.host, "--port", str(doors.bulk_port)]
    with http(directory, doors=doors, core=core, sessions=sessions), running(iperf3, core=core, log=log) as bulk:
        wait_listening(bulk, [doors.bulk_port], log)
        yield Origins(doors, bulk, log)


@contextmanager
def http(directory: Path, *, doors: Doors, core: int, sessions: int) -> Iterator[None]:
    """Run only the one that answers HTTP, at the HTTP door."""
    config, log = directory / "origin.conf", directory / "origins.log"
    config.write_text(_NGINX.format(directory=directory, address=doors.http, body=BODY, connections=2 * sessions))
    with running(["nginx", "-e", "stderr", "-c", str(config)], core=core, log=log) as process:
        wait_listening(process, [doors.http_port], log)
        yield
