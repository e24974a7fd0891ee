"""What a worker has all its life, whatever it is told meanwhile: every service of it stands on this."""

import logging
import resource
from itertools import count
from typing import Final

from pools.net.greenlet_pool import GreenletPool
from pools.net.line_sink import LineSink
from pools.net.pipes import PipeCache
from pools.net.pump import PumpRoom
from pools.net.readiness import Readiness
from pools.net.resets import Resets
from pools.net.resolver import Resolver
from pools.net.scoreboard import Cell
from pools.net.stream import Stream
from workers.post import Post
from workers.settings import WorkerSettings
from workers.tally import Tally

_log = logging.getLogger(__name__)

_STDERR: Final = 2


class Ground:
    """See the module. Make it in the worker, after the fork; owns all of it.

    Attributes:
        readiness: where every socket of the worker is registered.
        resets: legs on their way out.
        room: what all pumps share.
        tally: what the worker counts.
        resolver: names that it has looked up.
        lines: where the access log goes.
        numbers: of sessions.
        leg_serials: of legs to peers.
        descriptors: how many this process may have.
    """

    def __init__(self, post: Post) -> None:
        self.readiness = Readiness(on_fault=_report_fault)
        self.resets = Resets()
        self._pipes = PipeCache()
        self.room = PumpRoom(
            readiness=self.readiness,
            greenlets=GreenletPool(),
            pipes=self._pipes,
            splice=post.settings.relay.splice,
        )
        self.tally = Tally(post.row)
        self.resolver = Resolver(
            again_after_s=post.settings.outbound.resolve_every,
            on_failure=lambda: post.row.add(Cell.LOOKUPS_FAILED),
        )
        self.lines = LineSink(_STDERR)
        self.numbers = count(1)
        self.leg_serials = count()
        self.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def follow(self, settings: WorkerSettings) -> None:
        """Go by other settings from now on, where all services share what they are about."""
        self.room.splice = settings.relay.splice
        self.resolver.again_after_s = settings.outbound.resolve_every

    def flush_log(self) -> None:
        """Write log lines out, as far as their reader takes them."""
        dropped = self.lines.flush()
        if dropped:
            self.tally.count(Cell.LOG_LINES_DROPPED, dropped)

    def close(self) -> None:
        """Put everything away; no service stands here any more."""
        self.resets.close()
        self._pipes.close()
        self.readiness.close()
        self.lines.close()


def _report_fault(stream: Stream | None) -> None:
    _log.exception("an event on %r: an error nobody expected", stream or "what had been put off")
