"""The lines of `gateway lab`: a WAN on this machine with real gateways in it, and what they should gain, as a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.commands.command_line import EXIT_CODES, Json, end
from gateway.lab import quantities
from gateway.lab.picture import FORMATS
from gateway.lab.quantities import Chain

app = typer.Typer(
    help="Show what gateways gain on a long path: computed, and measured in a WAN that is emulated on this machine.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
)

TALK: Final = Chain.parse("28,214,32")
"""San Francisco to Oregon, to Mumbai, to Bangalore: the path that docs/ladder.md takes as its example."""


def _read(rule: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Give a parser that says what a rule expected and found; it leaves defaults as they are."""

    def parser(value: Any) -> Any:
        try:
            return rule(value) if isinstance(value, str) else value
        except ValueError as error:
            raise typer.BadParameter(f"{error}; found {value}") from error

    return parser


def _file(text: str) -> Path:
    if Path(text).suffix not in FORMATS:
        raise ValueError(f"must be a file that ends in {' or '.join(FORMATS)}")
    return Path(text)


def _option(name: str, rule: Callable[[str], Any], metavar: str, help: str) -> Any:
    return typer.Option(name, parser=_read(rule), metavar=metavar, help=help)


Rtt = Annotated[
    Chain,
    _option("--rtt", Chain.parse, "MS,MS,..", "Round-trip times: client to gateway, between gateways, to the server."),
]
Size = Annotated[int, _option("--size", quantities.size, "BYTES", "Of the answer, such as 43k or 50M.")]
BulkSize = Annotated[int, _option("--size", quantities.bulk_size, "BYTES", "Of each stream, such as 4G.")]
Rate = Annotated[
    int, _option("--rate", quantities.count, "BITS", "Of each line in a second, such as 200M; 0: no limit.")
]
SomeRate = Annotated[int, _option("--rate", quantities.rate, "BITS", "Of each line in a second, such as 200M.")]
Repeats = Annotated[int, typer.Option("--repeats", min=1, max=100, help="How often each is measured, in turns.")]
Picture = Annotated[Path | None, _option("--picture", _file, "FILE", "Draw it into FILE, which ends in .svg or .png.")]


@app.command(epilog=EXIT_CODES)
def plan(rtt: Rtt = TALK, size: Size = 43_000, rate: Rate = 0, picture: Picture = None, json: Json = False) -> None:
    """Compute when an answer is there: end to end, and with each thing that gateways do. Measures nothing."""
    from gateway.commands.lab_plan import plan as run
    from gateway.lab.model import Transfer

    end(run(rtt.rtts_s, Transfer(size, rate), picture=picture, as_json=json))


@app.command(epilog=EXIT_CODES)
def ladder(
    rtt: Rtt = TALK, size: Size = 43_000, repeats: Repeats = 5, picture: Picture = None, json: Json = False
) -> None:
    """Measure each stage of the ladder: real gateways at sites of an emulated WAN, beside the model. Needs root."""
    from gateway.commands.lab_ladder import ladder as run

    end(run(rtt.rtts_s, size_bytes=size, repeats=repeats, picture=picture, as_json=json))


@app.command(epilog=EXIT_CODES)
def download(
    rtt: Rtt = TALK,
    size: Size = 50_000_000,
    rate: SomeRate = 200_000_000,
    repeats: Repeats = 1,
    picture: Picture = None,
    json: Json = False,
) -> None:
    """Measure a download: end to end, split, everything on; without loss, and with it on the last mile. Needs root."""
    from gateway.commands.lab_download import download as run
    from gateway.lab.model import Transfer

    end(run(rtt.rtts_s, Transfer(size, rate), repeats=repeats, picture=picture, as_json=json))


@app.command(epilog=EXIT_CODES)
def relay(size: BulkSize = 4_000_000_000, repeats: Repeats = 5, json: Json = False) -> None:
    """Measure what relaying costs by copy, splice and sockmap, and who slows down for a slow reader. Needs root."""
    from gateway.commands.lab_relay import relay as run

    end(run(size_bytes=size, repeats=repeats, as_json=json))
