"""What is sent through a relay, and what the senders say about it: wrk, iperf3 and the bench's own crowd."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from tests.bench.configurations import Doors
from tests.bench.processes import BenchError, UnpunctualError, pinned, running, tail

_CONNECTIONS = 50
_SPARE_S = 30.0


@dataclass(frozen=True, slots=True)
class Requests:
    """What wrk counted: whole answers, and answers a second."""

    count: int
    rate: float


@dataclass(frozen=True, slots=True)
class Transfer:
    """What iperf3 received, in bytes and in bits a second."""

    size: int
    bits_per_second: float


def run(argv: Sequence[str], *, core: int) -> str:
    """Run a load to its end and give what it printed.

    Raises:
        BenchError: it failed or hung.
    """
    try:
        done = subprocess.run(pinned(argv, core), capture_output=True, text=True, timeout=_SPARE_S, check=True)
    except subprocess.CalledProcessError as failure:
        raise BenchError(
            f"{argv!r} ended with {failure.returncode}: {failure.stdout[-800:]}{failure.stderr}"
        ) from failure
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"{argv!r} has not ended after {_SPARE_S:g} s") from late
    return done.stdout


def request(port: int, *, seconds: float, close: bool, core: int, log: Path) -> Requests:
    """Let wrk ask over 50 sessions as fast as answers come; with `close`, each session ends with its first answer.

    wrk counts whole seconds only, but reports at SIGINT what it has counted in the time it has had.

    Raises:
        BenchError: it met errors, or hung.
    """
    headers = ["--header", "Connection: close"] if close else []
    size = ["--threads", "1", "--connections", str(_CONNECTIONS), "--duration", f"{ceil(seconds) + 5}s"]
    argv = ["wrk", *size, *headers, f"http://127.0.0.1:{port}/"]
    with running(argv, core=core, log=log, talk=True) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.send_signal(signal.SIGINT)
        try:
            return read_wrk(process.communicate(timeout=_SPARE_S)[0].decode())
        except subprocess.TimeoutExpired as late:
            raise BenchError(f"{argv!r} has not reported {_SPARE_S:g} s after SIGINT") from late


def read_wrk(text: str) -> Requests:
    """Read wrk's report.

    Raises:
        BenchError: it is none, or it tells of errors: answers that failed are cheap, so the rest proves nothing.
    """
    count, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not count or not rate or "Socket errors" in text or "Non-2xx" in text:
        raise BenchError(f"expected wrk's report without errors, found: {text}")
    return Requests(int(count[1]), float(rate[1]))


def transfer(port: int, *, streams: int, amount: Sequence[str], core: int) -> Transfer:
    """Let iperf3 receive over some streams; --reverse: from the origin, through the relay.

    Args:
        amount: how much or how long, as iperf3's own options.
    """
    size = ["--parallel", str(streams), *amount]
    return read_iperf3(
        run(["iperf3", "--client", "127.0.0.1", "--port", str(port), "--reverse", "--json", *size], core=core)
    )


def read_iperf3(text: str) -> Transfer:
    """Read iperf3's JSON: what arrived, which is what the relay has carried the whole way.

    Raises:
        BenchError: it tells of no transfer, as where the relay ended a stream; iperf3 may end with 0 even so.
    """
    report = json.loads(text)
    if "error" in report or "sum_received" not in report["end"]:
        raise BenchError(f"expected iperf3's report of a transfer, found: {report.get('error', report['end'])}")
    received = report["end"]["sum_received"]
    return Transfer(int(received["bytes"]), float(received["bits_per_second"]))


@dataclass(frozen=True, slots=True)
class LoadProcess:
    """One of the bench's own loads, which runs and obeys commands."""

    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, command: dict[str, float]) -> dict[str, float]:
        """Give the answer to a command.

        Raises:
            BenchError: it ended instead, as it does at an error of a session.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        answer: Any = json.loads(self.process.stdout.readline() or b"null")
        if answer is None:
            raise BenchError(f"the load gave up on {command}: {tail(self.log)}")
        return dict(answer)


class CrowdProcess(LoadProcess):
    """A `tests.bench.crowd` that runs; see there for its commands."""

    def open(self, count: int) -> None:
        """Hold `count` sessions in all, each of which has carried a message."""
        self.ask({"open": count})

    def drive(self, *, rate: float, seconds: float) -> dict[str, float]:
        """Send at a fixed rate over all sessions in turn.

        Raises:
            UnpunctualError: the last answer came late by more than 2 % and a tenth of a second. The relay or the crowd
                itself did not hold the rate, so the figures are not those of that rate.
        """
        told = self.ask({"rate": rate, "seconds": seconds})
        if told["elapsed_s"] > 1.02 * seconds + 0.1:
            raise UnpunctualError(f"expected {rate:g} messages/s to end after {seconds:g} s, found {told}")
        return told


class ArrivalsProcess(LoadProcess):
    """A `tests.bench.arrivals` that runs; see there for its command."""

    def run(self, *, rate: float, seconds: float) -> dict[str, float]:
        """Open sessions at a fixed rate, each for one request.

        Raises:
            UnpunctualError: one in a hundred was opened more than 20 ms late: these are not the figures of that
                rate.
        """
        told = self.ask({"rate": rate, "seconds": seconds})
        if told["late_p99_ms"] > 20:
            raise UnpunctualError(
                f"expected {rate:g} new sessions/s for {seconds:g} s, each opened when due, found {told}"
            )
        return told


@contextmanager
def crowd(port: int, *, core: int, log: Path) -> Iterator[CrowdProcess]:
    """Run a crowd that opens its sessions at `port`, for as long as the block lasts."""
    with running([sys.executable, "-m", "tests.bench.crowd", str(port)], core=core, log=log, talk=True) as process:
        yield CrowdProcess(process, log)


@contextmanager
def arrivals(doors: Doors, *, core: int, log: Path) -> Iterator[ArrivalsProcess]:
    """Run a load that opens sessions at the HTTP door, for as long as the block lasts."""
    argv = [sys.executable, "-m", "tests.bench.arrivals", doors.host, str(doors.http_port)]
    with running(argv, core=core, log=log, talk=True) as process:
        yield ArrivalsProcess(process, log)
