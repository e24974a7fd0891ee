"""`gateway version`."""

from gateway import release
from gateway.commands.output import say, say_json
from gateway.exit_codes import ExitCode


def version(*, as_json: bool) -> ExitCode:
    """Print the version."""
    number = release.version()
    if as_json:
        say_json({"version": number})
    else:
        say(f"midmile {number}")
    return ExitCode.OK
