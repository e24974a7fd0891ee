"""What commands of the lab that measure have in common: progress on stderr, and how a failure ends them."""

from collections.abc import Callable
from typing import TypeVar

from gateway.commands.output import warn
from gateway.exit_codes import ExitCode
from pools.net.errors import MidmileError, StartError

Result = TypeVar("Result")


def progress(told: str) -> None:
    """Say what goes on, apart from the result."""
    warn(told)


def measured(measure: Callable[[], Result]) -> Result | ExitCode:
    """Give what `measure` finds; or say what failed, and give the exit code for it."""
    try:
        return measure()
    except StartError as error:
        warn(str(error))
        return ExitCode.CANNOT_START
    except MidmileError as error:
        warn(str(error))
        return ExitCode.UNWELL
