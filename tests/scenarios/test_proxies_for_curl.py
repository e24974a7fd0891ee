"""curl asks each kind of proxy for what it wants, with and without a password, over IPv4 and IPv6."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.processes import free_ports
from tests.scenarios.conftest import StartGateway
from tests.scenarios.harness.configuration import at, forward, proxy
from tests.scenarios.harness.gateways import Gateway, running_gateway
from tests.scenarios.harness.origins import hello
from tests.scenarios.harness.programs import require, run

TUNNEL_FAILED, SOCKS_FAILED = 56, 97  # curl(1), exit codes


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A port that answers hello on 127.0.0.1 and on ::1."""
    require("curl")
    with hello(tmp_path_factory.mktemp("origin"), "127.0.0.1", "::1") as port:
        yield port


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a proxy of each kind, for the tests that leave it as it was."""
    listens = [proxy(mode, name=mode) for mode in ("mixed", "socks5", "connect")]
    directory = tmp_path_factory.mktemp("proxies") / "gateway"
    with running_gateway(directory, *listens, timeouts={"connect": 60}) as gateway:
        yield gateway


def curl(*words: str) -> tuple[int, str]:
    """Run curl; give its exit code and what it printed."""
    done = run(["curl", "--silent", "--max-time", "20", *words], code=None)
    return done.returncode, done.stdout.decode()


def through(gateway: Gateway, scheme: str, listener: str, *, host: str = "127.0.0.1", user: str = "") -> list[str]:
    """Give the words that make curl use a proxy; scheme "tunnel" is CONNECT where "http" is a plain request."""
    kind = scheme.replace("tunnel", "http")
    words = ["--proxy", f"{kind}://{user}{at(gateway.port(listener), host)}"]
    return [*words, "--proxytunnel"] if scheme == "tunnel" else words


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize(
    ("scheme", "listener"),
    [
        ("socks5", "socks5"),
        ("socks5h", "mixed"),
        ("tunnel", "connect"),
        ("tunnel", "mixed"),
        ("http", "connect"),
        ("http", "mixed"),
    ],
)
def test_each_proxy_reaches_each_destination(
    proxies: Gateway, origin: int, scheme: str, listener: str, host: str
) -> None:
    assert curl(*through(proxies, scheme, listener), f"http://{host}:{origin}/") == (0, "hello")


@pytest.mark.parametrize("scheme", ["socks5h", "tunnel"])
def test_a_tunnel_is_used_again_for_the_next_request(proxies: Gateway, origin: int, scheme: str) -> None:
    url = f"http://127.0.0.1:{origin}/"
    connections = "%{num_connects} "
    words = ["--write-out", connections, url, url, url]
    assert curl(*through(proxies, scheme, "mixed"), *words) == (0, "hello1 hello0 hello0 ")


def test_a_refused_destination_is_told_in_each_protocol(proxies: Gateway) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}/"
    code, said = curl(*through(proxies, "socks5h", "mixed"), "--write-out", "%{errormsg}", url)
    assert (code, said) == (SOCKS_FAILED, "Can't complete SOCKS5 connection to 127.0.0.1. (5)")
    assert curl(*through(proxies, "tunnel", "mixed"), "--write-out", "%{http_connect}", url) == (TUNNEL_FAILED, "502")
    code, said = curl(*through(proxies, "http", "mixed"), "--write-out", "%{http_code}", url)
    assert code == 0
    assert said.endswith("found ECONNREFUSED (Connection refused)\n502")


def test_a_name_that_nobody_has_is_told_in_each_protocol(proxies: Gateway) -> None:
    url = "http://nobody.invalid/"  # RFC 6761 section 6.4: never resolves
    code, said = curl(*through(proxies, "socks5h", "mixed"), "--write-out", "%{errormsg}", url)
    assert (code, said) == (SOCKS_FAILED, "Can't complete SOCKS5 connection to nobody.invalid. (4)")
    assert curl(*through(proxies, "tunnel", "mixed"), "--write-out", "%{http_connect}", url) == (TUNNEL_FAILED, "502")


def test_a_proxy_with_users_lets_in_only_them(start_gateway: StartGateway, origin: int, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("# who may\nada:love:lace\nbob:builder\n")
    users.chmod(0o600)
    gateway = start_gateway(proxy(users_file=str(users)))
    url = f"http://127.0.0.1:{origin}/"
    for scheme in ("socks5h", "tunnel", "http"):
        for user in ("ada:love%3Alace@", "bob:builder@"):
            assert curl(*through(gateway, scheme, "proxy", user=user), url) == (0, "hello")
    for user in ("", "ada:wrong@", "eve:builder@"):
        assert curl(*through(gateway, "socks5h", "proxy", user=user), url) == (SOCKS_FAILED, "")
        told = curl(*through(gateway, "tunnel", "proxy", user=user), "--write-out", "%{http_connect}", url)
        assert told == (TUNNEL_FAILED, "407")
    assert [line["end"] for line in gateway.sessions_logged("proxy", count=12)].count("PR") == 6
    assert "builder" not in gateway.log.text()


def test_listeners_on_ipv6(start_gateway: StartGateway, origin: int) -> None:
    gateway = start_gateway(proxy(host="::1"), forward(f"[::1]:{origin}", host="::1"))
    for scheme in ("socks5h", "tunnel", "http"):
        for host in ("127.0.0.1", "[::1]"):
            assert curl(*through(gateway, scheme, "proxy", host="::1"), f"http://{host}:{origin}/") == (0, "hello")
    assert curl(f"http://{at(gateway.port('forward'), '::1')}/") == (0, "hello")
    assert gateway.sessions_logged("forward")[0]["client"].startswith("[::1]:")


def test_a_dual_stack_listener_takes_both(start_gateway: StartGateway, origin: int) -> None:
    gateway = start_gateway(forward(origin, host="::", dual_stack=True))
    port = gateway.port("forward")
    assert curl(f"http://127.0.0.1:{port}/") == (0, "hello")
    assert curl(f"http://[::1]:{port}/") == (0, "hello")
    clients = sorted(line["client"].rpartition(":")[0] for line in gateway.sessions_logged("forward", count=2))
    assert clients == ["127.0.0.1", "[::1]"]
