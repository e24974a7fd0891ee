"""What all commands have on their lines: exit codes below the help, --json, how one ends."""

from typing import Annotated, NoReturn

import typer

from gateway.exit_codes import ExitCode

EXIT_CODES = (
    "Exit codes: 0 well; 1 not well, or no gateway to ask; 2 wrong command line; 3 could not start; "
    "4 wrong configuration."
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def end(code: ExitCode) -> NoReturn:
    """End the command with its exit code."""
    raise typer.Exit(code)
