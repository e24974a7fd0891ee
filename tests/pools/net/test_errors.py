"""Errors carry what their readers decide by, and say it in words."""

import errno

import pytest

from pools.net.errors import (
    ChildError,
    ConfigurationError,
    Fault,
    LegError,
    MidmileError,
    Phase,
    Problem,
    ProtocolError,
    Side,
    StartError,
)


def test_a_configuration_error_tells_all_problems_at_once() -> None:
    problems = [Problem("workers", "must be positive", "0"), Problem("listen[1].bind", "must have a port", "'::'")]
    error = ConfigurationError(problems)
    assert error.problems == problems
    assert str(error) == "workers: must be positive; found 0\nlisten[1].bind: must have a port; found '::'"


def test_a_leg_error_names_the_leg_the_target_and_the_kernels_reason() -> None:
    error = LegError(Side.OUTBOUND, Phase.CONNECT, errno.ECONNREFUSED, "app.example:443", retryable=True)
    assert str(error) == "outbound leg, app.example:443: ECONNREFUSED (Connection refused)"
    assert (error.side, error.phase, error.errno, error.retryable) == ("outbound", "C", errno.ECONNREFUSED, True)


def test_a_leg_error_without_a_number_still_has_words() -> None:
    assert str(LegError(Side.INBOUND, Phase.REQUEST, 0, "ended early")).startswith("inbound leg, ended early: 0 (")


def test_a_protocol_error_is_theirs_unless_said_otherwise() -> None:
    assert (ProtocolError("bad").fault, ProtocolError("bad").reply) == (Fault.THEIRS, b"")
    assert ProtocolError("bug", fault=Fault.OURS, reply=b"no").reply == b"no"


@pytest.mark.parametrize(
    "error", [ConfigurationError([]), StartError("taken"), ProtocolError("bad"), ChildError("no", exit_code=3)]
)
def test_all_are_ours(error: Exception) -> None:
    assert isinstance(error, MidmileError)
