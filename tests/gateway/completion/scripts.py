"""The scripts of the command line as it is, and a directory to complete names of files in."""

import typer

from gateway.cli import app
from gateway.completion.vocabulary import Command


def root() -> Command:
    return Command.read(typer.main.get_command(app))
