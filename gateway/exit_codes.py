"""What a command's exit code says. Part of the contract with scripts and service managers: numbers never change."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How `gateway` ended.

    Attributes:
        OK: it did what was asked.
        UNWELL: it was asked whether the gateway is well, and it is not; or there is no gateway to ask.
        USAGE: the command line is wrong. Typer and Click use the same number.
        CANNOT_START: the gateway could not start for a reason outside its configuration. A child that
            cannot boot ends with this number too.
        CONFIGURATION: the configuration is wrong; nothing was bound.
    """

    OK = 0
    UNWELL = 1
    USAGE = 2
    CANNOT_START = 3
    CONFIGURATION = 4
