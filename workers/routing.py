"""Which paths a listener's sessions try, in which order, as the links change. No I/O: who knows the links is asked."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from pools.path_choice import PathChoice, PathSample
from workers.settings import Listen

Path: TypeAlias = tuple[str, ...]

_FROM_HERE = PathSample(is_up=True)


class Routes:
    """The paths of each listener of one worker, in the order in which a new session tries them.

    Args:
        listens: in the configuration's order.
        sample: what is known now of the path to a peer of this gateway and from there on through others.
    """

    def __init__(self, listens: Sequence[Listen], sample: Callable[[Path], PathSample]) -> None:
        self._listens = listens
        self._sample = sample
        self._choices = [PathChoice(listen.choose) for listen in listens]
        self._in_turn = [listen.paths for listen in listens]
        self.look()

    def paths(self, listen_index: int) -> tuple[Path, ...]:
        """Give the paths to try, one after another: () is to dial from here. Never none."""
        return self._in_turn[listen_index]

    def look(self) -> None:
        """Take in how the links are now; once a second, and whenever one goes down or comes up."""
        for index, listen in enumerate(self._listens):
            if len(listen.paths) > 1:
                self._choose(index, listen)

    def _choose(self, index: int, listen: Listen) -> None:
        samples = [self._sample(path) if path else _FROM_HERE for path in listen.paths]
        choice = self._choices[index] = self._choices[index].after(samples)
        up = tuple(listen.paths[position] for position in choice.in_turn(samples))
        self._in_turn[index] = up or listen.paths  # none is up, as far as we know: trying costs less than refusing
