"""What a search measures of its seeds, as its space says; and which of them are hopeless."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from xortune.core.band import Band
from xortune.core.outcome import Outcome, Status, valid_numbers
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.deciding.in_flight import Decision
from xortune.racing.hopeless import HopelessSeeds
from xortune.racing.objectives import (
    SeedSummary,
    SeenFacts,
    constrained,
    facts_for_race,
    numbers_named,
    only_statistic,
)
from xortune.runs.evaluation import EncodedOutcome, Evaluation
from xortune.spaces.model import SECONDS, Objective, SearchSpace, StopHopeless


@dataclass(frozen=True)
class Measured:
    """What a search keeps of a block's results.

    Attributes:
        objectives: of the space.
        names: of the trainer's numbers that objectives, their ties and the price are made of.
        price: what a seed costs: `seconds` or a number; None: all cost the same.
        is_timed: whether the seconds of blocks are kept: an objective or the price asks for them.
        is_watched: whether hopeless seeds end early.
    """

    objectives: tuple[Objective, ...]
    names: tuple[str, ...]
    price: str | None
    is_timed: bool
    is_watched: bool = False

    @classmethod
    def of(cls, space: SearchSpace) -> Measured:
        """What a space asks for."""
        # What is optimized among the configurations that reach a required success rate, if any is.
        optimized, price = constrained(space.objectives), space.seeds.price
        paid = () if price in (None, SECONDS) else (price,)
        names = tuple(dict.fromkeys((*numbers_named(space.objectives), *paid)))
        is_timed = SECONDS in (price, optimized and optimized.name)
        is_watched = space.seeds.stop_hopeless is not None
        return cls(tuple(space.objectives), names, price, is_timed, is_watched)

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
        audited, audited_solved = audited_of(line)
        return SeedSummary(
            outcome.successes,
            outcome.n,
            outcome.epochs_spent if learns else 0,
            budget=int(outcome.epochs),
            numbers=numbers,
            timed_blocks=((each, line.block.count),) if self.is_timed else (),
            stopped=int((outcome.status == Status.STOPPED).sum()),
            audited=audited,
            audited_solved=audited_solved,
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


# -------------------------------------------------------------------------------------------------
# Hopeless seeds.


class TrainedBlock(Protocol):
    """A block with its outcome: a line that has just been written, or one of the journal."""

    @property
    def block(self) -> Block:
        """The configuration and its seeds."""

    @property
    def outcome(self) -> Outcome | EncodedOutcome | None:
        """Their results; None if there are none."""


def audited_of(trained: TrainedBlock) -> tuple[int, int]:
    """How many hopeless seeds of a block were trained on, and how many of them succeeded."""
    outcome = trained.outcome
    if outcome is None or (watched := outcome.details.watched) is None:
        return 0, 0
    status = outcome.status[[seed - trained.block.first for seed in watched.left]]
    return int((status != Status.STOPPED).sum()), int((status == Status.SOLVED).sum())


class SeedWatch:
    """Says when seeds are hopeless, by the curves of the results that decisions have used."""

    def __init__(self, settings: StopHopeless, space: SearchSpace) -> None:
        self._seeds = HopelessSeeds(settings, space.success, space.search.seed)

    def keep(self, decision: Decision, trained: TrainedBlock) -> None:
        """Keep a block's curves until the decision's results are used."""
        if (outcome := trained.outcome) is not None:
            key, seeds = trained.block.point.key, trained.block.seeds
            curves = self._seeds.curves_of(key, seeds, outcome.status, outcome.details)
            decision.curves[trained.block.first] = curves

    def learn(self, decision: Decision) -> None:
        """Use a decision's curves, in the order of seeds, whichever came first."""
        for _, curves in sorted(decision.curves.items()):
            self._seeds.see(curves)

    def band(self, key: str) -> Band | None:
        """The band that the next seeds of a configuration have to stay in."""
        return self._seeds.band(key)


class NoSeedWatch:
    """No seed is hopeless; like `SeedWatch`."""

    def keep(self, decision: Decision, trained: TrainedBlock) -> None:
        """Keep nothing."""

    def learn(self, decision: Decision) -> None:
        """Learn nothing."""

    def band(self, key: str) -> None:  # noqa: ARG002
        """None: all seeds are trained to the end."""
        return


def watch_of(space: SearchSpace) -> SeedWatch | NoSeedWatch:
    """Who watches the seeds of a space for hopeless ones."""
    settings = space.seeds.stop_hopeless
    return NoSeedWatch() if settings is None else SeedWatch(settings, space)
