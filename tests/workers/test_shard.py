"""The spread of the hash, and the program against an interpreter of classic BPF that knows nothing of the hash."""

import ipaddress
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.net.endpoint import Endpoint
from tests.bpf_machine import run
from workers.shard import ShardHash

# Upper 0.1 % points of the chi-square distribution, by degrees of freedom (Abramowitz and Stegun, table 26.8).
CHI_SQUARE_LIMIT = {1: 10.83, 2: 13.82, 7: 24.32, 63: 103.44}
EVEN_PORTS = range(32768, 60999, 2)  # net.ipv4.ip_local_port_range as Linux ships it
SEEDS = (0, 1, 0xDEAD_BEEF)


@dataclass(frozen=True)
class Flow:
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int

    def slot(self, shard: ShardHash) -> int:
        return shard.slot(
            self.source, self.destination, source_port=self.source_port, destination_port=self.destination_port
        )

    def packet(self, options: bytes = b"") -> bytes:
        transport = struct.pack(">HH", self.source_port, self.destination_port) + bytes(16)
        if len(self.source) == 16:
            return b"\x60" + bytes(7) + self.source + self.destination + transport
        return bytes([0x45 + len(options) // 4]) + bytes(11) + self.source + self.destination + options + transport


seeds = st.integers(0, 0xFFFF_FFFF)
slots = st.integers(1, 64)
ports = st.integers(0, 65535)
shards = st.builds(ShardHash, seeds, slots)
options = st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4))


def flows(size: int) -> st.SearchStrategy[Flow]:
    address = st.binary(min_size=size, max_size=size)
    return st.builds(Flow, address, address, ports, ports)


def chi_square(found: Iterable[int], slots: int) -> float:
    counts = Counter(found)
    expected = counts.total() / slots
    return sum((counts[slot] - expected) ** 2 / expected for slot in range(slots))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slots", [2, 3, 8, 64])
@pytest.mark.parametrize(("source", "destination"), [("192.0.2.7", "198.51.100.1"), ("2001:db8::7", "2001:db8::1")])
def test_even_ports_of_one_client_spread_evenly(seed: int, slots: int, source: str, destination: str) -> None:
    shard = ShardHash(seed, slots)
    ends = [ipaddress.ip_address(host).packed for host in (source, destination)]
    found = [shard.slot(*ends, source_port=port, destination_port=443) for port in EVEN_PORTS]
    assert chi_square(found, slots) < CHI_SQUARE_LIMIT[slots - 1]


@pytest.mark.parametrize("slots", [2, 3, 8, 64])
def test_neighbouring_clients_on_one_port_spread_evenly(slots: int) -> None:
    shard = ShardHash(7, slots)
    clients = [(0x0A000000 + number).to_bytes(4, "big") for number in range(16384)]
    found = [shard.slot(client, b"\x0a\1\1\1", source_port=40000, destination_port=443) for client in clients]
    assert chi_square(found, slots) < CHI_SQUARE_LIMIT[slots - 1]


def test_a_spread_over_half_of_the_slots_would_fail_the_test() -> None:
    assert chi_square((port % 8 for port in EVEN_PORTS), 8) > CHI_SQUARE_LIMIT[7]


@pytest.mark.parametrize("bit", range(96))
def test_each_bit_of_the_packet_moves_half_of_the_flows(bit: int) -> None:
    shard = ShardHash(7, 2)
    tuples = [number * 0x9E37_79B9_7F4A_7C15_F39C_C060 & (1 << 96) - 1 for number in range(1, 201)]
    moved = sum(slot_of_bits(shard, bits) != slot_of_bits(shard, bits ^ 1 << bit) for bits in tuples)
    assert 60 < moved < 140


def slot_of_bits(shard: ShardHash, bits: int) -> int:
    source, destination, source_port, destination_port = struct.unpack(">4s4sHH", bits.to_bytes(12, "big"))
    return shard.slot(source, destination, source_port=source_port, destination_port=destination_port)


@given(shard=shards, flow=flows(4), option_bytes=options)
def test_the_program_agrees_for_ipv4_with_options(shard: ShardHash, flow: Flow, option_bytes: bytes) -> None:
    assert 0 <= flow.slot(shard) < shard.slots
    assert run(shard.program(), flow.packet(option_bytes)) == flow.slot(shard)


@given(shard=shards, flow=flows(16))
def test_the_program_agrees_for_ipv6(shard: ShardHash, flow: Flow) -> None:
    assert run(shard.program(), flow.packet()) == flow.slot(shard)


@given(shard=shards, packet=st.binary(max_size=80), first=st.sampled_from([0x45, 0x4F, 0x60, 0x00]))
def test_any_packet_gets_one_of_the_slots(shard: ShardHash, packet: bytes, first: int) -> None:
    assert 0 <= run(shard.program(), bytes([first]) + packet) < shard.slots


@given(host=st.ip_addresses(v=4).map(str), port=ports)
def test_a_mapped_address_is_the_ipv4_address_it_stands_for(host: str, port: int) -> None:
    shard = ShardHash(3, 64)
    plain = shard.slot_of(Endpoint(host, port), Endpoint("127.0.0.1", 443))
    mapped = ipaddress.IPv6Address(0xFFFF_0000_0000 | int(ipaddress.IPv4Address(host)))
    for form in (f"::ffff:{host}", str(mapped)):
        assert shard.slot_of(Endpoint(form, port), Endpoint("::ffff:127.0.0.1", 443)) == plain


def test_a_zone_is_no_part_of_the_address() -> None:
    shard = ShardHash(3, 64)
    here = Endpoint("fe80::1", 443)
    assert shard.slot_of(Endpoint("fe80::2%eth0", 9), here) == shard.slot_of(Endpoint("fe80::2", 9), here)


def test_the_way_back_is_another_packet() -> None:
    shard = ShardHash(5, 64)
    to = Endpoint("198.51.100.1", 443)
    clients = [Endpoint("192.0.2.7", port) for port in range(40000, 40640)]
    same = sum(shard.slot_of(client, to) == shard.slot_of(to, client) for client in clients)
    assert same < 40  # 1 in 64 by chance


def test_another_seed_is_another_assignment() -> None:
    to = Endpoint("198.51.100.1", 443)
    clients = [Endpoint("192.0.2.7", port) for port in range(40000, 40640)]
    same = sum(ShardHash(1, 64).slot_of(client, to) == ShardHash(2, 64).slot_of(client, to) for client in clients)
    assert same < 40


@pytest.mark.parametrize(
    ("seed", "slots", "message"),
    [(-1, 1, "seed must be .*found -1"), (2**32, 1, "seed must be"), (0, 0, "slots must be at least 1; found 0")],
)
def test_numbers_out_of_range_are_refused(seed: int, slots: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShardHash(seed, slots)


def test_the_program_stays_far_below_the_kernels_limit() -> None:
    assert len(ShardHash(0xFFFF_FFFF, 64).program()) // 8 < 128  # BPF_MAXINSNS is 4096, a jump reaches 255


@given(shard=shards, flow=flows(4) | flows(16), destination=st.binary(min_size=16, max_size=16), port=ports)
def test_by_source_the_destination_may_change_on_the_way(
    shard: ShardHash, flow: Flow, destination: bytes, port: int
) -> None:
    shard = replace(shard, by_source=True)
    changed = replace(flow, destination=destination[: len(flow.source)], destination_port=port)
    slots = {each.slot(shard) for each in (flow, changed)}
    slots |= {run(shard.program(), each.packet()) for each in (flow, changed)}
    assert len(slots) == 1


def test_by_source_one_client_is_spread_over_all() -> None:
    shard = ShardHash(1, 4, by_source=True)
    counts = Counter(Flow(b"\x0a\0\0\1", b"\x0a\0\0\2", port, 443).slot(shard) for port in EVEN_PORTS)
    expected = len(EVEN_PORTS) / 4
    assert (
        sum((counts[slot] - expected) ** 2 / expected for slot in range(4)) < 16.27
    )  # chi-square, 3 degrees of freedom
