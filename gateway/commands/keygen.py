"""`gateway keygen`: key files of the overlay, without a gateway. Prints ids, never keys."""

import os
from pathlib import Path

from gateway import overlay_key
from gateway.commands.output import say, warn
from gateway.exit_codes import ExitCode
from gateway.overlay_key import KeyFileError, Rotation

_NEXT = {
    Rotation.ADD: "then `--rotate switch`",
    Rotation.SWITCH: "then `--rotate drop`",
    Rotation.DROP: "and the old key is gone",
}


def keygen(file: Path, *, step: Rotation | None) -> ExitCode:
    """Make a key file, never over one that is there; or take one step of replacing its key.

    Raises:
        ConfigurationError: the file that is there cannot be read, or is wrong.
    """
    try:
        if step is None:
            made = overlay_key.create(file)
            say(f"wrote {file}, key {made.id.hex()}; copy it to every gateway of the overlay, mode 0600")
            return ExitCode.OK
        keys = overlay_key.rotate(file, step, uid=os.geteuid())
    except KeyFileError as error:
        warn(str(error))
        return ExitCode.USAGE
    accepts = ", ".join(key.id.hex() for key in keys)
    say(f"{file}: proves with {keys[0].id.hex()}, accepts {accepts}; give it to every gateway, {_NEXT[step]}")
    return ExitCode.OK
