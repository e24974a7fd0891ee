"""`gateway top`: a live view of the running gateway, one page of it, or a line of JSON for each interval."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from gateway.commands.output import say, say_json, warn
from gateway.control_client import NotRunning
from gateway.exit_codes import ExitCode
from gateway.top.glyphs import glyphs_for
from gateway.top.picture import picture, plain, waiting
from gateway.top.recent import Recent
from gateway.top.terminal import Event, Terminal, refusal
from gateway.top.view import View
from gateway.top.watch import Watch
from pools.net.clock import monotonic_s


def top(runtime_dir: Path, *, every_s: float, once: bool, as_json: bool) -> ExitCode:
    """Show the gateway that runs in `runtime_dir`, anew each `every_s` seconds.

    Args:
        once: print one sample and end.
        as_json: for programs, an object for each sample; without `once` one on a line.

    Returns:
        UNWELL where one sample was wanted and the supervisor is gone, USAGE where there is nothing to draw on.

    Raises:
        NotRunning: one sample was wanted and there is no gateway. The live view waits for one.
    """
    with closing(Watch(runtime_dir)) as watch:
        if once:
            return _once(watch, every_s, as_json=as_json)
        if as_json:
            return _stream(watch, every_s)
        if lack := refusal(is_terminal=sys.stdout.isatty(), term=os.environ.get("TERM", "")):
            warn(lack)
            return ExitCode.USAGE
        _live(watch, every_s)
        return ExitCode.OK


def _once(watch: Watch, every_s: float, *, as_json: bool) -> ExitCode:
    recent = Recent(every_s=every_s)
    recent.add(watch.look())
    time.sleep(every_s)
    recent.add(sample := watch.look())
    view = View.of(sample, recent)
    if as_json:
        say_json(view.as_dict(time_s=time.time()))
    else:
        say(plain(picture(view, glyphs_for(sys.stdout.encoding))))
    return ExitCode.OK if sample.status.is_supervisor_alive else ExitCode.UNWELL


def _stream(watch: Watch, every_s: float) -> ExitCode:
    seen = _seen(watch, every_s)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        next(seen)  # has no rates yet
        due_s = monotonic_s()
        while True:
            due_s = max(due_s + every_s, monotonic_s())
            time.sleep(due_s - monotonic_s())
            print(json.dumps(_as_dict(next(seen))), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it once more at its end
    return ExitCode.OK


def _live(watch: Watch, every_s: float) -> None:
    glyphs = glyphs_for(sys.stdout.encoding)
    seen = _seen(watch, every_s)
    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    with Terminal(sys.stdout, keyboard) as terminal:
        due_s = monotonic_s()
        event: Event | None = None
        while event is not Event.QUIT:
            if event is None:
                now = next(seen)
                due_s = max(due_s + every_s, monotonic_s())
            lines = picture(now, glyphs, terminal.size) if isinstance(now, View) else waiting(now, glyphs)
            terminal.draw(lines)
            event = terminal.wait(due_s)


def _seen(watch: Watch, every_s: float) -> Iterator[View | str]:
    """Give what there is to see at each call: a view, or why there is none."""
    recent = Recent(every_s=every_s)
    while True:
        try:
            recent.add(sample := watch.look())
            yield View.of(sample, recent)
        except NotRunning as error:
            yield str(error)


def _as_dict(now: View | str) -> dict[str, object]:
    if isinstance(now, View):
        return now.as_dict(time_s=time.time())
    return {"time_s": round(time.time(), 3), "running": False, "reason": now}
