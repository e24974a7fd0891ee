"""What a gateway says of a peer, from the first leg to the peer's end: links, status, metrics, health, readiness."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway import overlay_key
from tests.bench.processes import free_ports
from tests.scenarios.harness.gateways import Gateway
from tests.scenarios.harness.programs import LIMIT_S

POOL_MIN = 6
COMMON = """\
[gateway]
name = "{name}"
workers = 2
runtime_dir = "{directory}/{name}"
[overlay]
key_file = "{directory}/overlay.key"
{overlay}
[admin]
http = "127.0.0.1:{admin}"
ready_when_filled = true
"""
NEAR = f"""\
[[peer]]
name = "far"
address = "127.0.0.1:{{overlay}}"
pool_min = {POOL_MIN}
[[listen]]
name = "near"
bind = "127.0.0.1:{{listen}}"
mode = "forward"
to = "127.0.0.1:{{origin}}"
via = ["far"]
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two gateways that run, and the destination beyond the far one."""

    near: Gateway
    far: Gateway
    origin: socket.socket
    port: int

    def have_session(self) -> None:
        """Have one session, ended by both sides."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as client:
            connection, _ = self.origin.accept()
            with connection:
                connection.sendall(b"hello")
            assert client.recv(100) == b"hello"
            assert client.recv(100) == b""

    def link(self) -> dict[str, Any]:
        """Give what `gateway links --json` prints about the peer."""
        (link,) = json.loads(self.near.command("links", "--json").stdout)["links"]
        return dict(link)

    def wait_for_link(self, fact: Callable[[dict[str, Any]], bool], *, expected: str) -> dict[str, Any]:
        """Return what the link is like once `fact` holds for it."""
        self.near.wait_until(lambda: fact(self.link()), expected=expected)
        return self.link()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    overlay_key.create(tmp_path / "overlay.key")
    overlay, listen, *admins = free_ports(4)
    with ExitStack() as held:
        origin = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        origin.settimeout(LIMIT_S)
        port = origin.getsockname()[1]
        texts = {
            "far": (f'bind = "127.0.0.1:{overlay}"', f'[egress]\nallow = ["127.0.0.1:{port}"]\n'),
            "near": ("", NEAR.format(overlay=overlay, listen=listen, origin=port)),
        }
        gateways = {}
        for (name, (more, rest)), admin in zip(texts.items(), admins, strict=True):
            file = tmp_path / f"{name}.toml"
            file.write_text(COMMON.format(name=name, directory=tmp_path, overlay=more, admin=admin) + rest)
            gateways[name] = Gateway(["--config", str(file)], tmp_path / name)
            held.callback(gateways[name].abandon)
            gateways[name].wait_ready()
        yield Pair(gateways["near"], gateways["far"], origin, listen)


def test_readiness_waits_for_the_pool_and_links_shows_it(pair: Pair) -> None:
    pair.near.wait_until(lambda: pair.near.get("/readyz")[0] == 200, expected="it is ready")
    assert json.loads(pair.near.get("/readyz")[1])["pools"] == {"far": "filled"}
    link = pair.wait_for_link(lambda link: link["state"] == "up", expected="the link is up")
    assert (link["name"], link["pool_min"], link["was_filled"]) == ("far", POOL_MIN, True)
    assert link["idle"] >= POOL_MIN
    assert link["dialled"] >= POOL_MIN
    assert link["rtt_us"] > 0
    assert pair.near.command("health").stdout == "well\n"
    assert pair.far.command("links").stdout == "no links: the configuration has no [[peer]]\n"


def test_sessions_over_a_peer_are_counted_at_both_ends(pair: Pair) -> None:
    pair.near.wait_until(lambda: pair.near.get("/readyz")[0] == 200, expected="it is ready")
    for _ in range(3):
        pair.have_session()
    link = pair.wait_for_link(lambda link: link["hits"] + link["misses"] == 3, expected="three sessions are counted")
    taken = pair.near.metrics()
    assert taken['midmile_pool_takes_total{peer="far",result="hit"}'] == link["hits"]
    assert taken['midmile_pool_takes_total{peer="far",result="miss"}'] == link["misses"]
    heard = pair.far.metrics()
    assert heard["midmile_overlay_opens_total"] == 3
    assert heard["midmile_overlay_legs_accepted_total"] >= link["dialled"]
    inbound = sum(worker["legs_inbound"] for worker in pair.far.status()["workers"])
    assert inbound >= POOL_MIN


def test_a_stranger_at_the_overlay_is_counted(pair: Pair) -> None:
    with socket.create_connection(("127.0.0.1", pair.far.port("overlay")), timeout=LIMIT_S) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with suppress(ConnectionResetError):
            assert stranger.recv(100) == b""
    name = "midmile_overlay_strangers_total"
    pair.far.wait_until(lambda: pair.far.metrics()[name] == 1, expected="the stranger is counted")


def test_a_peer_that_ends_is_down_and_health_says_so(pair: Pair) -> None:
    pair.wait_for_link(lambda link: link["state"] == "up", expected="the link is up")
    pair.far.end()
    link = pair.wait_for_link(lambda link: link["state"] == "down", expected="the link is down")
    assert (link["idle"], link["went_down"]) == (0, 1)
    assert pair.near.command("health").stdout == "degraded\n  peer_down: peer far does not answer\n"
    assert pair.near.metrics()['midmile_link_up{peer="far"}'] == 0
    assert pair.near.get("/readyz")[0] == 200


def test_a_broker_that_is_killed_loses_no_total_and_no_session(pair: Pair) -> None:
    pair.near.wait_until(lambda: pair.near.get("/readyz")[0] == 200, expected="it is ready")
    pair.have_session()
    before = pair.wait_for_link(lambda link: link["hits"] + link["misses"] == 1, expected="the session is counted")
    killed = pair.near.status()["broker"]["pid"]
    os.kill(killed, signal.SIGKILL)
    pair.have_session()
    pair.near.line(rf"broker, pid {killed} ended by SIGKILL; next in")
    after = pair.wait_for_link(lambda link: link["state"] == "up" and link["idle"] >= POOL_MIN, expected="all is back")
    assert pair.near.status()["broker"]["pid"] != killed
    assert all(after[total] >= before[total] for total in ("hits", "misses", "dialled", "exchanges", "closed"))
