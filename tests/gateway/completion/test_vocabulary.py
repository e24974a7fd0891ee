import pytest
import typer

from gateway.completion.vocabulary import HELP, Command, Option, Value
from tests.gateway.completion.scripts import root


def command(*path: str) -> Command:
    return next(each for each in root().all() if each.path == path)


def test_every_command_is_there_with_its_options_and_help() -> None:
    assert {each.name for each in root().commands} >= {"start", "stop", "status", "top", "check", "lab", "completion"}
    assert command("lab", "plan").path == ("lab", "plan")
    top = command("top")
    assert top.help.startswith("Watch the running gateway")
    assert Option(("--every",), "Time between two looks, 0.2 to 60.", Value("SECONDS")) in top.options
    assert Option(("--json",), "Print JSON.") in top.options
    assert top.options[-1] == HELP


def test_what_a_value_is_called_says_what_it_may_be() -> None:
    (config, runtime_dir) = command("status").options[:2]
    assert config.value is not None
    assert config.value.is_file
    assert runtime_dir.value is not None
    assert runtime_dir.value.is_directory
    assert command("check").argument == Value("FILE")
    assert command("status").argument is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("auto|N", ("auto",)),
        ("add|switch|drop", ("add", "switch", "drop")),
        ("FILE", ()),
        ("word", ()),
        ("HOST:PORT", ()),
    ],
)
def test_small_letters_between_bars_are_words_to_type(name: str, words: tuple[str, ...]) -> None:
    assert Value(name).words == words


def test_both_names_of_a_switch_are_there_and_what_is_hidden_is_not() -> None:
    app = typer.Typer(add_completion=False)

    @app.command()
    def drain(wait: bool = True, secret: bool = typer.Option(False, "--secret", hidden=True)) -> None:
        """Drain."""

    @app.command(hidden=True)
    def inner() -> None:
        """Nobody's business."""

    (only,) = Command.read(typer.main.get_command(app)).commands
    assert only.path == ("drain",)
    assert [option.names for option in only.options] == [("--wait", "--no-wait"), ("--help",)]
