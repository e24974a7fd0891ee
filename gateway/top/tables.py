"""The three tables of the live view: workers, listeners, links to peers. Says what each column is. Pure."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from gateway.commands.output import bytes_text, duration_text, loss_text, round_trip_text
from gateway.top import figures
from gateway.top.glyphs import Glyphs, chart
from gateway.top.recent import Rates
from gateway.top.table import NOTHING, Cell, Column, Table
from gateway.top.view import LinkLine, ListenerLine, WorkerLine
from pools.link_health import LinkState
from pools.net.scoreboard import ChildState

BAD: Final = "bold red"
ODD: Final = "yellow"
_CHART_CELLS: Final = 15
_BUSY_PERCENT: Final = 90
_STALE_S: Final = 5.0


def workers(lines: Sequence[WorkerLine], glyphs: Glyphs) -> Table[WorkerLine]:
    """Give the table of workers; of many, those that are not ready and those with most work are shown."""
    busiest = max((rate for line in lines for rate in line.trail), default=0.0)
    columns: list[Column[WorkerLine]] = [
        Column("WORKER", lambda line: Cell(str(line.status.slot))),
        Column("STATE", _child_state, least=8, is_left=True),
        Column("CORE", lambda line: _number(line.status.core), rank=7),
        Column("PID", lambda line: _number(line.status.pid or None), rank=12),
        Column("UP", lambda line: _duration(line.status.uptime_s), rank=11, least=5),
        Column("CPU", _cpu, rank=1, least=4),
        Column("LAG", lambda line: Cell(f"{line.status.loop_lag_us / 1000:.1f}ms"), rank=5, least=6),
        Column("SESSIONS", lambda line: _number(line.status.sessions)),
        Column("NEW/S", lambda line: _new(line.rates), rank=3, least=5),
        Column("MBIT/S", lambda line: _moved(line.rates), rank=2, least=6),
        Column(glyphs.forward, lambda line: _forward(line.rates), rank=4, least=5),
        Column(glyphs.backward, lambda line: _backward(line.rates), rank=4, least=5),
        Column("MEM", lambda line: _bytes(line.status.rss_bytes), rank=6, least=4),
        Column("FDS", lambda line: _number(line.status.descriptors), rank=8, least=4),
        Column("LEGS IN", lambda line: _number(line.status.legs_inbound), rank=10),
        Column("RESTARTS", lambda line: Cell(str(line.status.restarts), ODD if line.status.restarts else ""), rank=13),
        Column("LAST MINUTE", partial(_trail, glyphs, busiest), rank=9, least=_CHART_CELLS, is_left=True),
    ]
    return Table(columns, lines, _work)


def listeners(lines: Sequence[ListenerLine], glyphs: Glyphs) -> Table[ListenerLine]:
    """Give the table of listeners; of many, the busiest are shown."""
    columns: list[Column[ListenerLine]] = [
        Column("LISTENER", lambda line: Cell(line.listener.name), least=8, is_left=True),
        Column("MODE", lambda line: Cell(line.listener.mode or "-"), rank=5, is_left=True),
        Column("ADDRESS", lambda line: Cell(line.listener.address or "-"), rank=4, is_left=True),
        Column("SESSIONS", lambda line: _number(line.listener.status.sessions)),
        Column("NEW/S", lambda line: _new(line.rates), rank=1, least=5),
        Column(f"{glyphs.forward} MBIT/S", lambda line: _forward(line.rates), rank=2, least=6),
        Column(f"{glyphs.backward} MBIT/S", lambda line: _backward(line.rates), rank=2, least=6),
        Column("FAILED/S", _failed, rank=3),
    ]
    return Table(columns, lines, _load)


def links(lines: Sequence[LinkLine], glyphs: Glyphs) -> Table[LinkLine]:
    """Give the table of links; of many, the first are shown, which are the worst."""
    columns: list[Column[LinkLine]] = [
        Column("PEER", lambda line: Cell(line.link.name), least=8, is_left=True),
        Column("STATE", _link_state, least=7, is_left=True),
        Column("RTT", lambda line: Cell(round_trip_text(line.link.status.rtt_us)), least=6),
        Column(
            glyphs.variation, lambda line: Cell(round_trip_text(line.link.status.rtt_variation_us)), rank=7, least=6
        ),
        Column("LOSS", _loss, rank=1, least=4),
        Column("IDLE", lambda line: Cell(str(line.link.status.idle)), rank=3),
        Column("LENT", _lent, rank=2),
        Column("DIALLING", lambda line: Cell(str(line.link.status.dialling)), rank=8),
        Column("POOL", _pool, rank=10),
        Column("NEW/S", lambda line: _new(line.rates), rank=5, least=5),
        Column("HITS", _hits, rank=4, least=5),
        Column("WINDOW", lambda line: _number(line.link.status.window_segments or None), rank=6),
        Column("ADDRESS", lambda line: Cell(line.link.address or "-"), rank=9, is_left=True),
    ]
    places = {id(line): place for place, line in enumerate(lines)}
    return Table(columns, lines, lambda line: -places[id(line)])


def _number(value: int | None) -> Cell:
    return NOTHING if value is None else Cell(str(value))


def _bytes(count: int | None) -> Cell:
    text = bytes_text(count)
    return NOTHING if text is None else Cell(text)


def _duration(seconds: float | None) -> Cell:
    return NOTHING if seconds is None else Cell(duration_text(seconds))


def _new(rates: Rates | None) -> Cell:
    return Cell(figures.each_second(rates.sessions)) if rates else NOTHING


def _moved(rates: Rates | None) -> Cell:
    return Cell(figures.megabits(rates.moved_bytes)) if rates else NOTHING


def _forward(rates: Rates | None) -> Cell:
    return NOTHING if rates is None or rates.forward_bytes is None else Cell(figures.megabits(rates.forward_bytes))


def _backward(rates: Rates | None) -> Cell:
    return NOTHING if rates is None or rates.backward_bytes is None else Cell(figures.megabits(rates.backward_bytes))


def _child_state(line: WorkerLine) -> Cell:
    state = line.status.state
    word = "retiring" if line.status.retires and state is not ChildState.ABSENT else state.name.lower()
    if state is ChildState.READY and not line.status.accept_paused:
        return Cell(word)
    if state is ChildState.READY:
        return Cell("paused", ODD)
    return Cell(word, BAD if state is ChildState.ABSENT else ODD)


def _cpu(line: WorkerLine) -> Cell:
    percent = line.status.cpu_percent
    return NOTHING if percent is None else Cell(f"{percent:.0f}%", ODD if percent >= _BUSY_PERCENT else "")


def _trail(glyphs: Glyphs, busiest: float, line: WorkerLine) -> Cell:
    """Draw a worker's last minute, all workers to one scale."""
    return Cell(chart(line.trail, cells=_CHART_CELLS, bars=glyphs.bars, full=busiest), "cyan")


def _failed(line: ListenerLine) -> Cell:
    if line.rates is None:
        return NOTHING
    return Cell(figures.each_second(line.rates.failed), ODD if line.rates.failed else "")


def _link_state(line: LinkLine) -> Cell:
    status = line.link.status
    if status.state is not LinkState.DOWN and (status.age_s is None or status.age_s > _STALE_S):
        return Cell("unknown" if status.age_s is None else "stale", ODD)
    styles = {LinkState.UP: "", LinkState.DOWN: BAD, LinkState.UNKNOWN: ODD}
    return Cell(status.state.value, styles[status.state])


def _loss(line: LinkLine) -> Cell:
    parts = line.link.status.loss_ppm
    return Cell(loss_text(parts), ODD if parts else "")


def _lent(line: LinkLine) -> Cell:
    """Write how many legs carry a session, with '!' where there are more legs than pool_max."""
    status = line.link.status
    return Cell(f"{status.lent}!", ODD) if status.is_crowded else Cell(str(status.lent))


def _pool(line: LinkLine) -> Cell:
    link = line.link
    return NOTHING if link.pool_min is None else Cell(f"{link.pool_min}-{link.pool_max}")


def _hits(line: LinkLine) -> Cell:
    status = line.link.status
    asked = status.hits_lately + status.misses_lately
    return Cell(figures.share(status.hits_lately / asked)) if asked else NOTHING


def _work(line: WorkerLine) -> float:
    trouble = line.status.state is not ChildState.READY or line.status.accept_paused
    return 1e6 * trouble + (line.status.cpu_percent or 0.0)


def _load(line: ListenerLine) -> float:
    moved = (line.rates.forward_bytes or 0.0) + (line.rates.backward_bytes or 0.0) if line.rates else 0.0
    return moved + line.listener.status.sessions
