"""Holds an emulated WAN: its sites, a way to run programs in them, and lines whose terms change while packets travel.

    with Wan(["oregon", "mumbai"], {("oregon", "mumbai"): LineTerms(delay_s=0.1)}) as wan:
        subprocess.run(wan.inside("oregon", ["curl", f"http://{wan.address('mumbai')}/"]))
        wan.cut("oregon", "mumbai")

Needs root. Each site is a network namespace of its own, named nowhere; all of it belongs to one process and is gone
when that ends, which it does when whoever holds the Wan ends in any way. See gateway.lab.wan_process.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gateway.lab.companion import Companion
from gateway.lab.delay_line import LineCounts, LineTerms

_STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the WAN has carried.

    Attributes:
        lines: what became of the packets of each line, by (from, to).
        left: packets that have left all lines.
        late: those of them that left more than a millisecond after their time, the machine being busy.
        worst_s: how late the latest was, of those that left since this was asked for before.
    """

    lines: dict[tuple[str, str], LineCounts]
    left: int
    late: int
    worst_s: float


class Wan:
    """An emulated WAN that runs. A context manager; or end it with `close`.

    Args:
        sites: their names.
        lines: terms by the names of the two ends; each makes a line there and one back. Between sites without a line
            there is no way.
        sysctls: settings below net that hold in every site, as in {"ipv4.tcp_slow_start_after_idle": "0"}.

    Raises:
        StartError: a right is missing, or something of the system; the message says which.
    """

    def __init__(
        self,
        sites: Iterable[str],
        lines: Mapping[tuple[str, str], LineTerms],
        *,
        sysctls: Mapping[str, str] | None = None,
    ) -> None:
        self._terms = {way: terms for (a, b), terms in lines.items() for way in ((a, b), (b, a))}
        self._companion = Companion("gateway.lab.wan_process", called="the emulated WAN")
        plan = {
            "sites": {name: dict(sysctls or {}) for name in sites},
            "lines": [[*way, asdict(terms)] for way, terms in self._terms.items()],
        }
        try:
            self._sites: dict[str, tuple[str, int]] = self._companion.ask(plan)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process that carries the packets."""
        return self._companion.pid

    def address(self, site: str) -> str:
        """Give the address by which other sites reach `site`."""
        return self._sites[site][0]

    def namespace(self, site: str) -> Path:
        """Give where the network namespace of `site` can be opened, for as long as the WAN runs."""
        return Path(f"/proc/{self.pid}/fd/{self._sites[site][1]}")

    def inside(self, site: str, argv: Sequence[str]) -> list[str]:
        """Give the command that runs `argv` at `site`; the process becomes the program, so its pid stays."""
        return ["nsenter", f"--net={self.namespace(site)}", "--", *argv]

    def change(self, start: str, end: str, terms: LineTerms, *, seed: int | None = None) -> None:
        """Give the line from `start` to `end` new terms, for packets that enter from now on.

        Args:
            seed: of what picks the packets to lose; lines with equal seeds lose the same ones. None: as before.
        """
        self._companion.ask({"change": [start, end, asdict(terms)]} | ({} if seed is None else {"seed": seed}))
        self._terms[start, end] = terms

    def cut(self, one: str, other: str) -> None:
        """Let all packets between two sites vanish, both ways, as a broken cable or a firewall's DROP does."""
        for start, end in ((one, other), (other, one)):
            self._companion.ask({"change": [start, end, asdict(replace(self._terms[start, end], loss=1.0))]})

    def mend(self, one: str, other: str) -> None:
        """Undo `cut`."""
        for start, end in ((one, other), (other, one)):
            self.change(start, end, self._terms[start, end])

    def traffic(self) -> Traffic:
        """Give what was carried so far."""
        told = self._companion.ask({"counts": True})
        lines = {(start, end): LineCounts(**counts) for start, end, counts in told.pop("lines")}
        return Traffic(lines, **told)

    def close(self) -> None:
        """End the WAN. Programs that still run in its sites are cut off."""
        self._companion.close(patience_s=_STOP_S)
