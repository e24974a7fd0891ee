"""The script for bash 4.4 or later. Files are readline's own matter: it knows quotes, blanks and tildes."""

from collections.abc import Iterable

from gateway.completion.vocabulary import Command, Value

_SCRIPT = r"""# Completion of gateway for bash. Made by: gateway completion bash
_gateway() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} path="" words="" place
    if [[ $current == = ]]; then # bash takes --option=value for three words
        current=""
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((place = 1; place < COMP_CWORD; place++)); do
        case "$path ${COMP_WORDS[place]}" in
            @PATHS@) path+=" ${COMP_WORDS[place]}" ;;
            *) case "$path" in @GROUPS@) path=" no such command" ;; esac ;;
        esac
    done
    COMPREPLY=()
    case "$path $previous" in
@VALUES@
        *)
            case "$path" in
@COMMANDS@
            esac
            ;;
    esac
    compopt +o default 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _gateway gateway
"""


def script(root: Command) -> str:
    """Write the script for all commands below `root`."""
    commands = list(root.all())
    values = [
        _value(command, name, option.value)
        for command in commands
        for option in command.options
        for name in option.names
        if option.value
    ]
    texts = {
        "@PATHS@": _one_of(command for command in commands if command.path),
        "@GROUPS@": _one_of(command for command in commands if command.commands),
        "@VALUES@": "\n".join(values),
        "@COMMANDS@": "\n".join(map(_command, commands)),
    }
    made = _SCRIPT
    for place, text in texts.items():
        made = made.replace(place, text)
    return made


def _one_of(commands: Iterable[Command]) -> str:
    return " | ".join(f'"{_path(command)}"' for command in commands)


def _path(command: Command) -> str:
    return "".join(f" {word}" for word in command.path)


def _value(command: Command, option: str, value: Value) -> str:
    return f'        "{_path(command)} {option}") {_offer(value)} ;;'


def _offer(value: Value) -> str:
    if value.is_file:
        return "return"
    if value.is_directory:
        return "compopt -o dirnames 2>/dev/null"
    return f'words="{" ".join(value.words)}"'


def _command(command: Command) -> str:
    options = " ".join(name for option in command.options for name in option.names)
    words = " ".join(each.name for each in command.commands) or options
    offer = f'words="{words}"'
    if command.commands:
        offer = f'if [[ $current == -* ]]; then words="{options}"; else {offer}; fi'
    elif command.argument:
        offer = f"if [[ $current == -* ]]; then {offer}; else {_offer(command.argument)}; fi"
    return f'                "{_path(command)}") {offer} ;;'
