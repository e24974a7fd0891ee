"""`gateway completion`: a script for a shell."""

from typing import Any, Literal

from gateway.commands.output import say
from gateway.completion import bash, fish, zsh
from gateway.completion.vocabulary import Command
from gateway.exit_codes import ExitCode


def completion(root: Any, shell: Literal["bash", "zsh", "fish"]) -> ExitCode:
    """Print the script that lets `shell` complete the commands below `root`, a typer group."""
    writers = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}
    say(writers[shell](Command.read(root)).rstrip("\n"))
    return ExitCode.OK
