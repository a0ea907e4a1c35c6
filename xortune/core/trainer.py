"""The Protocol between the search and whatever trains: blocks in, outcomes or errors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point

NOT_FINISHED = "not finished: the configuration had been proven worse than another"
"""The reason in a journal for seeds that were cancelled. They count neither as successes nor as
failures."""

PROVEN_WORSE = "stopped: the configuration is proven worse than another"
"""The reason in a journal why a config gets no more seeds: the verdict of a race, and no failure.
The block of that line is the first seed that the config does not get."""

NO_FAILURES = (NOT_FINISHED, PROVEN_WORSE)
"""The reasons in a journal that tell of no failure."""


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of work: a point and the seeds it trains under next.

    Attributes:
        point: in its trainer's normal form.
        first: the first seed.
        count: how many seeds, contiguous from `first`.
    """

    point: Point
    first: int
    count: int

    @property
    def seeds(self) -> range:
        """The seeds themselves."""
        return range(self.first, self.first + self.count)

    def __reduce__(self) -> tuple[Any, ...]:
        """As its attributes: those of a dataclass with slots are looked up anew for each."""
        return Block, (self.point, self.first, self.count)


class Unfinished(TrainingError):
    """A block that was cancelled: its outcome cannot matter any more.

    Attributes:
        outcome: of its first seeds, which were finished by then; None if there are none.
    """

    def __init__(self, outcome: Any = None) -> None:
        super().__init__(NOT_FINISHED)
        self.outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way from a Ray worker to the driver."""
        return type(self), (self.outcome,)


class OutOfTime(Unfinished):
    """A block that was not begun, or ended between two seeds, since the search's time was over."""


class Trains(Protocol):
    """What trains blocks."""

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome, or the reason why there is none, for each block, in order."""
        ...


class Trainer(Trains, Protocol):
    """What interprets a point. Picklable: the search sends it to its workers.

    One that runs code of the user's own says so: see `runs_users_code`.
    """

    def check(self, point: Point) -> Point:
        """The point in its normal form, so that equal trainings have equal keys.

        Raises:
            InputError: the point means nothing to this trainer; `field` names the parameter.
        """
        ...

    def cost(self, block: Block) -> float:
        """Seconds that one core takes, roughly; the same on every machine and at every time.

        The search corrects it by what it measures, and sizes its batches by that. How many
        proposals a learning sampler makes ahead of results follows from this number alone.
        """
        ...

    def describe(self) -> dict[str, str]:
        """What a manifest says of it: the engine, its version, the task's fingerprint."""
        ...


def runs_users_code(trainer: Trainer) -> bool:
    """Whether any seed may hang or kill its process: see `driver.batches`.

    It may where the trainer has an attribute `users_code` that is true.
    """
    return bool(getattr(trainer, "users_code", False))


@dataclass(frozen=True)
class Stacking:
    """Which seeds a trainer trains as one, in hardly more time than a few of them alone.

    Attributes:
        apart: parameters that keep configs apart: those of one stack have the same values of them.
        width: so many seeds take hardly longer than a few; 1 where each takes its own time.
        gain: how many times as fast as alone a seed is among so many.
    """

    apart: frozenset[str]
    width: int
    gain: float = 1.0


def stacking_of(trainer: Trainer, block: Block) -> Stacking | None:
    """What a trainer that has trained a block in this process knows of its stacks.

    It knows of some where it has a method `stacking`; None where it has not trained as one.
    """
    asked = getattr(trainer, "stacking", None)
    found: Stacking | None = None if asked is None else asked(block)
    return found
