"""Settings cross to a living worker as they were written, and nothing else does."""

import fcntl
import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pools.egress_rules import EgressRules
from pools.net.endpoint import Endpoint
from pools.net.errors import ProtocolError
from pools.net.sealed import LIMIT_BYTES, seal, unseal
from pools.peer import Peer
from workers.settings import Listen, Mode, Preconnected, WorkerSettings

ANY = Endpoint("127.0.0.1", 0)
SETTINGS = WorkerSettings(
    listens=(Listen("proxy", ANY, Mode.SOCKS5, users={"ann": "hunter2"}, number=4),),
    workers=3,
    shard_seed=7,
    gateway="oregon",
    peers=(Peer("mumbai", Endpoint("192.0.2.1", 7400), number=2),),
    key_file="/etc/overlay.key",
    egress=EgressRules.parse(("10.0.0.0/8:443", "*.example:443")),
    preconnect=(Preconnected(Endpoint("192.0.2.7", 443), 8),),
)


@contextmanager
def memory(content: bytes, *, seals: int = 0, size: int = 0) -> Iterator[int]:
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(descriptor, content)
        if size:
            os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)


ALL = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def test_what_is_read_is_what_was_written_as_often_as_it_is_read() -> None:
    descriptor = seal(SETTINGS)
    try:
        for _ in range(2):
            read = unseal(descriptor, WorkerSettings)
            assert read == SETTINGS
            assert read.egress.allows("a.example", "198.51.100.9", 443)
        with pytest.raises(PermissionError):
            os.write(descriptor, b"x")
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (pickle.dumps(SETTINGS), {}),
        (pickle.dumps(SETTINGS), {"seals": ALL & ~fcntl.F_SEAL_WRITE}),
        (b"", {"seals": ALL}),
        (b"x", {"seals": ALL, "size": LIMIT_BYTES + 1}),
        (b"no pickle", {"seals": ALL}),
        (pickle.dumps(SETTINGS)[:-20], {"seals": ALL}),
        (pickle.dumps({"workers": 3}), {"seals": ALL}),
    ],
    ids=["not sealed", "writable", "empty", "too much", "no pickle", "cut off", "something else"],
)
def test_anything_else_is_refused(content: bytes, more: dict[str, int]) -> None:
    with memory(content, **more) as descriptor, pytest.raises(ProtocolError, match="with CONFIGURE; found"):
        unseal(descriptor, WorkerSettings)


def test_a_descriptor_that_is_no_memory_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(ProtocolError, match="sealed memory"):
        unseal(sock.fileno(), WorkerSettings)
