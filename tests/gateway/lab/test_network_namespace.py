import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.lab import network_namespace

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces")


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


@pytest.fixture
def namespace() -> Iterator[int]:
    made = network_namespace.create()
    yield made
    os.close(made)


@needs_root
def test_making_one_leaves_us_where_we_are(namespace: int) -> None:
    assert os.fstat(namespace).st_ino != here()


@needs_root
def test_a_block_is_inside_and_what_follows_is_not(namespace: int) -> None:
    home = here()
    with network_namespace.entered(namespace):
        assert here() == os.fstat(namespace).st_ino
    assert here() == home


@needs_root
def test_a_block_that_fails_comes_home_too(namespace: int) -> None:
    home = here()
    with pytest.raises(KeyError), network_namespace.entered(namespace):
        raise KeyError
    assert here() == home


@needs_root
def test_a_socket_belongs_to_the_block_it_was_made_in(namespace: int) -> None:
    with network_namespace.entered(namespace):
        inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside, pytest.raises(OSError, match="Network is unreachable"):
        inside.sendto(b"there is not even a loopback device", ("127.0.0.1", 9))


@needs_root
def test_a_path_leads_in_as_well(namespace: int) -> None:
    with network_namespace.entered(Path(f"/proc/self/fd/{namespace}")):
        assert here() == os.fstat(namespace).st_ino


@needs_root
def test_no_descriptor_is_left(namespace: int) -> None:
    before = os.listdir("/proc/self/fd")
    with network_namespace.entered(namespace):
        pass
    os.close(network_namespace.create())
    assert os.listdir("/proc/self/fd") == before


def test_what_is_no_namespace_is_refused_and_nothing_changes() -> None:
    home = here()
    with Path("/dev/null").open() as nothing, pytest.raises(OSError, match="Invalid argument"):  # noqa: SIM117
        with network_namespace.entered(nothing.fileno()):
            pytest.fail("we are inside nothing")
    assert here() == home
