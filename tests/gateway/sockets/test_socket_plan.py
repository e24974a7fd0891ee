from dataclasses import replace

import pytest

from gateway.sockets.inherited import GroupKey
from gateway.sockets.socket_plan import Known, paired
from pools.net.endpoint import Endpoint
from pools.net.errors import StartError
from pools.net.transport import Transport
from workers.settings import Listen, Mode

WEB = Listen("web", Endpoint("192.0.2.1", 443), Mode.MIXED)
ANY_PORT = Listen("any", Endpoint("127.0.0.1", 0), Mode.MIXED)


def key(address: str, *, dual_stack: bool = False, transparent: bool = False) -> GroupKey:
    return GroupKey(address, Transport.TCP, transparent, dual_stack)


def test_a_listener_goes_on_with_the_sockets_at_its_address_whatever_it_is_called() -> None:
    have = [key("192.0.2.1:80"), key("192.0.2.1:443")]
    renamed = replace(WEB, name="other", mode=Mode.FORWARD, to=Endpoint("example.net", 1))
    assert paired([renamed], have, {}) == [have[1]]


def test_a_new_address_must_be_opened() -> None:
    known = {"web": Known(WEB.bind, key("192.0.2.1:443"))}
    moved = replace(WEB, bind=Endpoint("192.0.2.1", 444))
    assert paired([moved], [key("192.0.2.1:443")], known) == [None]


def test_a_port_that_the_kernel_chose_stays_with_the_name() -> None:
    have = [key("127.0.0.1:5001"), key("127.0.0.1:5002")]
    known = {"any": Known(ANY_PORT.bind, have[1]), "gone": Known(ANY_PORT.bind, have[0])}
    assert paired([ANY_PORT, replace(ANY_PORT, name="new")], have, known) == [have[1], None]


def test_sockets_from_elsewhere_have_no_names_and_are_taken_in_order() -> None:
    have = [key("127.0.0.1:5001"), key("[::1]:5001"), key("127.0.0.1:5002")]
    both = [ANY_PORT, replace(ANY_PORT, name="another", bind=Endpoint("127.0.0.1", 5001)), replace(ANY_PORT, name="b")]
    assert paired(both, have, {}) == [have[2], have[0], None]


@pytest.mark.parametrize("of_now", [key("192.0.2.1:443", transparent=True), key("192.0.2.1:443", dual_stack=True)])
def test_what_cannot_change_of_an_open_socket_is_refused_with_the_way_out(of_now: GroupKey) -> None:
    with pytest.raises(StartError, match=r"listener 'web' on 192\.0\.2\.1:443: .* take it out with one reload"):
        paired([WEB], [of_now], {"web": Known(WEB.bind, of_now)})
