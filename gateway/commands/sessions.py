"""`gateway sessions`: each worker writes its own rows; one that hangs costs only those."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gateway import control_client
from gateway.commands.output import bytes_text, duration_text, round_trip_text, say, say_json, table, warn
from gateway.control_client import NoAnswer
from gateway.exit_codes import ExitCode
from workers.operator_wire import SessionRow

_COLUMNS = (
    "listener", "client", "destination", ">age", ">forward", ">backward", ">in rtt", ">retr", ">out rtt", ">retr",
)  # fmt: skip


def sessions(runtime_dir: Path, *, as_json: bool) -> ExitCode:
    """Show the live sessions of the gateway in `runtime_dir`, the oldest first.

    Returns:
        UNWELL where a worker did not answer and its sessions are missing.

    Raises:
        NotRunning: there is no gateway.
        NoAnswer: the supervisor does not answer.
    """
    workers = [each["slot"] for each in control_client.ask(runtime_dir, {"request": "status"})["workers"]]
    rows, silent = _collect(runtime_dir, workers)
    rows.sort(key=lambda row: -row.age_s)
    if as_json:
        say_json({"sessions": [asdict(row) for row in rows], "silent_workers": silent})
    else:
        say(table(_COLUMNS, [_cells(row) for row in rows]))
    for worker, why in silent.items():
        warn(f"worker {worker} is missing: {why}")
    return ExitCode.UNWELL if silent else ExitCode.OK


def _collect(runtime_dir: Path, workers: Sequence[int]) -> tuple[list[SessionRow], dict[int, str]]:
    rows: list[SessionRow] = []
    silent: dict[int, str] = {}
    for worker in workers:
        try:
            rows.extend(control_client.sessions(runtime_dir, worker))
        except NoAnswer as error:
            silent[worker] = str(error)
    return rows, silent


def _cells(row: SessionRow) -> list[object]:
    return [
        row.listener,
        row.client,
        row.destination,
        duration_text(row.age_s),
        bytes_text(row.forward_bytes),
        bytes_text(row.backward_bytes),
        round_trip_text(row.inbound_rtt_us),
        row.inbound_retransmits,
        round_trip_text(row.outbound_rtt_us),
        row.outbound_retransmits,
    ]
