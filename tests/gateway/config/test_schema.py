"""Each key by itself: what a wrong value is answered with. The keys of a good file are in `test_config`."""

from pathlib import Path

import pytest

from gateway.config.configuration import settle
from gateway.config.files import parse_tables
from gateway.config.surroundings import Surroundings
from pools.net.errors import ConfigurationError

LISTEN = '[[listen]]\nname = "orders"\nbind = "127.0.0.1:8443"\nmode = "mixed"\n'
NAME_RULE = "must be 1 to 64 letters, digits, '_', '.' or '-', the first a letter or a digit"
BIND_RULE = "must be an address and a port, as in 0.0.0.0:443 or [::]:443; a name will not do"
PORT_RULE = "must end in a port from 1 to 65535, two ports in order as in 8000-8100, or *"
ENDPOINT_RULE = "must be HOST:PORT, as in 192.0.2.1:443 or [::1]:443"
WORKERS_RULE = 'must be "auto" or a whole number from 1 to 1024'


def lines_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settle(parse_tables(text.encode(), source="file"), folder=Path(), surroundings=Surroundings(uid=0))
    return str(caught.value).split("\n")


def with_bind(bind: str) -> str:
    return f'[[listen]]\nname = "orders"\nbind = "{bind}"\nmode = "mixed"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[gateway]\nname = "a b"', f'gateway.name: {NAME_RULE}; found "a b"'),
        ('[gateway]\nname = ""', f'gateway.name: {NAME_RULE}; found ""'),
        ("[gateway]\nname = 3", "gateway.name: must be a string; found 3"),
        ("[gateway]\nworkers = 0", f"gateway.workers: {WORKERS_RULE}; found 0"),
        ("[gateway]\nworkers = 1025", f"gateway.workers: {WORKERS_RULE}; found 1025"),
        ("[gateway]\nworkers = true", f"gateway.workers: {WORKERS_RULE}; found true"),
        ('[gateway]\nworkers = "4"', f'gateway.workers: {WORKERS_RULE}; found "4"'),
        ('[gateway]\nruntime_dir = ""', 'gateway.runtime_dir: must be a path; found ""'),
        ('[gateway]\nlog_format = "xml"', "gateway.log_format: must be 'text' or 'json'; found \"xml\""),
        ("[gateway]\naccess_log = true", "gateway.access_log: must be 'on' or 'off'; found true"),
        ("[timeouts]\nconnect = 0", "timeouts.connect: must be greater than 0; found 0"),
        ("[timeouts]\nidle = -1", "timeouts.idle: must be greater than or equal to 0; found -1"),
        ("[timeouts]\nhalf_closed = nan", "timeouts.half_closed: must be a finite number; found NaN"),
        ('[timeouts]\nhandshake = "10"', 'timeouts.handshake: must be a number; found "10"'),
        ("[timeouts]\ndrain = 1e9", "timeouts.drain: must be less than or equal to 31536000; found 1000000000.0"),
        (
            "[timeouts]\nworker_heartbeat = 0.5",
            "timeouts.worker_heartbeat: must be greater than or equal to 1; found 0.5",
        ),
        ("[limits]\nsessions = 0", "limits.sessions: must be greater than or equal to 1; found 0"),
        ("[limits]\nsessions = 1.5", "limits.sessions: must be a whole number; found 1.5"),
        (
            "[limits]\nsessions_per_source = -1",
            "limits.sessions_per_source: must be greater than or equal to 0; found -1",
        ),
        ("[limits]\nearly_syn_pending = -1", "limits.early_syn_pending: must be greater than or equal to 0; found -1"),
        ("[keepalive]\nidle = 32768", "keepalive.idle: must be less than or equal to 32767; found 32768"),
        ("[keepalive]\ninterval = 0", "keepalive.interval: must be greater than or equal to 1; found 0"),
        ("[keepalive]\nprobes = 128", "keepalive.probes: must be less than or equal to 127; found 128"),
        ("[keepalive]\nuser_timeout = 0", "keepalive.user_timeout: must be greater than or equal to 1; found 0"),
        ("[egress]\nallow = [1]", "egress.allow[0]: must be a string, HOST:PORT; found 1"),
        ('[egress]\nallow = ["a:1", "a:0"]', f'egress.allow[1]: {PORT_RULE}; found "a:0"'),
        ("[outbound]\nresolve_every = 0", "outbound.resolve_every: must be greater than or equal to 1; found 0"),
        ("[outbound]\ncongestion = 1", "outbound.congestion: must be a string; found 1"),
        ('[relay]\nsplice = "on"', 'relay.splice: must be true or false; found "on"'),
        ("[admin]\nhttp = 9900", "admin.http: must be a string, HOST:PORT; found 9900"),
        ('[admin]\nhttp = "localhost:9900"', f'admin.http: {BIND_RULE}; found "localhost:9900"'),
        ("admin = 9900", "admin: must be a table; found 9900"),
        ("[health]\nsessions = 0", "health.sessions: must be greater than 0; found 0"),
        ("[health]\nmemory = 90", "health.memory: must be less than or equal to 1; found 90"),
        ("[health]\nhit_rate = 1.5", "health.hit_rate: must be less than or equal to 1; found 1.5"),
        ("[health]\nloop_lag = 0", "health.loop_lag: must be greater than or equal to 0.001; found 0"),
        ("[health]\nmemory_limit = -1", "health.memory_limit: must be greater than or equal to 0; found -1"),
    ],
)
def test_a_wrong_value_is_answered_with_key_rule_and_value(text: str, line: str) -> None:
    assert lines_of(f"{text}\n{LISTEN}") == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[peer]]\nmagazine = 254", "peer[0].magazine: must be less than or equal to 253; found 254"),
        ("[[peer]]\nmagazine = 0", "peer[0].magazine: must be greater than or equal to 1; found 0"),
        ("[[peer]]\nmax_age = 9", "peer[0].max_age: must be greater than or equal to 10; found 9"),
        ("[[peer]]\npool_max = 0", "peer[0].pool_max: must be greater than or equal to 1; found 0"),
        ('[[peer]]\naddress = "a"', f'peer[0].address: {ENDPOINT_RULE}; found "a"'),
        ('[overlay]\nbind = "a:1"', f'overlay.bind: {BIND_RULE}; found "a:1"'),
    ],
)
def test_a_wrong_value_about_other_gateways_is_answered_too(text: str, line: str) -> None:
    assert line in lines_of(f"{text}\n{LISTEN}")  # beside what such a gateway cannot do without


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ('to = "nowhere"', 'listen[0].to: must be HOST:PORT, as in 192.0.2.1:443 or [::1]:443; found "nowhere"'),
        ('to = "a:0"', 'listen[0].to: must end in a port from 1 to 65535; found "a:0"'),
        ('send_proxy = "v3"', "listen[0].send_proxy: must be 'off', 'v1' or 'v2'; found \"v3\""),
        ("accept_proxy = 1", "listen[0].accept_proxy: must be true or false; found 1"),
        ('dual_stack = "yes"', 'listen[0].dual_stack: must be true or false; found "yes"'),
        ("early_syn = 0", "listen[0].early_syn: must be true or false; found 0"),
        ('paths = ["mumbai"]', 'listen[0].paths[0]: must be a list; found "mumbai"'),
        ('paths = [["a b"]]', f'listen[0].paths[0][0]: {NAME_RULE}; found "a b"'),
        ('paths = [[]]\nchoose = "best"', "listen[0].choose: must be 'first' or 'fastest'; found \"best\""),
        ('via = "mumbai"', 'listen[0].via: must be a list; found "mumbai"'),
        ("via = [1]", "listen[0].via[0]: must be a string; found 1"),
        ('users_file = "a\\u0000b"', 'listen[0].users_file: must be a path; found "a\\u0000b"'),
        ('users_file = {ann = "secret"}', "listen[0].users_file: must be a string; found a table"),
        ("backlog = 0", "listen[0].backlog: must be greater than or equal to 1; found 0"),
        ("backlog = 65536", "listen[0].backlog: must be less than or equal to 65535; found 65536"),
    ],
)
def test_a_wrong_value_of_a_listener_is_answered_with_its_place(key: str, line: str) -> None:
    assert lines_of(LISTEN + key) == [line]


@pytest.mark.parametrize(
    ("bind", "rule"),
    [
        ("localhost:80", BIND_RULE),
        ("127.0.0.1", "must be HOST:PORT, as in 192.0.2.1:443 or [::1]:443"),
        (":80", "must be HOST:PORT, as in 192.0.2.1:443 or [::1]:443"),
        ("::1:80", "must put an IPv6 address in brackets, as in [::1]:8443"),
        ("[127.0.0.1]:80", "must hold an IPv6 address between its brackets"),
        ("127.0.0.1:0", "must end in a port from 1 to 65535"),
        ("127.0.0.1:65536", "must end in a port from 0 to 65535"),
        ("[::ffff:127.0.0.1]:80", "must be an IPv4 address written as one, without ::ffff:"),
    ],
)
def test_a_listener_is_bound_to_an_address_and_a_port(bind: str, rule: str) -> None:
    assert lines_of(with_bind(bind)) == [f'listen[0].bind: {rule}; found "{bind}"']


def test_an_unknown_mode_is_answered_with_all_there_are() -> None:
    modes = "'forward', 'redirect', 'tproxy', 'socks5', 'connect' or 'mixed'"
    text = '[[listen]]\nname = "a"\nbind = "127.0.0.1:1"\nmode = "http"'
    assert lines_of(text) == [f'listen[0].mode: must be {modes}; found "http"']


@pytest.mark.parametrize("name", ["listen", "peer"])
def test_one_table_in_place_of_many_is_answered_with_how_to_write_it(name: str) -> None:
    expected = f"{name}: must be tables that begin with [[{name}]]; found a table"
    assert expected in lines_of(f'[{name}]\nname = "a"')
