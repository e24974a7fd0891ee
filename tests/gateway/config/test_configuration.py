"""Whole configurations: from a file, from the command line, from neither."""

import os
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from gateway.config.configuration import default, example, load
from gateway.config.schema import Document
from gateway.config.settings import GatewaySettings
from gateway.config.surroundings import Surroundings
from gateway.overlay_key import create
from gateway.reasons import Thresholds
from pools.egress_rules import EgressRules
from pools.net.endpoint import Endpoint
from pools.net.errors import ConfigurationError
from pools.net.keepalive import Keepalive
from pools.net.transport import Transport
from pools.path_choice import Choose
from pools.peer import Peer
from workers.settings import (
    AccessLog,
    Limits,
    Listen,
    LogFormat,
    Mode,
    Outbound,
    Preconnected,
    ProxyHeader,
    Relay,
    Timeouts,
    WorkerSettings,
)

HERE = Surroundings(uid=os.geteuid(), xdg_runtime_dir="/run/user/1", congestion_controls=frozenset({"bbr", "cubic"}))
FULL = """
[gateway]
name = "oregon"
workers = 4
runtime_dir = "/var/lib/midmile"
log_format = "json"
access_log = "off"

[[listen]]
name = "orders"
bind = "[::]:8443"
mode = "forward"
to = "orders.example:443"
dual_stack = true
accept_proxy = true
send_proxy = "v2"
congestion = "bbr"
backlog = 10

via = ["mumbai", "pune"]

[[listen]]
name = "proxy"
bind = "127.0.0.1:1080"
mode = "socks5"
users_file = "users"
paths = [["mumbai"], ["pune", "mumbai"], []]
choose = "fastest"

[[listen]]
name = "web"
bind = "127.0.0.1:8080"
mode = "forward"
to = "web.example:80"
preconnect = 16

[overlay]
bind = "0.0.0.0:7400"
key_file = "overlay.key"
transport = "mptcp"

[egress]
allow = ["10.0.0.0/8:443", "*.example:*"]

[[egress.preconnect]]
to = "db.example:5432"
connections = 17

[[peer]]
name = "mumbai"
address = "203.0.113.9:7400"
transport = "mptcp"
congestion = "bbr"
initial_window = 20
warm = 21
pool_min = 12
pool_max = 13
magazine = 14
max_age = 15.5

[[peer]]
name = "pune"
address = "pune.example:7400"

[outbound]
congestion = "cubic"
resolve_every = 5

[timeouts]
handshake = 1
connect = 2
idle = 0
half_closed = 0
drain = 3
retire = 0
worker_heartbeat = 4

[limits]
sessions = 5
sessions_per_source = 6
early_syn_pending = 7

[keepalive]
idle = 8
interval = 9
probes = 10
user_timeout = 11

[relay]
splice = false

[admin]
http = "[::1]:9901"
ready_when_filled = true

[health]
loop_lag = 0.5
replaced = 0
sessions = 1
descriptors = 0.8
memory = 0.7
memory_limit = 2_000_000_000
hit_rate = 0
pool_short = 600
"""
SETTINGS = GatewaySettings(
    name="oregon",
    workers=4,
    runtime_dir=Path("/var/lib/midmile"),
    log_format=LogFormat.JSON,
    listens=(
        Listen(
            name="orders",
            bind=Endpoint("::", 8443),
            mode=Mode.FORWARD,
            to=Endpoint("orders.example", 443),
            dual_stack=True,
            accept_proxy=True,
            send_proxy=ProxyHeader.V2,
            paths=(("mumbai", "pune"),),
            congestion="bbr",
            backlog=10,
        ),
        Listen(
            name="proxy",
            bind=Endpoint("127.0.0.1", 1080),
            mode=Mode.SOCKS5,
            paths=(("mumbai",), ("pune", "mumbai"), ()),
            choose=Choose.FASTEST,
            users={"ann": "hunter2"},
        ),
        Listen(
            name="web",
            bind=Endpoint("127.0.0.1", 8080),
            mode=Mode.FORWARD,
            to=Endpoint("web.example", 80),
            preconnect=16,
        ),
        Listen(
            name="overlay",
            bind=Endpoint("0.0.0.0", 7400),
            mode=Mode.OVERLAY,
            transport=Transport.MPTCP,
            window_bytes=29_200,
        ),
    ),
    peers=(
        Peer(
            name="mumbai",
            address=Endpoint("203.0.113.9", 7400),
            transport=Transport.MPTCP,
            congestion="bbr",
            initial_window=20,
            warm=21,
            pool_min=12,
            pool_max=13,
            magazine=14,
            max_age=15.5,
        ),
        Peer(name="pune", address=Endpoint("pune.example", 7400)),
    ),
    key_file="",  # depends on where the file is
    egress=EgressRules.parse(["10.0.0.0/8:443", "*.example:*"]),
    preconnect=(Preconnected(Endpoint("db.example", 5432), 17),),
    timeouts=Timeouts(handshake=1, connect=2, idle=0, half_closed=0, drain=3, retire=0, worker_heartbeat=4),
    limits=Limits(sessions=5, sessions_per_source=6, early_syn_pending=7),
    keepalive=Keepalive(idle=8, interval=9, probes=10, user_timeout=11),
    outbound=Outbound(congestion="cubic", resolve_every=5),
    relay=Relay(splice=False),
    access_log=AccessLog(enabled=False, format=LogFormat.JSON),
    admin=Endpoint("::1", 9901),
    ready_when_filled=True,
    health=Thresholds(
        loop_lag=0.5,
        replaced=0,
        sessions=1,
        descriptors=0.8,
        memory=0.7,
        memory_limit=2_000_000_000,
        hit_rate=0,
        pool_short=600,
    ),
)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    users = tmp_path / "users"
    users.write_text("ann:hunter2\n")
    users.chmod(0o600)
    create(tmp_path / "overlay.key")
    path = tmp_path / "gw.toml"
    path.write_text(FULL)
    return path


def keys_of(error: ConfigurationError) -> list[str]:
    return [problem.key for problem in error.problems]


def test_every_key_of_a_file_reaches_the_settings(full: Path) -> None:
    key_file = str(full.with_name("overlay.key"))
    assert load(full, surroundings=HERE) == replace(SETTINGS, key_file=key_file)


def test_the_example_is_valid_and_says_nothing_but_defaults(tmp_path: Path) -> None:
    path = tmp_path / "example.toml"
    path.write_text(example())
    settings = load(path, surroundings=HERE)
    assert replace(settings, listens=()) == replace(default(surroundings=HERE), listens=())
    assert [listen.mode for listen in settings.listens] == [Mode.MIXED, Mode.FORWARD]
    plain = Listen(name="forward", bind=Endpoint("127.0.0.1", 8443), mode=Mode.FORWARD, to=Endpoint("localhost", 443))
    assert settings.listens[1] == plain


def test_the_example_explains_every_key() -> None:
    text = example()
    for name, table in Document.model_fields.items():
        if name in {"overlay", "peer", "listen"}:
            continue
        for key in type(table.default).model_fields:
            assert f"{key} = " in text, f"{name}.{key}"
    made = {"users", "window_bytes", "number", "edition"}  # of other keys, or by the gateway
    for key in Listen.__dataclass_fields__.keys() - made | {"users_file", "via", "early_syn"}:
        assert f"{key} = " in text, f"listen.{key}"
    for key in Peer.__dataclass_fields__.keys() - made:
        assert f"{key} = " in text, f"peer.{key}"


def test_without_a_file_clients_ask_and_admin_answers_on_loopback() -> None:
    settings = default(surroundings=HERE)
    assert settings.listens == (Listen(name="default", bind=Endpoint("127.0.0.1", 1080), mode=Mode.MIXED),)
    assert settings.admin == Endpoint("127.0.0.1", 9900)
    assert settings.workers is None


def test_listen_and_to_make_a_port_forward() -> None:
    bind, to = Endpoint("::1", 8080), Endpoint("orders.example", 443)
    settings = default(listen=bind, to=to, surroundings=HERE)
    assert settings.listens == (Listen(name="default", bind=bind, mode=Mode.FORWARD, to=to),)


def test_listen_alone_moves_the_default_listener() -> None:
    settings = default(listen=Endpoint("127.0.0.1", 8080), surroundings=HERE)
    assert settings.listens[0].mode is Mode.MIXED


@pytest.mark.parametrize(
    ("listen", "to", "keys"),
    [
        (None, Endpoint("a", 1), ["--listen"]),
        (Endpoint("name", 80), Endpoint("a", 0), ["--listen", "--to"]),
        (Endpoint("127.0.0.1", 0), None, ["--listen"]),
        (Endpoint("127.0.0.1", 9900), None, ["--listen"]),
    ],
)
def test_options_obey_the_rules_of_a_file(listen: Endpoint | None, to: Endpoint | None, keys: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        default(listen=listen, to=to, surroundings=HERE)
    assert keys_of(caught.value) == keys


def test_a_wrong_key_and_a_wrong_users_file_are_told_together(full: Path) -> None:
    full.with_name("users").chmod(0o644)
    full.write_text(FULL.replace("backlog = 10", "backlog = 0"))
    with pytest.raises(ConfigurationError) as caught:
        load(full, surroundings=HERE)
    assert keys_of(caught.value) == ["listen[0].backlog", "listen[1].users_file"]


def test_passwords_are_never_shown(full: Path) -> None:
    settings = load(full, surroundings=HERE)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.for_workers(2, 1))


def test_settings_do_not_change(full: Path) -> None:
    settings = load(full, surroundings=HERE)
    with pytest.raises(FrozenInstanceError):
        settings.name = "mumbai"  # type: ignore[misc]


def test_workers_are_told_all_that_concerns_them() -> None:
    assert replace(SETTINGS, key_file="/etc/overlay.key").for_workers(3, 42) == WorkerSettings(
        listens=tuple(replace(listen, number=number) for number, listen in enumerate(SETTINGS.listens)),
        workers=3,
        shard_seed=42,
        gateway="oregon",
        peers=tuple(replace(peer, number=number) for number, peer in enumerate(SETTINGS.peers)),
        key_file="/etc/overlay.key",
        egress=SETTINGS.egress,
        preconnect=SETTINGS.preconnect,
        timeouts=SETTINGS.timeouts,
        limits=SETTINGS.limits,
        keepalive=SETTINGS.keepalive,
        outbound=SETTINGS.outbound,
        relay=SETTINGS.relay,
        access_log=SETTINGS.access_log,
    )


def test_listeners_and_peers_have_numbers_of_their_own(full: Path) -> None:
    told = load(full, surroundings=HERE).for_workers(2, 1)
    assert [listen.number for listen in told.listens] == list(range(len(told.listens)))
    assert [peer.number for peer in told.peers] == list(range(len(told.peers)))
    assert len(told.listens) > 1


def test_a_gateway_that_knows_no_other_needs_no_name() -> None:
    assert default(surroundings=HERE).for_workers(1, 1).gateway == ""


def test_a_wrong_key_file_is_a_problem_of_the_key_that_names_it(full: Path) -> None:
    full.with_name("overlay.key").chmod(0o640)
    with pytest.raises(ConfigurationError) as caught:
        load(full, surroundings=HERE)
    rule = "must name a file that only its owner may use, mode 0600"
    assert str(caught.value) == f"overlay.key_file: {rule}; found mode 0640"


def test_a_key_file_is_looked_for_beside_the_configuration_and_found_from_anywhere(
    full: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(full.parent)
    assert load(Path(full.name), surroundings=HERE).key_file == str(full.with_name("overlay.key"))


def test_runtime_dir_and_congestion_are_looked_up_where_nobody_says() -> None:
    assert default().runtime_dir == Surroundings.read().runtime_dir
