"""A worker's own legs to one peer: two magazines, so that taking and giving rarely need the broker.

Decisions only: what to ask of the broker, to hand back or to close is returned, and the caller does it. No sockets, no
clock. The paper exchanges a magazine at the moment it runs out, under a lock; here the depot is in another process and
a session must not wait for it, so legs are asked for while some are left.

Source: Bonwick and Adams, "Magazines and Vmem", USENIX ATC 2001, section 3.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pools.magazine import Magazine
from pools.net.errors import MidmileError

Leg = TypeVar("Leg", bound=Hashable)

ASK_AGAIN_S: Final = 1.0
"""After an ask in vain. The broker knows then what is wanted; asking at every take would only keep it busy."""


class NoLegReady(MidmileError):
    """Both magazines are empty: dial instead, and count a miss.

    Attributes:
        ask: rounds to ask of the broker now; 0 for nothing.
        dropped: number of legs that were taken and not fit; `CoreCache.collect` gives them.
    """

    def __init__(self, *, ask: int, dropped: int) -> None:
        super().__init__(f"no leg is ready; {dropped} were not fit, {ask} to be asked for")
        self.ask = ask
        self.dropped = dropped


@dataclass(frozen=True, slots=True)
class Taken(Generic[Leg]):
    """One leg that was lent, and what to do besides.

    Attributes:
        ask: rounds to ask of the broker now; 0 for nothing.
    """

    leg: Leg
    ask: int


class CoreCache(Generic[Leg]):
    """The legs to one peer that one worker holds, idle in two magazines or lent to sessions.

    A leg is at one place only: in `loaded`, in `previous`, lent, or among the unfit that `collect` gives out.

    Args:
        size: rounds of a magazine, at least 1.
    """

    __slots__ = ("_ask_from_s", "_asked", "_lent", "_loaded", "_previous", "_unfit")

    def __init__(self, size: int) -> None:
        self._loaded: Magazine[Leg] = Magazine(size)
        self._previous: Magazine[Leg] = Magazine(size)
        self._lent: set[Leg] = set()
        self._unfit: list[Leg] = []
        self._asked = False
        self._ask_from_s = float("-inf")

    def __repr__(self) -> str:
        return f"<CoreCache loaded={self._loaded!r} previous={self._previous!r} lent={len(self._lent)}>"

    @property
    def size(self) -> int:
        """Rounds of a magazine."""
        return self._loaded.size

    @property
    def idle(self) -> tuple[Leg, ...]:
        """The legs that wait, those to be lent last first."""
        return (*self._previous, *self._loaded)

    @property
    def lent(self) -> frozenset[Leg]:
        """The legs that sessions have."""
        return frozenset(self._lent)

    @property
    def lent_count(self) -> int:
        """How many legs sessions have."""
        return len(self._lent)

    def take(self, fit: Callable[[Leg], bool], *, now_s: float) -> Taken[Leg]:
        """Lend one leg, the youngest that is fit.

        Youngest first keeps congestion windows warm and lets old legs expire. What is found unfit on the way is the
        caller's to close: `collect` gives it.

        Args:
            fit: whether a leg may be lent: not readable, not broken, not too old.
            now_s: seconds on the worker's monotonic clock.

        Returns:
            A leg nobody else holds; it comes back by `give` or ends by `forget`.

        Raises:
            NoLegReady: both magazines are empty; dial instead.
        """
        before = len(self._unfit)
        while (leg := self._next()) is not None:
            self._unfit.append(leg)  # before it is judged: whatever `fit` does, the leg is not lost
            if fit(leg):
                self._lent.add(self._unfit.pop())
                return Taken(leg, self.ask(now_s=now_s))
        raise NoLegReady(ask=self.ask(now_s=now_s), dropped=len(self._unfit) - before)

    def _next(self) -> Leg | None:
        if self._loaded.is_empty:
            self._loaded, self._previous = self._previous, self._loaded
        return None if self._loaded.is_empty else self._loaded.pop()

    def ask(self, *, now_s: float) -> int:
        """Tell how many rounds to ask of the broker now; 0 while there are enough or an ask is on its way.

        At half a magazine, one full magazine is asked for. At least half a magazine of takes, or of gives, then lies
        between two exchanges, as the paper's second magazine is there to guarantee.
        """
        idle = len(self._loaded) + len(self._previous)
        if self._asked or idle > max(1, self.size // 2) or now_s < self._ask_from_s:
            return 0
        self._asked = True
        return self.size

    def receive(self, legs: Iterable[Leg]) -> tuple[Leg, ...]:
        """Take in the broker's answer to an ask.

        It goes under what is loaded: legs that sessions have just given back are warmer.

        Returns:
            What there is no room for, because sessions gave legs back meanwhile; the caller hands it back.
        """
        self._asked = False
        surplus = []
        for leg in legs:
            magazine = self._loaded if self._previous.is_full else self._previous
            if magazine.is_full:
                surplus.append(leg)
            else:
                magazine.push(leg)
        return tuple(surplus)

    def refused(self, *, now_s: float) -> None:
        """Take note that an ask was in vain, or could not be sent."""
        self._asked = False
        self._ask_from_s = now_s + ASK_AGAIN_S

    def broker_came(self) -> None:
        """Take note of a new broker, which knows of no ask; what the old one had sent is received before."""
        self._asked = False
        self._ask_from_s = float("-inf")

    def adopt(self, leg: Leg) -> None:
        """Count a leg that was dialled on a miss as lent.

        Raises:
            ValueError: it is held already; nothing changed.
        """
        if leg in self._lent or leg in self.idle:
            raise ValueError(f"a leg can be adopted once; {leg!r} is held already")
        self._lent.add(leg)

    def give(self, leg: Leg) -> tuple[Leg, ...]:
        """Take back a leg whose session ended in order.

        Returns:
            One full magazine that the caller hands back to the broker, the longer idle one; mostly nothing.

        Raises:
            ValueError: it was not lent; nothing changed.
        """
        self.forget(leg)
        full: list[Leg] = []
        if self._loaded.is_full:
            if self._previous.is_full:
                full = self._previous.unload()
            self._loaded, self._previous = self._previous, self._loaded
        self._loaded.push(leg)
        return tuple(full)

    def forget(self, leg: Leg) -> None:
        """Let go of a lent leg that its session closes.

        Raises:
            ValueError: it was not lent; nothing changed.
        """
        if leg not in self._lent:
            raise ValueError(f"a leg that is given back must be lent; {leg!r} is not")
        self._lent.remove(leg)

    def sweep(self, fit: Callable[[Leg], bool]) -> None:
        """Set aside what is idle and no longer fit. Call it now and then: the bottom of a stack may wait for hours."""
        self._unfit += self._previous.weed(fit) + self._loaded.weed(fit)

    def collect(self) -> tuple[Leg, ...]:
        """Give out what was found unfit; the caller closes it and tells the broker."""
        unfit, self._unfit = self._unfit, []
        return tuple(unfit)

    def resize(self, size: int) -> tuple[Leg, ...]:
        """Go on with magazines of another size.

        Returns:
            What the smaller ones have no room for; the caller hands it back.
        """
        if size == self.size:
            return ()
        legs = self.surrender()
        self._loaded, self._previous = Magazine(size), Magazine(size)
        for leg in legs[-size:]:
            self._loaded.push(leg)
        for leg in legs[-2 * size : -size]:
            self._previous.push(leg)
        return legs[: -2 * size]

    def surrender(self) -> tuple[Leg, ...]:
        """Give out all idle legs, to be handed back or closed: the worker drains or the peer is down."""
        return (*self._previous.unload(), *self._loaded.unload())
