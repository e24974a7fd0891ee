"""The overlay of one worker inside the test's own process, with peers that the test speaks for."""

import errno
from pathlib import Path
from typing import Any, Final

from pools.frame_bodies import Open, Refused, Where
from pools.key_file import KeyFile, written
from pools.leg import PoolLeg
from pools.net import sockopts
from pools.net.scoreboard import Cell, Row
from tests.far_end import KEY, OPEN, FarEnd
from tests.floor import Floor, tcp_pair, turn_until
from tests.workers.world import empty_row
from workers.door import Door
from workers.overlay import Overlay

REFUSED: Final = Refused("mumbai", errno.EAGAIN, 5, Where.LIMIT)
_CLIENT: Final = ("192.0.2.1", 5000)


def key_file(folder: Path) -> KeyFile:
    """Write the overlay's key where only we may read it."""
    path = folder / "overlay.key"
    path.touch(mode=0o600)
    path.write_bytes(written([KEY]))
    return KeyFile(path)


class Gate:
    """An overlay whose sessions are the test's: what came with an OPEN is in `opened`. Close it before the floor."""

    def __init__(self, floor: Floor, keys: KeyFile, *, room: int = 100, **more: Any) -> None:
        self.floor = floor
        self.row: Row = empty_row()
        self.opened: list[tuple[PoolLeg, Open]] = []
        self.door = Door("mumbai", keys=keys, greenlets=floor.greenlets, row=self.row)
        self.overlay = Overlay(
            self.door, readiness=floor.readiness, room=room, row=self.row, on_open=self._open, **more
        )

    def connect(self) -> FarEnd:
        """Let somebody come who has said nothing yet."""
        ours, theirs = tcp_pair()
        sockopts.linger_reset(ours)
        self.floor.keep(theirs)
        leg = self.floor.readiness.open(ours, PoolLeg)
        self.floor.in_hub(lambda: self.overlay.accept(leg, _CLIENT))
        return FarEnd(theirs)

    def peer(self, name: str = "oregon") -> FarEnd:
        """Let a gateway come in."""
        before = len(self.overlay)
        far = self.connect()
        assert far.introduce(name) == "mumbai"
        turn_until(lambda: len(self.overlay) == before + 1)
        return far

    def session(self, far: FarEnd, number: int = 1) -> PoolLeg:
        """Let a peer open a session, and give its leg."""
        before = len(self.opened)
        far.say(OPEN, number)
        return self.next_session(before)

    def next_session(self, before: int) -> PoolLeg:
        """Wait for an OPEN beyond so many."""
        turn_until(lambda: len(self.opened) > before)
        assert self.opened[before][1] == OPEN
        return self.opened[before][0]

    def refuse(self, leg: PoolLeg) -> None:
        """Refuse a session as sessions do."""
        self.floor.in_hub(lambda: leg.say(REFUSED))
        self.floor.in_hub(leg.finish)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Legs held, legs ever held, strangers, and peers that broke the protocol."""
        row = self.row
        return row[Cell.LEGS_INBOUND], row[Cell.LEGS_ACCEPTED], row[Cell.STRANGERS], row[Cell.PEER_PROTOCOL_ERRORS]

    def _open(self, leg: PoolLeg, message: Open) -> None:
        self.opened.append((leg, message))

    def close(self) -> None:
        """End what lives."""
        for leg, _ in self.opened:
            leg.close()
        self.floor.in_hub(self.overlay.close)
        assert self.counts[0] == len(self.overlay) == self.overlay.idle == 0
