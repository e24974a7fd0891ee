from ipaddress import ip_network

import pytest

from pools.net.endpoint import Endpoint
from workers.settings import Listen, Mode
from workers.syn_filter import Target
from workers.syn_targets import targets_of

TO = Endpoint("203.0.113.9", 443)


def listen(bind: str, *, early_syn: bool = True, dual_stack: bool = False) -> Listen:
    return Listen("orders", Endpoint.parse(bind), Mode.FORWARD, TO, dual_stack=dual_stack, early_syn=early_syn)


@pytest.mark.parametrize(
    ("bind", "networks"),
    [
        ("198.51.100.1:8443", ["198.51.100.1/32"]),
        ("[2001:db8::1]:8443", ["2001:db8::1/128"]),
        ("[fe80::1%eth0]:8443", ["fe80::1/128"]),
        ("[::ffff:198.51.100.1]:8443", ["198.51.100.1/32"]),
    ],
)
def test_a_listener_wants_the_syns_for_its_address(bind: str, networks: list[str]) -> None:
    assert targets_of(listen(bind), port=8443) == [Target(ip_network(each), 8443) for each in networks]


@pytest.mark.parametrize(
    ("bind", "dual_stack", "networks"),
    [
        ("0.0.0.0:8443", False, ["0.0.0.0/0"]),
        ("[::]:8443", False, ["::/0"]),
        ("[::]:8443", True, ["::/0", "0.0.0.0/0"]),
    ],
)
def test_one_on_any_address_wants_those_that_end_here(bind: str, dual_stack: bool, networks: list[str]) -> None:
    wanted = targets_of(listen(bind, dual_stack=dual_stack), port=8443)
    assert wanted == [Target(ip_network(each), 8443, ends_here=True) for each in networks]


def test_one_address_is_of_one_version_whatever_the_socket_takes() -> None:
    assert targets_of(listen("[2001:db8::1]:7", dual_stack=True), port=7) == [Target(ip_network("2001:db8::1"), 7)]


def test_the_port_is_the_one_that_the_kernel_chose() -> None:
    assert targets_of(listen("127.0.0.1:0"), port=40123) == [Target(ip_network("127.0.0.1"), 40123)]


def test_a_listener_that_does_not_begin_early_wants_none() -> None:
    assert targets_of(listen("198.51.100.1:8443", early_syn=False), port=8443) == []


def test_a_capturing_listener_wants_what_the_firewall_leads_to_it() -> None:
    targets = (Target(ip_network("10.0.0.0/8"), 443), Target(ip_network("::/0"), None))
    web = Listen("web", Endpoint("0.0.0.0", 15001), Mode.TPROXY, early_syn=True, capture=targets)
    assert targets_of(web, port=15001) == list(targets)
