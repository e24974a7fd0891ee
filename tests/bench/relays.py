"""The relays side by side: how each is configured and started, alone on its core.

Every relay forwards two ports, one to each origin, with one worker, no log per session, and otherwise the defaults of
its manual. Limits and timeouts only make room for what is measured.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from tests.bench.origins import Origins
from tests.bench.processes import Tree, free_ports, running, wait_listening
from tests.bench.session import open_session

_WARM_SESSIONS = 200
_GATEWAY = "import sys; from gateway.cli import main; sys.exit(main())"  # as the installed script, but of this tree


class RelayName(StrEnum):
    """What is compared; DIRECT is no relay at all, the ceiling that loads and origins set."""

    DIRECT = "direct"
    HAPROXY = "HAProxy"
    NGINX = "nginx"
    MIDMILE = "Midmile"


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that runs: its two ports on 127.0.0.1 and its processes (None for DIRECT)."""

    name: RelayName
    http_port: int
    bulk_port: int
    tree: Tree | None


@dataclass(frozen=True, slots=True)
class Plan:
    """All a configuration is written from.

    Attributes:
        directory: the relay's own, for its files.
        sessions: how many it must be able to hold at once.
        splice: whether it may move bytes by splice(2); nginx never does.
    """

    directory: Path
    origins: Origins
    http_port: int
    bulk_port: int
    sessions: int
    splice: bool

    def write(self, name: str, text: str) -> str:
        """Write a file of the plan's directory and give its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)


def _haproxy(plan: Plan) -> list[str]:
    # maxpipes: by default a quarter of maxconn, whose descriptors would not fit beside 9,000 sessions under a limit of
    # 20,000. Each transfer uses two, and at most 9 sessions are in bulk transfer here.
    # splice-auto is decided when HAProxy happens to look at a session again: here sometimes in the midst of a transfer,
    # mostly never (0.80 to 0.93 CPU s/GB, as without). So the bulk port says to splice always, its best: 0.38.
    always = "option splice-request\n    option splice-response" if plan.splice else ""
    config = f"""\
global
    nbthread 1
    maxconn {plan.sessions}
    maxpipes 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {"option splice-auto" if plan.splice else ""}
listen http
    bind 127.0.0.1:{plan.http_port}
    server origin 127.0.0.1:{plan.origins.http_port}
listen bulk
    bind 127.0.0.1:{plan.bulk_port}
    {always}
    server origin 127.0.0.1:{plan.origins.bulk_port}
"""
    return ["haproxy", "-db", "-f", plan.write("haproxy.cfg", config)]


def _nginx(plan: Plan) -> list[str]:
    config = f"""\
load_module modules/ngx_stream_module.so;
daemon off;
pid {plan.directory}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections {2 * plan.sessions + 50}; }}
stream {{
    proxy_connect_timeout 5s;
    proxy_timeout 1h;
    server {{ listen 127.0.0.1:{plan.http_port}; proxy_pass 127.0.0.1:{plan.origins.http_port}; }}
    server {{ listen 127.0.0.1:{plan.bulk_port}; proxy_pass 127.0.0.1:{plan.origins.bulk_port}; }}
}}
"""
    return ["nginx", "-e", "stderr", "-c", plan.write("nginx.conf", config)]


def _midmile(plan: Plan) -> list[str]:
    copying = "" if plan.splice else "[relay]\nsplice = false\n"
    config = f"""\
[gateway]
workers = 1
runtime_dir = "{plan.directory}/run"
access_log = "off"

[[listen]]
name = "http"
bind = "127.0.0.1:{plan.http_port}"
mode = "forward"
to = "127.0.0.1:{plan.origins.http_port}"

[[listen]]
name = "bulk"
bind = "127.0.0.1:{plan.bulk_port}"
mode = "forward"
to = "127.0.0.1:{plan.origins.bulk_port}"

[timeouts]
drain = 1

[limits]
sessions = {plan.sessions}

[admin]
http = "127.0.0.1:{free_ports(1)[0]}"
{copying}"""
    return [sys.executable, "-c", _GATEWAY, "start", "--config", plan.write("gateway.toml", config)]


_COMMANDS: dict[RelayName, Callable[[Plan], list[str]]] = {
    RelayName.HAPROXY: _haproxy,
    RelayName.NGINX: _nginx,
    RelayName.MIDMILE: _midmile,
}


@contextmanager
def started(name: RelayName, *, plan: Plan, core: int) -> Iterator[Relay]:
    """Run a relay on `core`, warmed up, for as long as the block lasts.

    Warming up means 200 sessions, one after another: code is loaded and the allocator has its arenas, but no memory
    of many sessions at once is left over that would hide what the first thousand cost.

    Raises:
        BenchError: it does not start, does not stay on its core, or does not relay.
    """
    if name is RelayName.DIRECT:
        yield Relay(name, plan.origins.http_port, plan.origins.bulk_port, None)
        return
    log = plan.directory / "output.log"
    with running(_COMMANDS[name](plan), core=core, log=log) as process:
        wait_listening(process, [plan.http_port, plan.bulk_port], log)
        for _ in range(_WARM_SESSIONS):
            open_session(plan.http_port).close()
        tree = Tree(psutil.Process(process.pid))
        tree.require_pinned(core)
        yield Relay(name, plan.http_port, plan.bulk_port, tree)
