"""The servers that sessions lead to, each for as long as a block lasts, on a free port of 127.0.0.1."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import free_ports
from tests.scenarios.harness.programs import Terms, require, run, running

_SSHD_PRIVILEGE_SEPARATION = Path("/run/sshd")  # compiled into Debian's sshd, which as root does not start without it
_NGINX = """\
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {servers}
}}
"""


@contextmanager
def nginx(directory: Path, servers: str, *, ports: list[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Run an nginx with these `server { ... }` blocks, which listen on `ports`."""
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=directory, servers=servers))
    argv = [require("nginx"), "-e", "stderr", "-c", str(config)]
    user = ["-g", "user root;"] if os.geteuid() == 0 else []  # so that its worker may enter the test's directory
    with running([*argv, *user], directory / "nginx.log", terms=Terms(ports=ports)) as process:
        yield process


@contextmanager
def redis(directory: Path) -> Iterator[int]:
    """Run a redis-server that keeps nothing; give its port."""
    (port,) = free_ports(1)
    argv = [require("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    with running(argv, directory / "redis.log", terms=Terms(ports=[port])):
        yield port


@contextmanager
def iperf3(directory: Path) -> Iterator[int]:
    """Run an iperf3 that serves one test after another; give its port."""
    (port,) = free_ports(1)
    argv = [require("iperf3"), "--server", "--bind", "127.0.0.1", "--port", str(port)]
    with running(argv, directory / "iperf3.log", terms=Terms(ports=[port])):
        yield port


@contextmanager
def postgres() -> Iterator[int]:
    """Run a PostgreSQL whose superuser `postgres` needs no password; give its port.

    It refuses root, so for root it runs as user postgres, in a directory where that user can get.
    """
    initdb, server = require("initdb"), require("postgres")
    user = "postgres" if os.geteuid() == 0 else None
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="midmile-postgres-") as name:
        directory = Path(name)
        if user is not None:
            shutil.chown(directory, user, user)
        data, log = directory / "data", directory / "log"
        options = ["--no-sync", "--auth=trust", "--username=postgres", "--no-instructions", "--encoding=UTF8"]
        with running([initdb, "--pgdata", str(data), *options], log, terms=Terms(user=user)) as making:
            assert making.wait(60) == 0, log.read_text()
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": data, "fsync": "off"}
        argv = [server, "-D", str(data), *(f"--{key}={value}" for key, value in settings.items())]
        with running(argv, log, terms=Terms(ports=[port], stop=signal.SIGINT, user=user)):
            yield port


@dataclass(frozen=True, slots=True)
class Sshd:
    """An sshd that runs, and how to be let in.

    Attributes:
        user: who may come.
        options: of ssh and scp, the port left to the caller.
    """

    port: int
    user: str
    options: tuple[str, ...]


@contextmanager
def sshd(directory: Path) -> Iterator[Sshd]:
    """Run an sshd with keys of its own, which lets in whoever runs the tests; nothing of ~/.ssh is used."""
    server, user = require("sshd"), pwd.getpwuid(os.geteuid()).pw_name
    host_key, own_key = _make_key(directory / "host_key"), _make_key(directory / "own_key")
    (port,) = free_ports(1)
    config = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": host_key,
        "AuthorizedKeysFile": f"{own_key}.pub",
        "PermitRootLogin": "yes",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "Subsystem": "sftp internal-sftp",
        "MaxStartups": "100",
    }
    file = directory / "sshd_config"
    file.write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    options = ("BatchMode=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={directory}/known", "LogLevel=ERROR")
    told = ("-F", "none", "-i", str(own_key), *(word for option in options for word in ("-o", option)))
    argv = [server, "-D", "-e", "-f", str(file)]
    if os.geteuid() == 0:
        _SSHD_PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)  # and it stays: others' sshd may be using it
    with running(argv, directory / "sshd.log", terms=Terms(ports=[port])):
        yield Sshd(port, user, told)


def _make_key(path: Path) -> Path:
    run([require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    return path
