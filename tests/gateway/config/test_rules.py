"""What keys mean to one another: each rule, and what is close to breaking one and does not."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from gateway.config.configuration import settle
from gateway.config.files import parse_tables
from gateway.config.settings import GatewaySettings
from gateway.config.surroundings import Surroundings
from pools.handshake import OverlayKey
from pools.key_file import written
from pools.net.errors import ConfigurationError
from workers.syn_filter import Target

HERE = Surroundings(uid=0, congestion_controls=frozenset({"cubic", "reno"}))
NO_HEADER = 'must be false where mode is "redirect"; clients know of no gateway there'
NOT_FROM_IT = "must be 0 where preserve_source is true; a connection made before there is a client is not from it"
ITS_OWN = "must be an address and port of its own"


def listen(name: str = "a", bind: str = "127.0.0.1:1080", mode: str = "mixed", more: str = "") -> str:
    return f'[[listen]]\nname = "{name}"\nbind = "{bind}"\nmode = "{mode}"\n{more}\n'


def key_file(folder: Path) -> Path:
    path = folder / "overlay.key"
    path.touch(mode=0o600)
    path.write_bytes(written([OverlayKey(bytes(32))]))
    return path


def settled(text: str, surroundings: Surroundings = HERE) -> GatewaySettings:
    return settle(parse_tables(text.encode(), source="file"), folder=Path(), surroundings=surroundings)


def lines_of(text: str, surroundings: Surroundings = HERE) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settled(text, surroundings)
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["listen: must have at least one [[listen]] table, unless there is overlay.bind; found nothing"]),
        (
            "[[listen]]",
            [f"listen[0].{key}: is required; found nothing" for key in ("name", "bind", "mode")],
        ),
        (listen(mode="forward"), ['listen[0].to: is required where mode is "forward"; found nothing']),
        (
            listen(mode="socks5", more='to = "a:1"'),
            ['listen[0].to: must be absent unless mode is "forward"; clients name the destination; found "a:1"'],
        ),
        (
            listen(mode="forward", more='to = "a:1"\nusers_file = "users"'),
            ['listen[0].users_file: must be absent where mode is "forward"; no client is asked there; found a path'],
        ),
        (
            listen(mode="redirect", more='to = "a:1"'),
            ['listen[0].to: must be absent unless mode is "forward"; clients name the destination; found "a:1"'],
        ),
        (
            listen(mode="tproxy", more='users_file = "users"'),
            ['listen[0].users_file: must be absent where mode is "tproxy"; no client is asked there; found a path'],
        ),
        (
            listen(mode="redirect", more="accept_proxy = true"),
            [f"listen[0].accept_proxy: {NO_HEADER}; found true"],
        ),
        (
            listen(more="dual_stack = true"),
            ["listen[0].dual_stack: must be false where bind is an IPv4 address; found true"],
        ),
        (
            listen() + listen(bind="127.0.0.1:1081"),
            ['listen[1].name: must be unique, and listen[0] has it; found "a"'],
        ),
        (
            listen() + listen(name="b"),
            [f'listen[1].bind: {ITS_OWN}, and listen[0].bind has it; found "127.0.0.1:1080"'],
        ),
        (
            listen(bind="[::1]:80") + listen(name="b", bind="[0:0::1]:80"),
            [f'listen[1].bind: {ITS_OWN}, and listen[0].bind has it; found "[0:0::1]:80"'],
        ),
        (
            listen(bind="0.0.0.0:80") + listen(name="b", bind="[::]:80", more="dual_stack = true"),
            [f'listen[1].bind: {ITS_OWN}, and listen[0].bind has it; found "[::]:80"'],
        ),
        (
            listen(bind="127.0.0.1:9900"),
            [f'listen[0].bind: {ITS_OWN}, and admin.http has it; found "127.0.0.1:9900"'],
        ),
        (
            listen(more="preconnect = 8"),
            ['listen[0].preconnect: must be 0 unless mode is "forward" and a path dials from here; found 8'],
        ),
        (
            listen(mode="forward", more='to = "a:1"\npreconnect = 8\npreserve_source = true'),
            [f"listen[0].preconnect: {NOT_FROM_IT}; found 8"],
        ),
        (
            listen(more='congestion = "warp"'),
            ['listen[0].congestion: must be one that this kernel offers (cubic, reno); found "warp"'],
        ),
        (
            '[outbound]\ncongestion = "warp"\n' + listen(),
            ['outbound.congestion: must be one that this kernel offers (cubic, reno); found "warp"'],
        ),
        (
            "[keepalive]\nuser_timeout = 75\n" + listen(),
            ["keepalive.user_timeout: must be less than idle + interval * probes, which is 75; found 75"],
        ),
        (
            '[gateway]\nruntime_dir = "run"\n' + listen(),
            ['gateway.runtime_dir: must be an absolute path; found "run"'],
        ),
    ],
)
def test_a_broken_rule_names_the_key_that_breaks_it(text: str, lines: list[str]) -> None:
    assert lines_of(text) == lines


@pytest.mark.parametrize("mode", ["socks5", "connect", "mixed"])
def test_nothing_can_be_begun_at_a_syn_where_the_destination_comes_later(mode: str) -> None:
    rule = f'must be false where mode is "{mode}"; clients say where they want to go after their SYN'
    assert lines_of(listen(mode=mode, more="early_syn = true")) == [f"listen[0].early_syn: {rule}; found true"]


def test_nothing_can_be_begun_at_a_syn_where_the_client_s_name_comes_later() -> None:
    text = listen(mode="forward", more='to = "db.example:5432"\naccept_proxy = true\nearly_syn = true')
    rule = "must be false where accept_proxy is true; who the client is comes later"
    assert lines_of(text) == [f"listen[0].early_syn: {rule}; found true"]


def test_a_forward_may_be_begun_at_its_client_s_syn() -> None:
    (found,) = settled(listen(mode="forward", more='to = "db.example:5432"\nearly_syn = true')).listens
    assert found.early_syn


def test_a_gateway_that_only_others_come_to_needs_no_other_listener(tmp_path: Path) -> None:
    text = f'[gateway]\nname = "here"\n[overlay]\nbind = "0.0.0.0:7400"\nkey_file = "{key_file(tmp_path)}"\n'
    assert [each.name for each in settled(text).listens] == ["overlay"]


def test_the_address_of_the_overlay_is_nobody_elses(tmp_path: Path) -> None:
    text = f'[gateway]\nname = "here"\n[overlay]\nbind = "127.0.0.1:1080"\nkey_file = "{key_file(tmp_path)}"\n'
    line = f'listen[0].bind: {ITS_OWN}, and overlay.bind has it; found "127.0.0.1:1080"'
    assert lines_of(text + listen()) == [line]
    text += '[admin]\nhttp = "127.0.0.1:1080"\n'
    assert f'overlay.bind: {ITS_OWN}, and admin.http has it; found "127.0.0.1:1080"' in lines_of(text + listen())


def test_a_peers_congestion_control_is_one_of_the_kernels(tmp_path: Path) -> None:
    text = f'[gateway]\nname = "here"\n[overlay]\nkey_file = "{key_file(tmp_path)}"\n'
    text += '[[peer]]\nname = "mumbai"\naddress = "mumbai.example:7400"\ncongestion = "warp"\n'
    assert lines_of(text + listen()) == [
        'peer[0].congestion: must be one that this kernel offers (cubic, reno); found "warp"'
    ]


@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_a_listener_for_captured_connections_needs_no_more_than_its_mode(mode: str) -> None:
    (found,) = settled(listen(mode=mode, more="preserve_source = true")).listens
    assert (found.mode, found.captures, found.preserve_source) == (mode, True, True)


@pytest.mark.parametrize("mode", ["redirect", "tproxy"])
def test_captured_connections_may_begin_early_where_it_is_said_which(mode: str) -> None:
    text = listen(mode=mode, more='early_syn = true\ncapture = ["10.0.0.0/8:443", "[::/0]:*"]')
    assert settled(text).listens[0].capture == (
        Target(IPv4Network("10.0.0.0/8"), 443),
        Target(IPv6Network("::/0"), None),
    )
    rule = f'is required with early_syn where mode is "{mode}"; it says what the firewall leads here'
    assert lines_of(listen(mode=mode, more="early_syn = true")) == [f"listen[0].capture: {rule}; found nothing"]


@pytest.mark.parametrize(("mode", "more"), [("mixed", ""), ("tproxy", ""), ("forward", 'to = "a:1"\nearly_syn = true')])
def test_what_is_captured_is_said_for_early_syn_only(mode: str, more: str) -> None:
    rule = 'must be absent unless early_syn is true and mode is "redirect" or "tproxy"'
    text = listen(mode=mode, more=f'{more}\ncapture = ["10.0.0.0/8:443"]')
    assert lines_of(text) == [f"listen[0].capture: {rule}; found a list"]


@pytest.mark.parametrize("entry", ["db.example:443", "10.0.0.0/8:80-90"])
def test_what_is_captured_is_an_address_or_a_network_and_a_port_or_all(entry: str) -> None:
    line, *_ = lines_of(listen(mode="tproxy", more=f'early_syn = true\ncapture = ["{entry}"]'))
    assert line.startswith("listen[0].capture[0]: must be an address or a network and a port or *")


def test_the_defaults_of_what_is_not_built_yet_are_accepted() -> None:
    text = "[limits]\nearly_syn_pending = 10\n" + listen(more="via = []\nearly_syn = false")
    assert settled(text).limits.early_syn_pending == 10


@pytest.mark.parametrize(
    "text",
    [
        listen(bind="0.0.0.0:80") + listen(name="b", bind="127.0.0.1:80"),
        listen(bind="0.0.0.0:80") + listen(name="b", bind="[::]:80"),
        listen(bind="127.0.0.1:80") + listen(name="b", bind="[::]:80", more="dual_stack = true"),
        listen(bind="127.0.0.1:80") + listen(name="b", bind="127.0.0.1:81"),
    ],
)
def test_two_listeners_may_share_a_port_where_the_kernel_tells_them_apart(text: str) -> None:
    assert len(settled(text).listens) == 2


def test_a_listener_may_have_the_admin_address_where_admin_is_off() -> None:
    assert settled('[admin]\nhttp = "off"\n' + listen(bind="127.0.0.1:9900")).admin is None


def test_a_kernel_that_does_not_tell_what_it_offers_gets_the_benefit_of_the_doubt() -> None:
    text = listen(more='congestion = "warp"')
    assert settled(text, Surroundings(uid=0)).listens[0].congestion == "warp"


def test_the_longest_runtime_dir_still_holds_a_socket() -> None:
    longest = "/" + "d" * 93
    assert settled(f'[gateway]\nruntime_dir = "{longest}"\n' + listen()).runtime_dir == Path(longest)
    [line] = lines_of(f'[gateway]\nruntime_dir = "{longest}d"\n' + listen())
    assert line.startswith("gateway.runtime_dir: must be a path of at most 94 bytes, as its socket's is; found")


def test_a_runtime_dir_in_a_shared_place_must_be_private(tmp_path: Path) -> None:
    surroundings = Surroundings(uid=12345, shared_dir=tmp_path)
    surroundings.runtime_dir.mkdir(mode=0o755)
    [line] = lines_of(listen(), surroundings)
    assert line.startswith("gateway.runtime_dir: must be a directory of this user alone, mode 0700; found")


@pytest.mark.parametrize("paths", ["", "via = []", 'paths = [["mumbai"], []]'])
def test_connections_are_kept_ready_where_a_path_dials_from_here(tmp_path: Path, paths: str) -> None:
    overlay = f'[overlay]\nkey_file = "{key_file(tmp_path)}"\n[[peer]]\nname = "mumbai"\naddress = "a:1"\n'
    text = listen(mode="forward", more=f'to = "a:1"\npreconnect = 8\n{paths}') + overlay
    assert settled('[gateway]\nname = "oregon"\n' + text).listens[0].preconnect == 8


def test_none_are_kept_ready_where_every_path_leads_to_a_peer(tmp_path: Path) -> None:
    overlay = f'[overlay]\nkey_file = "{key_file(tmp_path)}"\n[[peer]]\nname = "mumbai"\naddress = "a:1"\n'
    text = listen(mode="forward", more='to = "a:1"\npreconnect = 8\nvia = ["mumbai"]') + overlay
    (line,) = lines_of('[gateway]\nname = "oregon"\n' + text)
    assert line.startswith("listen[0].preconnect: must be 0 unless")
