"""The `gateway` command line: what can be said, and exit codes. What is done is in `gateway.commands`.

Commands load what they need when they run: `gateway version` should not wait for an HTTP server.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

from gateway.commands import lab
from gateway.commands.command_line import EXIT_CODES, Json, end
from gateway.drain import LONGEST_S
from gateway.exit_codes import ExitCode
from pools.net.endpoint import Endpoint
from pools.net.errors import ConfigurationError, MidmileError

app = typer.Typer(
    help="Midmile: carries TCP connections over long distances in short legs.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},  # those of commands below are the same
)
app.add_typer(lab.app, name="lab")


def _endpoint(text: str) -> Endpoint:
    try:
        return Endpoint.parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; found {text}") from error


def _workers(text: str) -> int:
    from gateway.config.schema import MAX_WORKERS

    if text == "auto":
        return 0
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_WORKERS:
        return int(text)
    raise typer.BadParameter(f"must be 'auto' or a number from 1 to {MAX_WORKERS}; found {text}")


def _config(help: str) -> Any:
    return typer.Option("--config", metavar="FILE", help=help)


def _runtime_dir(help: str) -> Any:
    return typer.Option("--runtime-dir", metavar="DIR", help=help)


def _address(help: str) -> Any:
    return typer.Option(parser=_endpoint, metavar="HOST:PORT", help=help)


Running = Annotated[Path | None, _config("The gateway with this configuration file.")]
RunningIn = Annotated[
    Path | None, _runtime_dir("The gateway in this runtime directory (control socket, pid file, scoreboard).")
]


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        version()


@app.callback()
def gateway(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what stands before a command."""


@app.command(epilog=EXIT_CODES)
def start(
    config: Annotated[Path | None, _config("Configuration file.")] = None,
    runtime_dir: Annotated[Path | None, _runtime_dir("Put control socket, pid file and scoreboard here.")] = None,
    listen: Annotated[Endpoint | None, _address("Listen here, instead of 127.0.0.1:1080.")] = None,
    to: Annotated[Endpoint | None, _address("Lead every client there: a port forward.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(parser=_workers, metavar="auto|N", help="Worker processes; auto is one on each core."),
    ] = None,
) -> None:
    """Run a gateway in the foreground.

    Without a file: SOCKS5 and HTTP CONNECT on 127.0.0.1:1080, or a port forward with --listen and --to.
    """
    from gateway.commands.start import start as run

    if config is not None and (listen or to):
        raise typer.BadParameter("--listen and --to make a gateway without a file: give them or --config")
    if to is not None and listen is None:
        raise typer.BadParameter("--to needs --listen")
    end(run(file=config, listen=listen, to=to, workers=workers, runtime_dir=runtime_dir))


@app.command(epilog=EXIT_CODES)
def stop(
    config: Running = None,
    runtime_dir: RunningIn = None,
    now: Annotated[bool, typer.Option("--now", help="Reset sessions instead of letting them end.")] = False,
    json: Json = False,
) -> None:
    """Drain the running gateway for a few seconds at most, and wait until it has ended."""
    from gateway.commands.stop import stop as run

    end(run(_where(runtime_dir, config), now=now, as_json=json))


@app.command(epilog=EXIT_CODES)
def drain(
    config: Running = None,
    runtime_dir: RunningIn = None,
    limit: Annotated[
        float | None,
        typer.Option(min=0.1, max=LONGEST_S, metavar="SECONDS", help="Instead of the configuration's timeouts.drain."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Show how far it is until the gateway has ended.")] = True,
    json: Json = False,
) -> None:
    """End the running gateway once its sessions have ended: nobody is refused who is already there.

    What is left after the limit is reset. With --json one object a line, each second.
    """
    from gateway.commands.stop import drain as run

    end(run(_where(runtime_dir, config), limit_s=limit or 0.0, wait=wait, as_json=json))


@app.command(epilog=EXIT_CODES)
def reload(config: Running = None, runtime_dir: RunningIn = None, json: Json = False) -> None:
    """Have the running gateway take its configuration file as it is now; nobody is refused or reset meanwhile.

    A file that is wrong changes nothing: exit code 4, and every problem.
    """
    from gateway.commands.reload import reload as run
    from gateway.commands.where import runtime_dir_to_reload

    end(run(runtime_dir_to_reload(runtime_dir, config), as_json=json))


@app.command(epilog=EXIT_CODES)
def upgrade(config: Running = None, runtime_dir: RunningIn = None, json: Json = False) -> None:
    """Have the running gateway go on with the code that is installed now; nobody is refused or reset meanwhile.

    New code that cannot start changes nothing: exit code 3, or 4 where it is the configuration, and its last words.
    """
    from gateway.commands.upgrade import upgrade as run
    from gateway.commands.where import runtime_dir_to_reload

    end(run(runtime_dir_to_reload(runtime_dir, config), as_json=json))


@app.command(epilog=EXIT_CODES)
def status(config: Running = None, runtime_dir: RunningIn = None, json: Json = False) -> None:
    """Show the running gateway and each of its workers."""
    from gateway.commands.status import status as run

    end(run(_where(runtime_dir, config), as_json=json))


@app.command(epilog=EXIT_CODES)
def health(
    config: Running = None,
    runtime_dir: RunningIn = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 where it is degraded, too.")] = False,
    json: Json = False,
) -> None:
    """Tell whether the running gateway is well, and why not: exit code 0 where it serves, or 1."""
    from gateway.commands.health import judge

    end(judge(_where(runtime_dir, config), as_json=json, strict=strict))


@app.command(epilog=EXIT_CODES)
def sessions(config: Running = None, runtime_dir: RunningIn = None, json: Json = False) -> None:
    """List live sessions."""
    from gateway.commands.sessions import sessions as run

    end(run(_where(runtime_dir, config), as_json=json))


@app.command(epilog=EXIT_CODES)
def links(config: Running = None, runtime_dir: RunningIn = None, json: Json = False) -> None:
    """Show the link to each peer, and the pool of legs that is kept ready over it."""
    from gateway.commands.links import links as run

    end(run(_where(runtime_dir, config), as_json=json))


@app.command(epilog=EXIT_CODES)
def top(
    config: Running = None,
    runtime_dir: RunningIn = None,
    every: Annotated[
        float, typer.Option(min=0.2, max=60, metavar="SECONDS", help="Time between two looks, 0.2 to 60.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one sample, measured over that time, and end.")] = False,
    json: Json = False,
) -> None:
    """Watch the running gateway: workers, listeners, peers, throughput. q or Ctrl-C ends it.

    It goes on over restarts, reloads and upgrades of the gateway. With --json alone: one object a line for each look.
    """
    from gateway.commands.top import top as run

    end(run(_where(runtime_dir, config), every_s=every, once=once, as_json=json))


@app.command(epilog=EXIT_CODES)
def check(file: Annotated[Path, typer.Argument(help="Configuration file.")], json: Json = False) -> None:
    """Judge a configuration file: exit code 0, or 4 and every problem."""
    from gateway.commands.files import check as run

    end(run(file, as_json=json))


@app.command(epilog=EXIT_CODES)
def init(file: Annotated[Path, typer.Argument(help="File to write.")] = Path("midmile.toml")) -> None:
    """Write a commented example configuration."""
    from gateway.commands.files import init as run

    end(run(file))


@app.command(epilog=EXIT_CODES)
def keygen(
    file: Annotated[Path, typer.Argument(help="Key file.")],
    rotate: Annotated[
        Literal["add", "switch", "drop"] | None,
        typer.Option(metavar="add|switch|drop", help="Take one step of replacing the file's key."),
    ] = None,
) -> None:
    """Write a new key file of the overlay, mode 0600, never over a file that is there.

    All gateways of an overlay have the same file. To replace its key while they run: --rotate add, and the new key is
    accepted too; --rotate switch, and it is the one that is used; --rotate drop, and the old one is gone. After each
    step, and before the next one, give the file to every gateway and have it read: then any two always share a key.
    """
    from gateway.commands.keygen import keygen as run
    from gateway.overlay_key import Rotation

    end(run(file, step=Rotation(rotate) if rotate else None))


@app.command(epilog=EXIT_CODES)
def doctor(
    config: Annotated[Path | None, _config("Examine the host for this configuration file.")] = None,
    runtime_dir: RunningIn = None,
    json: Json = False,
) -> None:
    """Examine this host: exit code 0, or 1 where the gateway could not work here as configured."""
    from gateway.commands.doctor import doctor as run

    end(run(config, runtime_dir, as_json=json))


@app.command(epilog=EXIT_CODES)
def completion(
    context: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="Whose script.")],
) -> None:
    """Print the script that lets a shell complete this command line.

    For now: source <(gateway completion bash). For good: put it where your shell looks for completions.
    """
    from gateway.commands.completion import completion as run

    end(run(context.find_root().command, shell))


@app.command(epilog=EXIT_CODES)
def version(json: Json = False) -> None:
    """Print the version."""
    from gateway.commands.version import version as run

    end(run(as_json=json))


def main() -> NoReturn:
    """Run the command line, and turn the errors that operators cause into messages and exit codes."""
    try:
        app()
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(ExitCode.CONFIGURATION)
    except MidmileError as error:  # nothing runs there, or it does not answer
        print(error, file=sys.stderr)
        sys.exit(ExitCode.UNWELL)
    sys.exit(ExitCode.OK)


def _where(runtime_dir: Path | None, config: Path | None) -> Path:
    from gateway.commands.where import runtime_dir_of

    return runtime_dir_of(runtime_dir, config)


if __name__ == "__main__":
    main()
