import os
import socket

import pytest

from gateway.sockets.inherited import GroupKey, Inherited, as_bound, key_for, key_of
from pools.net import sockopts
from pools.net.endpoint import Endpoint
from pools.net.transport import Transport, mptcp_lack, open_stream
from tests.lonely_network import needs_root
from workers.settings import Listen, Mode


@pytest.mark.parametrize(
    ("bind", "dual_stack"), [("127.0.0.1:0", False), ("[::1]:0", False), ("[0:0::0]:0", True), ("[::]:0", False)]
)
@pytest.mark.parametrize("transport", Transport)
def test_a_socket_is_what_its_listener_needs(bind: str, dual_stack: bool, transport: Transport) -> None:
    listen = Listen("in", Endpoint.parse(bind), Mode.MIXED, dual_stack=dual_stack, transport=transport)
    with open_stream(socket.socket, listen.bind.family, transport) as sock:
        if listen.bind.family == socket.AF_INET6:
            sockopts.dual_stack(sock, dual_stack)
        sock.bind((listen.bind.host, 0))
        found = key_of(sock)
        assert found == key_for(listen, port=sock.getsockname()[1])
    assert found.transport is (Transport.TCP if mptcp_lack() else transport)


@needs_root
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
def test_a_transparent_socket_serves_no_other_mode(bind: str) -> None:
    address = Endpoint.parse(bind)
    with socket.socket(address.family) as sock:
        sockopts.transparent(sock)
        sock.bind((address.host, 0))
        port, found = sock.getsockname()[1], key_of(sock)
    assert found == key_for(Listen("in", address, Mode.TPROXY), port=port)
    assert found != key_for(Listen("in", address, Mode.MIXED), port=port)


@pytest.mark.parametrize(
    ("host", "written"),
    [("192.0.2.1", "192.0.2.1"), ("2001:DB8:0:0::1", "2001:db8::1"), ("::ffff:c000:201", "::ffff:192.0.2.1"),
     ("fe80:0::1%lo", "fe80::1%lo")],
)  # fmt: skip
def test_an_address_is_written_as_the_kernel_does(host: str, written: str) -> None:
    assert as_bound(host) == written


def test_what_nobody_took_is_closed() -> None:
    before = len(os.listdir("/proc/self/fd"))
    key = GroupKey("127.0.0.1:1", Transport.TCP, False, False)
    inherited = Inherited(
        {key: [socket.socket(), socket.socket()]}, [socket.socket()], {"127.0.0.1:2": socket.socket()}
    )
    with inherited.groups[key].pop():
        inherited.close()
        assert len(os.listdir("/proc/self/fd")) == before + 1
    inherited.close()
