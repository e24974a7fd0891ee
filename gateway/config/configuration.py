"""The configuration of a gateway, complete and frozen, from a file, from the command line, or from neither.

Files are opened in `files`, keys judged one by one in `schema` and `reading`, together in
`rules`, and frozen in `settings`; nothing below sees a table of a file.
"""

from dataclasses import replace
from importlib import resources
from pathlib import Path

from gateway.config import rules
from gateway.config.files import read_tables, read_users
from gateway.config.reading import Tables, understand
from gateway.config.schema import Document, ListenTable
from gateway.config.settings import GatewaySettings, Users, freeze
from gateway.config.surroundings import Surroundings
from pools.key_file import read_keys
from pools.net.endpoint import Endpoint
from pools.net.errors import ConfigurationError, Problem

_DEFAULT_LISTEN = Endpoint("127.0.0.1", 1080)


def load(path: Path, *, surroundings: Surroundings | None = None) -> GatewaySettings:
    """Read a configuration file; paths in it count from its own directory.

    Args:
        path: a TOML file.
        surroundings: user and kernel; looked up where not given.

    Raises:
        ConfigurationError: with every problem of the file, and of the files it names.
    """
    return settle(read_tables(path), folder=path.parent, surroundings=surroundings or Surroundings.read())


def default(
    *, listen: Endpoint | None = None, to: Endpoint | None = None, surroundings: Surroundings | None = None
) -> GatewaySettings:
    """Give the settings of a gateway without a file.

    Args:
        listen: where clients come in, 127.0.0.1:1080 where not given.
        to: where all of them are led; where not given, each asks by SOCKS5 or HTTP CONNECT.
        surroundings: user and kernel; looked up where not given.

    Raises:
        ConfigurationError: as for a file, with the options of the command line as keys.
    """
    if to is not None and listen is None:
        raise ConfigurationError([Problem("--listen", "is required with --to", "nothing")])
    table = {"name": "default", "bind": str(listen or _DEFAULT_LISTEN), "mode": "mixed"}
    if to is not None:
        table |= {"mode": "forward", "to": str(to)}
    try:
        return settle({"listen": [table]}, folder=Path(), surroundings=surroundings or Surroundings.read())
    except ConfigurationError as error:
        raise ConfigurationError([_as_option(problem) for problem in error.problems]) from error


def example() -> str:
    """Give the text of a configuration file that names and explains every key."""
    return resources.files("gateway.config").joinpath("example.toml").read_text(encoding="utf-8")


def settle(tables: Tables, *, folder: Path, surroundings: Surroundings) -> GatewaySettings:
    """Turn the tables of a file into settings.

    Args:
        tables: a TOML document, used up.
        folder: what the relative paths in it count from.
        surroundings: user and kernel.

    Raises:
        ConfigurationError: with every problem.
    """
    document, problems = understand(tables)
    users, users_problems = _all_users(document, folder)
    key_file, key_problems = _key_file(document, folder, surroundings)
    judged = tuple(problem.key for problem in problems)
    broken = [*rules.broken(document, surroundings), *users_problems, *key_problems]
    problems += [problem for problem in broken if not _is_under(problem.key, judged)]
    if problems:
        raise ConfigurationError(problems)
    return freeze(document, users=users, key_file=key_file, runtime_dir=surroundings.runtime_dir)


def _is_under(key: str, judged: tuple[str, ...]) -> bool:
    """Tell whether `key`, or a table that it is in, was wrong by itself; a rule has nothing to add to that."""
    return any(key == each or key.startswith((f"{each}.", f"{each}[")) for each in judged)


def _all_users(document: Document, folder: Path) -> tuple[list[Users], list[Problem]]:
    """Read each listener's users, in their order."""
    found = [_users(listen, folder, key=f"listen[{index}].users_file") for index, listen in enumerate(document.listen)]
    return [users for users, _ in found], [problem for _, problems in found for problem in problems]


def _users(listen: ListenTable, folder: Path, *, key: str) -> tuple[Users, list[Problem]]:
    if listen.users_file is None or listen.mode not in rules.ASKING_MODES:
        return {}, []
    return read_users(folder / listen.users_file, key=key)


def _key_file(document: Document, folder: Path, surroundings: Surroundings) -> tuple[str, list[Problem]]:
    """Give the key file's path, and what is wrong with it; its keys are read where they are used."""
    if document.overlay is None or document.overlay.key_file is None:
        return "", []
    path = (folder / document.overlay.key_file).absolute()
    _, problems = read_keys(path, key="overlay.key_file", uid=surroundings.uid)
    return str(path), problems


def _as_option(problem: Problem) -> Problem:
    options = {"listen[0].bind": "--listen", "listen[0].to": "--to"}
    return replace(problem, key=options.get(problem.key, problem.key))
