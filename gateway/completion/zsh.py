"""The script for zsh: to be sourced after compinit, or put as _gateway where fpath leads."""

from collections.abc import Iterator
from shlex import quote

from gateway.completion.vocabulary import Command, Option, Value

_END = """if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _gateway "$@"
else
    compdef _gateway gateway
fi
"""


def script(root: Command) -> str:
    """Write the script for all commands below `root`."""
    groups = [command for command in root.all() if command.commands]
    head = "#compdef gateway\n# Completion of gateway for zsh. Made by: gateway completion zsh\n"
    return "\n".join([head, *map(_group, groups), _END])


def _group(group: Command) -> str:
    """Write the function of a group, which finds its own word as the first one."""
    names = [quote(f"{command.name}:{command.help}") for command in group.commands]
    cases = [f"        {command.name}) {_call(command)} ;;" for command in group.commands]
    lines = [
        f"{_function(group)}() {{",
        "    if ((CURRENT == 2)) && [[ $words[2] == -* ]]; then",
        f"        {_arguments(group)}",
        "        return",
        "    elif ((CURRENT == 2)); then",
        "        local -a commands=(",
        *(f"            {name}" for name in names),
        "        )",
        "        _describe command commands",
        "        return",
        "    fi",
        "    shift words",
        "    ((CURRENT--))",
        "    case $words[1] in",
        *cases,
        "    esac",
        "}",
        "",
    ]
    return "\n".join(lines)


def _function(group: Command) -> str:
    return "_".join(["_gateway", *group.path])


def _call(command: Command) -> str:
    if command.commands:
        return _function(command)
    return _arguments(command)


def _arguments(command: Command) -> str:
    return " ".join(["_arguments", *map(quote, _specs(command))])


def _specs(command: Command) -> Iterator[str]:
    for option in command.options:
        yield from (_spec(name, option) for name in option.names)
    if command.argument:
        yield f"1:{_plain(command.argument.name)}:{_action(command.argument)}"


def _spec(name: str, option: Option) -> str:
    told = f"[{_plain(option.help)}]"
    return f"{name}=" + f"{told}:{_plain(option.value.name)}:{_action(option.value)}" if option.value else name + told


def _action(value: Value) -> str:
    if value.is_file:
        return "_files"
    if value.is_directory:
        return "_files -/"
    return f"({' '.join(value.words)})" if value.words else " "


def _plain(text: str) -> str:
    """Write text in which nothing means anything to _arguments."""
    return "".join(f"\\{letter}" if letter in "\\[]:" else letter for letter in text)
