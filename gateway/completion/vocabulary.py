"""The words of the command line, read from typer's commands: what may follow what. Knows no shell."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

_HELP_WIDTH: Final = 200


@dataclass(frozen=True, slots=True)
class Value:
    """What an option or an argument takes, by the name that its help gives it: FILE, DIR, auto|N, HOST:PORT."""

    name: str

    @property
    def is_file(self) -> bool:
        """It names a file."""
        return self.name == "FILE"

    @property
    def is_directory(self) -> bool:
        """It names a directory."""
        return self.name == "DIR"

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it may be; capitals stand for something else."""
        parts = self.name.split("|")
        return tuple(part for part in parts if part.islower()) if len(parts) > 1 else ()


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        names: with their dashes.
        value: None for one that stands by itself.
    """

    names: tuple[str, ...]
    help: str
    value: Value | None = None


HELP: Final = Option(("--help",), "Show this message and exit.")


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or a group of them.

    Attributes:
        path: the words that lead to it, without the program's.
        argument: what it takes besides options; None for nothing.
        commands: of a group.
    """

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...] = (HELP,)
    argument: Value | None = None
    commands: tuple["Command", ...] = ()

    @classmethod
    def read(cls, command: Any, path: tuple[str, ...] = ()) -> Self:
        """Read a typer command and those below it. Hidden ones are left out."""
        below: dict[str, Any] = getattr(command, "commands", {})
        options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        return cls(
            path=path,
            help=command.get_short_help_str(_HELP_WIDTH),
            options=(*map(_option, options), HELP),
            argument=next((Value(each.metavar or each.name.upper()) for each in arguments), None),
            commands=tuple(cls.read(each, (*path, name)) for name, each in below.items() if not each.hidden),
        )

    @property
    def name(self) -> str:
        """The last of the words that lead to it."""
        return self.path[-1] if self.path else ""

    def all(self) -> Iterable["Command"]:
        """Give this one and all below it."""
        yield self
        for each in self.commands:
            yield from each.all()


def _option(parameter: Any) -> Option:
    names = (*parameter.opts, *parameter.secondary_opts)
    value = None if parameter.is_flag else Value(parameter.metavar or parameter.name.upper())
    return Option(names, parameter.help or "", value)
