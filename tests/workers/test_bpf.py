"""Each instruction against an interpreter; whole programs are tested where they are made, and in the kernel."""

import pytest

from tests.bpf_machine import run
from workers import bpf

PACKET = bytes.fromhex("47 01 02 03") + bytes(range(4, 60))
OPTIONS = 4 * 7  # the header's length, as PACKET's first byte says it


@pytest.mark.parametrize(
    ("load", "value"),
    [
        (bpf.load_byte(1), 0x01),
        (bpf.load_half(2), 0x0203),
        (bpf.load_word(4), 0x04050607),
        (bpf.load_ipv4_header_length() + bpf.load_byte_behind(), OPTIONS),
        (bpf.load_ipv4_header_length() + bpf.load_byte_behind(3), OPTIONS + 3),
        (bpf.load_ipv4_header_length() + bpf.load_half_behind(2), 0x1E1F),
        (bpf.load_ipv4_header_length() + bpf.load_word_behind(), 0x1C1D1E1F),
    ],
)
def test_a_load_counts_from_the_ip_header(load: bytes, value: int) -> None:
    assert run(load + bpf.give_a(), PACKET) == value


def test_a_load_beyond_the_packet_gives_nothing() -> None:
    assert run(bpf.load_word(58) + bpf.give(1), PACKET) == 0


def test_for_whom_a_packet_is_stands_beside_it() -> None:
    assert run(bpf.load_packet_type() + bpf.give_a(), PACKET, packet_type=3) == 3


@pytest.mark.parametrize(
    ("step", "value"),
    [
        (bpf.mask(0x0F), 0x07),
        (bpf.flip(0xFF), 0xB8),
        (bpf.copy_to_x() + bpf.shift_right(4) + bpf.flip_by_x(), 0x43),
        (bpf.multiply(3), 0xD5),
        (bpf.modulo(10), 1),
    ],
)
def test_a_step_changes_the_number(step: bytes, value: int) -> None:
    assert run(bpf.load_byte(0) + step + bpf.give_a(), PACKET) == value


@pytest.mark.parametrize(("constant", "given"), [(0x47, 2), (0x48, 1)])
def test_a_skip_goes_behind_what_it_was_given(constant: int, given: int) -> None:
    first, second = bpf.give(1), bpf.give(2)
    assert run(bpf.load_byte(0) + bpf.skip_if_equal(constant, first) + first + second, PACKET) == given
    assert run(bpf.load_byte(0) + bpf.skip_unless_equal(constant, first) + first + second, PACKET) == 3 - given


def test_a_plain_skip_reaches_further_than_the_others() -> None:
    far = bpf.give(1) * 300
    assert bpf.length(far) == 300
    assert run(bpf.skip(far) + far + bpf.give(2), PACKET) == 2
