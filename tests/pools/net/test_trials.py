"""The trials on the kernel at hand, and what they say when it refuses."""

import os
import struct
from collections.abc import Callable

import pytest

from pools.net import trials
from pools.net.transport import mptcp_lack
from tests.lonely_network import needs_root

RETURN_FIRST = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K
JUMP_NOWHERE = struct.pack("=HBBI", 0x05, 0, 0, 99)  # BPF_JMP | BPF_JA past the end


def open_descriptors() -> set[str]:
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


@pytest.mark.parametrize("trial", [trials.splice, trials.pipe_size, lambda: trials.reuseport_program(RETURN_FIRST)])
def test_a_trial_that_works_leaves_no_descriptor(trial: Callable[[], None]) -> None:
    trial()
    before = open_descriptors()
    trial()
    assert open_descriptors() == before


def test_a_program_that_the_kernel_refuses_is_reported_with_its_errno() -> None:
    with pytest.raises(trials.TrialError, match="SO_ATTACH_REUSEPORT_CBPF.*EINVAL"):
        trials.reuseport_program(JUMP_NOWHERE)


@needs_root
def test_capturing_that_works_leaves_no_descriptor() -> None:
    before = open_descriptors()
    trials.packet_capture(RETURN_FIRST)
    assert open_descriptors() == before


@needs_root
def test_a_program_that_may_not_share_out_packets_is_reported() -> None:
    with pytest.raises(trials.TrialError, match="cannot capture packets: EINVAL"):
        trials.packet_capture(JUMP_NOWHERE)


def test_a_refusal_says_what_was_tried() -> None:
    child = os.fork()
    if child == 0:
        os._exit(_try_without_descriptors())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _try_without_descriptors() -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    try:
        trials.splice()
    except trials.TrialError as error:
        return 0 if str(error).startswith("cannot splice: ") else 1
    return 2


@pytest.mark.skipif(bool(mptcp_lack()), reason=f"this kernel has no MPTCP: {mptcp_lack()}")
def test_a_kernel_with_mptcp_passes_its_trial() -> None:
    trials.mptcp()


def test_what_is_wrong_with_mptcp_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "mptcp_lack", lambda: "ENOPROTOOPT: it is switched off")
    with pytest.raises(trials.TrialError, match="cannot open an MPTCP socket: ENOPROTOOPT: it is switched off"):
        trials.mptcp()
