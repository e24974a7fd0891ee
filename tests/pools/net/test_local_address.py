import errno
import socket

import pytest

from pools.net import local_address
from pools.net.local_address import LocalAddresses

SOMEBODY_ELSES = ["192.0.2.1", "2001:db8::1"]  # for documentation (RFC 5737, RFC 3849), so nobody's


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_the_loopback_is_ours(host: str) -> None:
    assert LocalAddresses().has(host, now_s=0.0)


@pytest.mark.parametrize("host", SOMEBODY_ELSES)
def test_somebody_elses_is_not(host: str) -> None:
    assert not LocalAddresses().has(host, now_s=0.0)


def test_a_link_local_one_is_taken_for_ours() -> None:
    assert LocalAddresses().has("fe80::1", now_s=0.0)


class Kernel:
    """Stands in for the question to the kernel, whose answer may change."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = False

    def __call__(self, host: str) -> bool:
        self.asked.append(host)
        return self.answer


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(local_address, "_is_ours", made)
    return made


def test_an_answer_is_kept_for_ten_seconds(kernel: Kernel) -> None:
    addresses = LocalAddresses()
    assert not addresses.has("192.0.2.1", now_s=100.0)
    kernel.answer = True
    assert not addresses.has("192.0.2.1", now_s=109.9)
    assert addresses.has("192.0.2.1", now_s=110.0)
    assert kernel.asked == ["192.0.2.1"] * 2


def test_a_flood_of_addresses_is_not_remembered(kernel: Kernel) -> None:
    addresses = LocalAddresses()
    hosts = [f"10.0.{high}.{low}" for high in range(20) for low in range(256)]
    for host in hosts:
        addresses.has(host, now_s=100.0)
    assert kernel.asked == hosts
    assert len(addresses._known) <= 4096  # memory is what this is about


def test_a_refusal_for_another_reason_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "no descriptor left")

    monkeypatch.setattr(socket, "socket", refuse)
    assert LocalAddresses().has("192.0.2.1", now_s=0.0)
