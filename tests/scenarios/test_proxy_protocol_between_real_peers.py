"""A client's address reaches nginx through HAProxy and the gateway, and through the gateway from curl itself."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.processes import free_ports
from tests.scenarios.harness.configuration import at, forward, proxy
from tests.scenarios.harness.gateways import Gateway, running_gateway
from tests.scenarios.harness.origins import who_came
from tests.scenarios.harness.programs import Terms, require, run, running

CLIENT = "127.0.0.77"  # any address of 127.0.0.0/8 is ours to come from

_HAPROXY = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen introducing
    bind {bind}
    server gateway {to} {keyword}
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    require("curl")
    with who_came(tmp_path_factory.mktemp("origin")) as port:
        yield port


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, origin: int) -> Iterator[Gateway]:
    """Listeners that are introduced or not (in, no) and introduce by v1, v2 or not at all (no)."""
    listens = [
        forward(origin, name=f"{accept}-{send}", accept_proxy=accept == "in", send_proxy=send.replace("no", "off"))
        for accept in ("in", "no")
        for send in ("v1", "v2", "no")
    ]
    with running_gateway(tmp_path_factory.mktemp("gateway") / "own", *listens, proxy(send_proxy="v2")) as gateway:
        yield gateway


@contextmanager
def haproxy(directory: Path, *, to: int, keyword: str) -> Iterator[int]:
    """Run an HAProxy that introduces its clients by `keyword`, send-proxy or send-proxy-v2; give its port."""
    (port,) = free_ports(1)
    config = directory / "haproxy.cfg"
    config.write_text(_HAPROXY.format(bind=at(port), to=at(to), keyword=keyword))
    argv = [require("haproxy"), "-db", "-f", str(config)]
    with running(argv, directory / "haproxy.log", terms=Terms(ports=[port])):
        yield port


def seen_from(port: int, *words: str) -> tuple[str, str, str]:
    """Let curl ask from 127.0.0.77; give the port that it came from, then what the origin saw: address and port."""
    argv = ["curl", "--silent", "--show-error", "--interface", CLIENT, "--write-out", " %{local_port}", *words]
    seen, seen_port, remote, own_port = run([*argv, f"http://{at(port)}/"]).stdout.decode().split()
    assert seen == remote  # what nginx takes for its client from there on
    return own_port, seen, seen_port


@pytest.mark.parametrize("keyword", ["send-proxy", "send-proxy-v2"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_introduces_a_client(gateway: Gateway, tmp_path: Path, keyword: str, version: str) -> None:
    with haproxy(tmp_path, to=gateway.port(f"in-{version}"), keyword=keyword) as port:
        own_port, *seen = seen_from(port)
    assert seen == [CLIENT, own_port]
    line = gateway.line(rf" in-{version} 127\.0\.0\.1:\d+ {re.escape(CLIENT)}:{own_port} ")
    assert " -- - " in line.string


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_gateway_introduces_its_own_client(gateway: Gateway, version: str) -> None:
    own_port, *seen = seen_from(gateway.port(f"no-{version}"))
    assert seen == [CLIENT, own_port]


def test_curl_introduces_itself(gateway: Gateway) -> None:
    own_port, *seen = seen_from(gateway.port("in-v2"), "--haproxy-protocol")
    assert seen == [CLIENT, own_port]


@pytest.mark.parametrize("scheme", ["socks5h", "http"])
def test_a_proxy_listener_introduces_its_clients(gateway: Gateway, origin: int, scheme: str) -> None:
    words = ["--proxytunnel", "--proxy", f"{scheme}://{at(gateway.port('proxy'))}"]
    own_port, *seen = seen_from(origin, *words)
    assert seen == [CLIENT, own_port]


def test_a_client_without_an_introduction_is_not_served(gateway: Gateway) -> None:
    done = run(["curl", "--silent", "--max-time", "20", f"http://{at(gateway.port('in-no'))}/"], code=None)
    assert done.returncode in (52, 56)  # an empty answer, or a reset: never the origin's
    assert gateway.sessions_logged("in-no")[0]["end"] == "PR"
