"""What a search measures of its seeds, as its space says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from xortune.core.outcome import valid_numbers
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.racing.objectives import (
    SeedSummary,
    constrained,
    facts_for_race,
    numbers_named,
    only_statistic,
)
from xortune.racing.race import SeenFacts
from xortune.runs.evaluation import Evaluation
from xortune.spaces.model import SECONDS, Objective, SearchSpace


@dataclass(frozen=True)
class Measured:
    """What a search keeps of a block's results.

    Attributes:
        objectives: of the space.
        names: of the trainer's numbers that objectives, their ties and the price are made of.
        price: what a seed costs: `seconds` or a number; None: all cost the same.
        is_timed: whether the seconds of blocks are kept: an objective or the price asks for them.
    """

    objectives: tuple[Objective, ...]
    names: tuple[str, ...]
    price: str | None
    is_timed: bool

    @classmethod
    def of(cls, space: SearchSpace) -> Measured:
        """What a space asks for."""
        # What is optimized among the configurations that reach a required success rate, if any is.
        optimized, price = constrained(space.objectives), space.seeds.price
        paid = () if price in (None, SECONDS) else (price,)
        names = tuple(dict.fromkeys((*numbers_named(space.objectives), *paid)))
        is_timed = SECONDS in (price, optimized and optimized.name)
        return cls(tuple(space.objectives), names, price, is_timed)

    @property
    def judges_numbers(self) -> bool:
        """Whether a trainer's number is all that is optimized: a success decides nothing."""
        return only_statistic(self.objectives) is not None

    @property
    def orders_by_numbers(self) -> bool:
        """Whether a trainer's numbers decide who is first in the table."""
        return self.judges_numbers or (
            constrained(self.objectives) is not None and bool(self.names)
        )

    def summary(self, line: Evaluation, *, learns: bool) -> SeedSummary | None:
        """The results of a block that has just been trained; None: it produced no outcome.

        Without `learns` no decision asks for epochs, and summing them takes a while.
        """
        if (outcome := line.outcome) is None:
            return None
        numbers = tuple(
            tuple(valid_numbers(outcome.details.values.get(name), outcome.status).tolist())
            for name in self.names
        )
        each = max(0.0, float(line.seconds)) / line.block.count
        return SeedSummary(
            outcome.successes,
            outcome.n,
            outcome.epochs_spent if learns else 0,
            budget=int(outcome.epochs),
            numbers=numbers,
            timed_blocks=((each, line.block.count),) if self.is_timed else (),
        )

    def crashed(self, block: Block) -> SeedSummary:
        """The results of a block without an outcome: all its seeds crashed."""
        epochs = block.point.get("epochs")
        return SeedSummary(
            n=block.count,
            crashed=block.count,
            budget=epochs if isinstance(epochs, int) else 0,
            numbers=((math.nan,) * block.count,) * len(self.names),
        )

    def facts(self, point: Point, seen: SeedSummary) -> SeenFacts:
        """What a race is shown of a configuration beside its counts."""
        return facts_for_race(self.objectives, self.names, self.price, point, seen)
