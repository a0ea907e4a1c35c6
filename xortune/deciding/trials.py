"""The trials of a search: which point is next, and what the sampler is told of those before.

A trial is a point that the proposer gave, by its number; the same point may come twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.trainer import Trainer
from xortune.deciding.configs import ConfigState
from xortune.deciding.propose import Proposer
from xortune.deciding.recorded import Recorded
from xortune.spaces.grid import budget
from xortune.spaces.model import SearchSpace
from xortune.training.ahead import FORESEEN


class Trials:
    """Begins trials: those that the journal has are begun again, in their order.

    Args:
        space: what is searched.
        trainer: brings points into its normal form, and may refuse them.
        proposer: makes proposals, and learns from their results.
        recorded: what the journal has of earlier sessions.
        waits: whether the sampler is told of a trial that is being promoted only once the promotion
            has finished: where the race weighs seeds, the first one says little.

    Attributes:
        begun: how many there are; the number of the next one.
        total: how many there are at the end, as far as is known.
    """

    def __init__(
        self,
        space: SearchSpace,
        trainer: Trainer,
        proposer: Proposer,
        recorded: Recorded,
        *,
        waits: bool,
    ) -> None:
        self._trainer, self._proposer, self._recorded = trainer, proposer, recorded
        self.begun, self.total = 0, budget(space)
        self._waits = waits
        self._untold: list[tuple[int, ConfigState]] = []
        self._held: dict[str, list[tuple[int, ConfigState]]] = {}  # by config key

    @property
    def are_left(self) -> bool:
        """Whether there is another one, as far as is known."""
        return self.begun < self.total

    @property
    def are_recorded(self) -> bool:
        """Whether the journal has the next one, or a later one.

        After the last one the journal's decisions may be of a search with fewer trials.
        """
        return self.are_left and self._recorded.last_trial >= self.begun

    def begin(self) -> Point | None:
        """The point of the next trial; None if the proposer has no more.

        Raises:
            InputError: the trainer refuses it.
        """
        self.tell()
        number = self.begun
        if (point := self._recorded.point(number)) is not None:
            self._proposer.replay(number, point)
        elif (values := self._proposer.propose(number)) is not None:
            point = self._trainer.check(values)
        else:
            self.total = number
            return None
        self.begun += 1
        return point

    def foreseen(self) -> Iterator[Point]:
        """Points of coming trials that no session has trained, as far as they can be foreseen."""
        for number in range(self.begun, min(self.total, self.begun + FORESEEN)):
            if self._recorded.has_trial(number):
                continue
            if (values := self._proposer.foresee(number)) is None:
                continue
            with suppress(InputError):  # raised when the search proposes it
                yield self._trainer.check(values)

    # What the sampler is told.

    def add(self, number: int, state: ConfigState) -> None:
        """Note that a trial's first results are used, so that the sampler is to be told of it."""
        self._untold.append((number, state))

    def see(self, state: ConfigState) -> None:
        """Show the sampler all results of a configuration that decisions use."""
        self._proposer.see(state.point, state.seen.counted)

    def release(self, key: str) -> None:
        """Note that no seeds of a configuration are in training any more."""
        self._untold += self._held.pop(key, ())

    def tell(self) -> None:
        """Tell the sampler of trials."""
        trials, self._untold = self._untold, []
        for number, state in trials:
            if self._waits and state.in_flight:
                self._held.setdefault(state.point.key, []).append((number, state))
            else:
                self._proposer.learn(number, state.point, state.seen.counted)
