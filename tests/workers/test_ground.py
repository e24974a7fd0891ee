"""What a worker has all its life follows the settings where it must, and goes with it."""

import os
import socket

import pytest

from pools.net.fd_passing import socket_pair
from pools.net.scoreboard import Cell
from tests.floor import turn_until
from tests.workers.world import empty_row
from workers import ground as module
from workers.ground import Ground
from workers.post import Post
from workers.settings import Outbound, Relay, WorkerSettings
from workers.source_limit import SourceTable


def test_it_follows_and_is_put_away(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(module, "_STDERR", writer)
    ours, theirs = socket_pair()
    table = SourceTable.create(room=1, seed=1)
    settings = WorkerSettings((), 1, 1)
    ground = Ground(Post(0, None, settings, (), empty_row(), table, 0, ours))
    assert (ground.room.splice, ground.resolver.again_after_s) == (True, 30.0)
    ground.follow(WorkerSettings((), 1, 1, relay=Relay(splice=False), outbound=Outbound(resolve_every=5.0)))
    assert (ground.room.splice, ground.resolver.again_after_s) == (False, 5.0)
    ground.lines.put(b"a line\n")
    ground.flush_log()
    assert os.read(reader, 100) == b"a line\n"
    ground.close()
    table.close()
    for end in (ours, theirs):
        end.close()
    os.close(reader)
    os.close(writer)


def test_lines_that_nobody_reads_and_names_that_cannot_be_resolved_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(module, "_STDERR", writer)
    ours, theirs = socket_pair()
    table, row = SourceTable.create(room=1, seed=1), empty_row()
    ground = Ground(Post(0, None, WorkerSettings((), 1, 1), (), row, table, 0, ours))
    ground.lines.put(b"a line\n")
    os.close(reader)
    ground.flush_log()
    assert row[Cell.LOG_LINES_DROPPED] == 1

    def fails(*_: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(ground.resolver, "_lookup", fails)
    ground.resolver.foresee("nowhere.example", 443)
    turn_until(lambda: row[Cell.LOOKUPS_FAILED] == 1)
    ground.close()
    table.close()
    for end in (ours, theirs):
        end.close()
    os.close(writer)
