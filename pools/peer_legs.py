"""One peer's legs in one worker: what `pools.core_cache` decides is done here, and the broker told of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pools import idle_leg
from pools.broker_messages import Empty, FromBroker, Full, Give, PeerState, Take
from pools.core_cache import CoreCache, NoLegReady
from pools.leg import PoolLeg
from pools.leg_account import LegAccount, Line, portions
from pools.net.clock import monotonic_s
from pools.net.fd_passing import DESCRIPTOR_LIMIT
from pools.net.readiness import Readiness
from pools.path_choice import PathSample
from pools.peer import Peer, PoolKey

UNKNOWN: Final = PathSample(is_up=True)
"""What is known of a peer while no broker has spoken of it: it may well be there."""


class PeerLegs:
    """Legs to one peer, idle or lent: the keeper of each of them, see `pools.leg.LegKeeper`.

    Args:
        peer: where they lead.
        size: rounds of a magazine to begin with.
        readiness: the worker's.
        line: to the broker.
        on_down: see the attribute.

    Attributes:
        on_down: called with the peer's name when it is known to be down from now on.
        account: what the broker hears of them.
        sample: what the broker says of the link, for the choice of a path.
        beyond: the same of the peer's own links, by the names of its peers.
    """

    def __init__(
        self, peer: Peer, *, size: int, readiness: Readiness, line: Line, on_down: Callable[[str], object]
    ) -> None:
        self.peer = peer
        self.on_down = on_down
        self.account = LegAccount(peer.pool, line=line, readiness=readiness)
        self.sample = UNKNOWN
        self.beyond: dict[str, PathSample] = {}
        self._cache: CoreCache[PoolLeg] = CoreCache(size)
        self._readiness = readiness
        self._line = line
        self._is_crowded = self._is_retired = False
        self._settling: list[PoolLeg] = []  # back from a session whose last words the kernel has not taken yet
        self._sweep_is_due = False

    def __repr__(self) -> str:
        return f"<PeerLegs {self.peer.name} {self._cache!r} {self.sample!r}>"

    @property
    def key(self) -> PoolKey:
        """Which pool they belong to."""
        return self.peer.pool

    # For sessions.

    def take(self) -> PoolLeg | None:
        """Lend the youngest leg that is fit; None for a miss."""
        now_s = monotonic_s()
        leg: PoolLeg | None = None
        try:
            taken = self._cache.take(lambda leg: leg.is_fit(now_s), now_s=now_s)
        except NoLegReady as miss:
            self.account.misses += 1
            ask = miss.ask
        else:
            self.account.hits += 1
            self.account.note_lent(self._cache.lent_count)
            leg, ask = taken.leg, taken.ask
            leg.on_readable = None
        self._bury()
        self._ask(ask)
        return leg

    def adopt(self, leg: PoolLeg) -> None:
        """Count a leg that a session has dialled, and lend it to that session."""
        leg.keeper = self
        self._cache.adopt(leg)
        self.account.note_lent(self._cache.lent_count)
        self.account.holds([leg])

    def regain(self, leg: PoolLeg) -> None:
        """Take a leg back: it is kept for another session, or goes where it is wanted, or is closed."""
        if not idle_leg.is_sound(leg) or self._is_crowded or not self.sample.is_up or _is_old(leg):
            self._cache.forget(leg)
            self._end(leg)
            return
        idle_leg.watch(leg, self._unsound)
        if leg.owed:
            self._settling.append(leg)
        else:
            self._hand_back(self._cache.give(leg))

    def lost(self, leg: PoolLeg) -> None:
        """Strike out a leg that its session closed."""
        self._cache.forget(leg)
        self.account.strike_out(leg)

    # For the broker.

    def broker_came(self) -> None:
        """Tell a broker that has just spoken of this peer what it must know; what another had sent is heard."""
        self._cache.broker_came()
        self.account.open([*self._cache.idle, *self._cache.lent], lent=self._cache.lent_count)
        self._ask_if_low()

    def broker_left(self) -> None:
        """Go on alone: nobody knows now whether the peer is there."""
        self.sample = UNKNOWN
        self.beyond = {}
        self._is_crowded = self._is_retired

    def hear(self, message: FromBroker, legs: Sequence[PoolLeg]) -> None:
        """Do what a message about this peer wants; `legs` are ours."""
        match message:
            case Full():
                self._receive(legs)
            case Empty():
                self._cache.refused(now_s=monotonic_s())
            case PeerState():
                self._learn(message)
        self._ask_if_low()

    def beat(self) -> None:
        """Look through what is idle, and report; once in each interval of demand."""
        self._sweep()
        self._ask_if_low()
        self.account.report(self._cache.lent_count, self._cache.idle)

    def surrender(self) -> None:
        """Give all idle legs to the broker, or close them: this worker ends."""
        self._hand_back(self._cache.surrender())
        self.account.settle()

    def retire(self) -> None:
        """Surrender, and keep none of those that sessions give back from now on. No broker speaks of them any more."""
        self._is_retired = self._is_crowded = True
        self._sweep()
        self.surrender()

    # How.

    def _receive(self, legs: Sequence[PoolLeg]) -> None:
        sound = [leg for leg in legs if idle_leg.is_sound(leg)]
        for leg in sound:
            leg.keeper = self
            idle_leg.watch(leg, self._unsound)
        surplus = self._cache.receive(sound)
        for leg in set(legs).difference(sound):
            self.account.unfit += 1
            self._end(leg)
        self._hand_back(surplus)

    def _learn(self, state: PeerState) -> None:
        was_up = self.sample.is_up
        self.sample = _sample(state.is_up, state.rtt_us, state.loss_ppm)
        self.beyond = {link.gateway: _sample(*link[1:]) for link in state.beyond}
        self._is_crowded = state.is_crowded
        self._hand_back(self._cache.resize(state.rounds))
        if was_up and not state.is_up:
            for leg in self._cache.surrender():
                self._end(leg)
            self.on_down(self.peer.name)

    def _ask_if_low(self) -> None:
        self._ask(self._cache.ask(now_s=monotonic_s()))

    def _ask(self, rounds: int) -> None:
        if rounds and not self._line.say(Take(self.peer.name, rounds, edition=self.peer.edition)):
            self._cache.refused(now_s=monotonic_s())

    def _hand_back(self, legs: Iterable[PoolLeg]) -> None:
        now_s = monotonic_s()
        for portion in portions(legs, DESCRIPTOR_LIMIT):
            fit = [leg for leg in portion if leg.is_fit(now_s)]
            cards = tuple(idle_leg.card_to_send(leg) for leg in fit)
            is_given = bool(fit) and self._line.give(Give(self.peer.name, cards, edition=self.peer.edition), fit)
            for leg in set(portion).difference(fit if is_given else ()):
                self._end(leg)

    def _unsound(self, _leg: PoolLeg) -> None:
        """Hear that an idle leg is of no use; a peer that ends brings many at once, which are swept together."""
        if not self._sweep_is_due:
            self._sweep_is_due = True
            self._readiness.defer(self._sweep)

    def _sweep(self) -> None:
        self._sweep_is_due = False
        now_s = monotonic_s()
        self._cache.sweep(lambda leg: leg.is_fit(now_s))
        self._bury()
        settling, self._settling = self._settling, []
        for leg in settling:
            self.regain(leg)

    def _bury(self) -> None:
        for leg in self._cache.collect():
            self.account.unfit += 1
            self._end(leg)

    def _end(self, leg: PoolLeg) -> None:
        idle_leg.retire(leg)
        self.account.strike_out(leg)


def _sample(is_up: bool, rtt_us: int, loss_ppm: int) -> PathSample:
    return PathSample(is_up, rtt_us / 1e6 if rtt_us else None, loss_ppm / 1e6)


def _is_old(leg: PoolLeg) -> bool:
    return leg.card is not None and leg.card.expires_s <= monotonic_s()
