"""The script for fish, which completes by itself what stands in its directory of completions."""

from collections.abc import Iterator

from gateway.completion.vocabulary import Command, Option, Value


def script(root: Command) -> str:
    """Write the script for all commands below `root`."""
    lines = ["# Completion of gateway for fish. Made by: gateway completion fish", "complete -c gateway -f"]
    for command in root.all():
        lines += [f"complete -c gateway -n {_quoted(_condition(command))} {rest}" for rest in _offers(command)]
    return "\n".join([*lines, ""])


def _condition(command: Command) -> str:
    """Say when `command` is the one that is typed: its words were there, and none of those below it."""
    if not command.path:
        return "__fish_use_subcommand"
    there = [f"__fish_seen_subcommand_from {word}" for word in command.path]
    below = " ".join(each.name for each in command.commands)
    return "; and ".join([*there, f"not __fish_seen_subcommand_from {below}"] if below else there)


def _offers(command: Command) -> Iterator[str]:
    yield from (f"-a {each.name} -d {_quoted(each.help)}" for each in command.commands)
    for option in command.options:
        yield from (_option(name, option) for name in option.names)
    if command.argument:
        yield _value(command.argument, is_argument=True)


def _option(name: str, option: Option) -> str:
    takes = f" {_value(option.value)}" if option.value else ""
    return f"-l {name.removeprefix('--')}{takes} -d {_quoted(option.help)}"


def _value(value: Value, *, is_argument: bool = False) -> str:
    if value.is_file:
        return "-F" if is_argument else "-r -F"
    offered = "(__fish_complete_directories)" if value.is_directory else " ".join(value.words)
    return f"{'' if is_argument else '-x '}-a {_quoted(offered)}" if offered else "-x"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
