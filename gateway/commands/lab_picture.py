"""`--picture` of the lab's commands: seen to before the work, drawn after it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.commands.output import warn
from gateway.exit_codes import ExitCode
from gateway.lab import picture
from pools.net.errors import StartError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def can_draw(file: Path | None) -> bool:
    """Tell whether the picture that was asked for, if any, can be drawn; say why where it cannot."""
    try:
        if file is not None:
            picture.require_drawable(file)
    except StartError as error:
        warn(str(error))
        return False
    return True


def drawn(file: Path | None, draw: Callable[[], "Figure"]) -> ExitCode:
    """Draw into `file`, if one was asked for."""
    try:
        if file is not None:
            picture.save(draw(), file)
    except OSError as error:
        warn(f"{file}: expected a file that can be written; found: {error.strerror}")
        return ExitCode.USAGE
    return ExitCode.OK
