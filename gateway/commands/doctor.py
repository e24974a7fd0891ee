"""`gateway doctor`: what of this host would keep the gateway from doing its work, and what to do about it."""

from dataclasses import replace
from pathlib import Path

from gateway.checks.doctor import examine
from gateway.checks.findings import Finding, Level
from gateway.commands.output import say, say_json, table
from gateway.config import configuration
from gateway.exit_codes import ExitCode
from gateway.runtime_dir import scoreboard_file
from pools.net.scoreboard import Scoreboard, ScoreboardError


def doctor(file: Path | None, runtime_dir: Path | None, *, as_json: bool) -> ExitCode:
    """Examine this host for a configuration.

    Args:
        file: the configuration; None for the embedded default.
        runtime_dir: instead of the configuration's; a gateway that runs there holds its addresses rightly.

    Returns:
        UNWELL where something would keep the gateway from starting.

    Raises:
        ConfigurationError: the file is wrong.
    """
    settings = configuration.default() if file is None else configuration.load(file)
    if runtime_dir is not None:
        settings = replace(settings, runtime_dir=runtime_dir.absolute())
    findings = examine(settings, supervisor_pid=_supervisor_pid(settings.runtime_dir))
    if as_json:
        say_json({"findings": [finding.as_dict() for finding in findings]})
    else:
        say(_report(findings))
    return ExitCode.UNWELL if any(finding.level is Level.FAIL for finding in findings) else ExitCode.OK


def _supervisor_pid(runtime_dir: Path) -> int:
    try:
        scoreboard = Scoreboard.open(scoreboard_file(runtime_dir))
    except ScoreboardError:
        return 0
    pid = scoreboard.supervisor_pid
    scoreboard.close()
    return pid


def _report(findings: list[Finding]) -> str:
    """Give one line for each finding, and below it what to do."""
    rows = table(["", "check", "found"], [[each.level.value, each.check, each.found] for each in findings])
    lines = rows.splitlines()[1:]
    below = (f"\n      {each.advice}" if each.advice else "" for each in findings)
    return "\n".join(line + what_to_do for line, what_to_do in zip(lines, below, strict=True))
