"""`gateway check` and `gateway init`: configuration files, without a gateway."""

from dataclasses import asdict
from pathlib import Path

from gateway.commands.output import say, say_json, warn
from gateway.config import configuration
from gateway.exit_codes import ExitCode
from pools.net.errors import ConfigurationError


def check(file: Path, *, as_json: bool) -> ExitCode:
    """Judge a configuration file.

    Raises:
        ConfigurationError: with all its problems, unless they were printed as JSON.
    """
    try:
        configuration.load(file)
    except ConfigurationError as error:
        if not as_json:
            raise
        say_json({"ok": False, "problems": [asdict(problem) for problem in error.problems]})
        return ExitCode.CONFIGURATION
    if as_json:
        say_json({"ok": True, "problems": []})
    else:
        say(f"{file}: correct")
    return ExitCode.OK


def init(file: Path) -> ExitCode:
    """Write an example that names and explains every key; never over a file that is there."""
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(configuration.example())
    except OSError as error:
        warn(f"{file}: expected a place for a new file; found: {error.strerror}")
        return ExitCode.USAGE
    say(f"wrote {file}; judge it with `gateway check {file}`, run it with `gateway start --config {file}`")
    return ExitCode.OK
