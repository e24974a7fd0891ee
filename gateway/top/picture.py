"""The live view as lines of text: a heading, then the tables, within a terminal's size or without a limit. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rich.text import Text

from gateway.commands.output import bytes_text, duration_text
from gateway.reasons import Level
from gateway.top import figures, tables
from gateway.top.glyphs import Glyphs, chart
from gateway.top.recent import CELLS
from gateway.top.table import FAINT, HEAD, heights
from gateway.top.view import View

_REASONS: Final = 3  # that are shown; there are as many as things are wrong
_SHORT: Final = 16  # lines of a terminal that has no room for a chart
_LEVELS: Final = {Level.WELL: "bold green", Level.DEGRADED: "bold yellow", Level.DEAD: "bold red"}
_QUITS: Final = "q quits"
_ENDLESS: Final = 1_000_000


class Size(NamedTuple):
    """How large a terminal is, in characters."""

    columns: int
    lines: int


def picture(view: View, glyphs: Glyphs, size: Size | None = None) -> list[Text]:
    """Draw the view.

    Args:
        size: what it has to fit into; None for a page without limits.
    """
    heading = list(_heading(view, glyphs, size))
    drawn = _tables(view, glyphs, size, room=size.lines - len(heading) if size else _ENDLESS)
    lines = [*heading, *drawn]
    for line in lines if size else ():
        line.truncate(size.columns if size else 0, overflow="crop")
    return lines


def waiting(reason: str, glyphs: Glyphs) -> list[Text]:
    """Draw that there is nothing to see: no gateway runs, or it cannot be read."""
    return [Text(reason, "bold yellow"), Text(f"waiting for one{glyphs.more} q quits", FAINT)]


def plain(lines: Sequence[Text]) -> str:
    """Give lines without their colours."""
    return "\n".join(line.plain.rstrip() for line in lines)


def _tables(view: View, glyphs: Glyphs, size: Size | None, *, room: int) -> Iterator[Text]:
    width = size.columns if size else None
    workers = tables.workers(view.workers, glyphs)
    listeners = tables.listeners(view.listeners, glyphs)
    links = tables.links(view.links, glyphs)
    of_workers, of_links, of_listeners = heights([workers.height, links.height, listeners.height], room=room)
    for drawn in (
        workers.draw(glyphs, width=width, height=of_workers),
        listeners.draw(glyphs, width=width, height=of_listeners),
        links.draw(glyphs, width=width, height=of_links),
    ):
        yield from [Text(), *drawn] if drawn else []


def _heading(view: View, glyphs: Glyphs, size: Size | None) -> Iterator[Text]:
    is_short = size is not None and size.lines < _SHORT
    yield _name(view, size)
    yield from _verdict(view, glyphs, most=1 if is_short else _REASONS)
    yield _load(view, glyphs)
    if view.trail and not is_short:
        yield _chart(view, glyphs)


def _name(view: View, size: Size | None) -> Text:
    told, status = view.sample.told, view.sample.status
    line = Text().append(told.get("name", "gateway"), HEAD)
    version = f"midmile {told['version']}  " if "version" in told else ""
    up = duration_text(status.uptime_s)
    line.append(f"  {version}pid {status.supervisor_pid}  up {up}  configuration {status.config_generation}", "")
    if size is not None and (room := size.columns - len(line)) > len(_QUITS) + 1:
        line.append(_QUITS.rjust(room), FAINT)
    return line


def _verdict(view: View, glyphs: Glyphs, *, most: int) -> Iterator[Text]:
    level, reasons = view.verdict.level, [reason.text for reason in view.verdict.reasons]
    lines = [Text("  ".join(["", reason])) for reason in reasons[:most]] or [Text()]
    lines[0] = Text().append(level.value, _LEVELS[level]).append_text(lines[0])
    if (missing := len(reasons) - most) > 0:
        lines[-1].append(f"  {glyphs.more} {missing} more: gateway health", FAINT)
    yield from lines


def _load(view: View, glyphs: Glyphs) -> Text:
    workers, rates = view.sample.status.workers, view.rates
    cpu = sum(worker.cpu_percent or 0.0 for worker in workers)
    memory = sum(worker.rss_bytes or 0 for worker in workers)
    facts = [f"sessions {view.sample.status.sessions}"]
    if rates:
        facts.append(f"new/s {figures.each_second(rates.sessions)}")
    if rates and rates.forward_bytes is not None and rates.backward_bytes is not None:
        facts.append(f"{glyphs.forward} forward {figures.megabits(rates.forward_bytes)}")
        facts.append(f"{glyphs.backward} backward {figures.megabits(rates.backward_bytes)} Mbit/s")
    facts.append(f"cpu {cpu:.0f}%  memory {bytes_text(memory)}")
    return Text("  ".join(facts))


def _chart(view: View, glyphs: Glyphs) -> Text:
    now = view.rates.moved_bytes if view.rates else 0.0
    line = Text(f"Mbit/s {figures.megabits(now):>5}  ")
    line.append(chart(view.trail, cells=CELLS, bars=glyphs.bars), "cyan")
    return line.append(f"  last minute, peak {figures.megabits(max(now, *view.trail))}", FAINT)
