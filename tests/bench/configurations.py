"""How relays are configured, all alike: two doors forwarded, one worker, no log per session.

Otherwise they have the defaults of their manuals. Limits and timeouts only make room for what is measured.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from gateway import overlay_key
from tests.bench.processes import free_ports

GATEWAY = [sys.executable, "-c", "import sys; from gateway.cli import main; sys.exit(main())"]
"""The command `gateway`, as the installed script, but of this tree."""

_READY: Final = " ready: "


class RelayName(StrEnum):
    """What is compared; DIRECT is no relay at all, the ceiling that loads and origins set."""

    DIRECT = "direct"
    HAPROXY = "HAProxy"
    NGINX = "nginx"
    MIDMILE = "Midmile"


@dataclass(frozen=True, slots=True)
class Doors:
    """Where sessions are taken in: one port for HTTP, one for bulk."""

    http_port: int
    bulk_port: int
    host: str = "127.0.0.1"

    @classmethod
    def free(cls, host: str = "127.0.0.1") -> "Doors":
        """Give two free ports."""
        http_port, bulk_port = free_ports(2)
        return cls(http_port, bulk_port, host)

    @property
    def http(self) -> str:
        """Address and port."""
        return f"{self.host}:{self.http_port}"

    @property
    def bulk(self) -> str:
        """Address and port."""
        return f"{self.host}:{self.bulk_port}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All a configuration is written from.

    Attributes:
        directory: the relay's own, for its files.
        doors: its own.
        to: where it forwards to.
        sessions: how many it must be able to hold at once.
        splice: whether it may move bytes by splice(2); nginx never does.
        pool_min: idle legs that the first gateway of a chain always keeps; None for the default.
    """

    directory: Path
    doors: Doors
    to: Doors
    sessions: int
    splice: bool = True
    pool_min: int | None = None

    def write(self, name: str, text: str) -> str:
        """Write a file of the plan's directory and give its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def part(self, name: str, *, doors: Doors, to: Doors) -> "Plan":
        """Give the plan of one relay of a chain, with a directory of its own."""
        directory = self.directory / name
        directory.mkdir()
        return replace(self, directory=directory, doors=doors, to=to)


@dataclass(frozen=True, slots=True)
class Command:
    """How one relay is started.

    Attributes:
        ports: what it listens on then.
        plan: what it was made from.
        says: what it writes once it relays; empty where listening means so much.
    """

    words: list[str]
    ports: list[int]
    plan: Plan
    says: str = ""


def alone(name: RelayName, plan: Plan) -> Command:
    """Configure one relay."""
    says = _READY if name is RelayName.MIDMILE else ""
    return Command(_WORDS[name](plan), [plan.doors.http_port, plan.doors.bulk_port], plan, says)


def chain(name: RelayName, plan: Plan, *, middle: Doors) -> tuple[Command, Command]:
    """Configure two relays in a row, which meet at `middle`; give the far one first, the order of starting."""
    far = plan.part("far", doors=middle, to=plan.to)
    near = plan.part("near", doors=plan.doors, to=middle)
    return _midmile_chain(far, near) if name is RelayName.MIDMILE else (alone(name, far), alone(name, near))


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
    bind {plan.doors.http}
    server origin {plan.to.http}
listen bulk
    bind {plan.doors.bulk}
    {always}
    server origin {plan.to.bulk}
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
    server {{ listen {plan.doors.http}; proxy_pass {plan.to.http}; }}
    server {{ listen {plan.doors.bulk}; proxy_pass {plan.to.bulk}; }}
}}
"""
    return ["nginx", "-e", "stderr", "-c", plan.write("nginx.conf", config)]


def _midmile(plan: Plan) -> list[str]:
    return _gateway(plan, _listeners(plan.doors, plan.to))


def _midmile_chain(far: Plan, near: Plan) -> tuple[Command, Command]:
    """Configure two gateways: the far one takes legs in at its HTTP door, and needs no second."""
    key_file = far.directory.parent / "overlay.key"
    overlay_key.create(key_file)
    overlay = f'[overlay]\nkey_file = "{key_file}"\n'
    incoming = f'{overlay}bind = "{far.doors.http}"\n\n[egress]\nallow = ["{far.to.http}", "{far.to.bulk}"]\n'
    pool = "" if near.pool_min is None else f"pool_min = {near.pool_min}\n"
    peer = f'[[peer]]\nname = "far"\naddress = "{far.doors.http}"\n{pool}'
    listeners = _listeners(near.doors, far.to, keys='via = ["far"]\n')
    return (
        Command(_gateway(far, incoming, name="far"), [far.doors.http_port], far, _READY),
        Command(
            _gateway(near, f"{listeners}{overlay}\n{peer}", name="near"),
            [near.doors.http_port, near.doors.bulk_port],
            near,
            _READY,
        ),
    )


def _listeners(doors: Doors, to: Doors, *, keys: str = "") -> str:
    both = (("http", doors.http, to.http), ("bulk", doors.bulk, to.bulk))
    return "\n".join(
        f'[[listen]]\nname = "{name}"\nbind = "{bind}"\nmode = "forward"\nto = "{end}"\n{keys}'
        for name, bind, end in both
    )


def _gateway(plan: Plan, tables: str, *, name: str = "bench") -> list[str]:
    copying = "" if plan.splice else "[relay]\nsplice = false\n"
    config = f"""\
[gateway]
name = "{name}"
workers = 1
runtime_dir = "{plan.directory}/run"
access_log = "off"

{tables}
[timeouts]
drain = 1

[limits]
sessions = {plan.sessions}

[admin]
http = "127.0.0.1:{free_ports(1)[0]}"
{copying}"""
    return [*GATEWAY, "start", "--config", plan.write("gateway.toml", config)]


_WORDS: dict[RelayName, Callable[[Plan], list[str]]] = {
    RelayName.HAPROXY: _haproxy,
    RelayName.NGINX: _nginx,
    RelayName.MIDMILE: _midmile,
}
