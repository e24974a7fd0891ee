"""`gateway links`: each peer's link and pool, from the scoreboard, so that it works while the supervisor hangs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gateway.commands.output import duration_text, loss_text, round_trip_text, say, say_json, table, warn
from gateway.commands.running import ask_supervisor, read_status
from gateway.exit_codes import ExitCode
from gateway.link_status import LinkStatus
from gateway.status import GatewayStatus
from gateway.windows import first_windows
from pools.net.scoreboard import ChildState

_COLUMNS: Final = (
    "peer", "address", "state", ">rtt", ">+-", ">loss", ">window", ">idle", ">lent", ">dialling", ">pool", ">hits",
    ">misses", ">dialled",
)  # fmt: skip
_STALE_S: Final = 5.0


def links(runtime_dir: Path, *, as_json: bool) -> ExitCode:
    """Show the link to each peer of the gateway that runs in `runtime_dir`.

    Returns:
        UNWELL where there are peers and no broker, which knows about them.

    Raises:
        NotRunning: there is no gateway.
    """
    found = read_status(runtime_dir, over_s=0)
    peers = _peers(runtime_dir, len(found.links))
    if as_json:
        say_json({"links": [_as_dict(*pair) for pair in zip(peers, found.links, strict=True)]})
    elif found.links:
        say(table(_COLUMNS, [_cells(*pair) for pair in zip(peers, found.links, strict=True)]))
        if windows := first_windows.lines(peers, found.links):
            say("\n" + "\n".join(windows))
    else:
        say("no links: the configuration has no [[peer]]")
    return _complain(found)


def _peers(runtime_dir: Path, count: int) -> Sequence[dict[str, Any]]:
    """Give each peer's name, address and limits; only a number for a name where the supervisor does not answer."""
    told = ask_supervisor(runtime_dir) if count else None
    if told is not None and len(told["peers"]) == count:
        return list(told["peers"])
    return [{"name": f"peer {index}", "address": None, "pool_min": None, "pool_max": None} for index in range(count)]


def _complain(found: GatewayStatus) -> ExitCode:
    if not found.links:
        return ExitCode.OK
    if found.broker.state is ChildState.ABSENT:
        warn("the broker is not there: sessions to peers use what legs workers have left, and dial")
        return ExitCode.UNWELL
    ages_s = [link.age_s for link in found.links if link.age_s is not None]
    if ages_s and max(ages_s) > _STALE_S:
        warn(f"the broker is silent: these numbers are {duration_text(max(ages_s))} old")
        return ExitCode.UNWELL
    return ExitCode.OK


def _as_dict(peer: dict[str, Any], link: LinkStatus) -> dict[str, Any]:
    return peer | asdict(link) | {"idle": link.idle, "hit_rate": link.hit_rate}


def _cells(peer: dict[str, Any], link: LinkStatus) -> list[object]:
    return [
        peer["name"],
        peer["address"],
        link.state.value,
        round_trip_text(link.rtt_us),
        round_trip_text(link.rtt_variation_us),
        loss_text(link.loss_ppm),
        link.window_segments or None,
        link.idle,
        f"{link.lent}{'!' if link.is_crowded else ''}",
        link.dialling,
        _span(peer["pool_min"], peer["pool_max"]),
        None if link.hit_rate is None else _percent(link.hit_rate),
        link.misses,
        link.dialled,
    ]


def _span(least: int | None, most: int | None) -> str | None:
    return None if least is None else f"{least}-{most}"


def _percent(part: float) -> str:
    """Write a rate so that only all is 100 %."""
    return "100%" if part == 1 else f"{min(part * 100, 99.99):.2f}%"
