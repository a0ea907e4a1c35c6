"""What a search measures of its seeds, as its space says; and its seeds as trials of a pruner.

A pruner compares a seed with those whose results decisions have used when it is granted, of
whatever configuration. So a resumed search, a pool and Ray prune the same seeds.
"""

from __future__ import annotations

import math
import pickle
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from xortune.core.outcome import Outcome, Status, valid_numbers
from xortune.core.point import Point
from xortune.core.pruning import Pruning, asked, is_look, reports_of
from xortune.core.trainer import Block
from xortune.racing.objectives import (
    SeedSummary,
    constrained,
    facts_for_race,
    numbers_named,
    only_statistic,
)
from xortune.racing.race import SeenFacts
from xortune.runs.evaluation import EncodedOutcome, Evaluation
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


# -------------------------------------------------------------------------------------------------
# Seeds as trials of a study, which a pruner of Optuna reads.

MOST_TRIALS = 128
"""A study has at most so many seeds. Once it has them, a new one begins with the last half."""

STATES = {Status.PRUNED: TrialState.PRUNED, Status.CRASHED: TrialState.FAIL}
"""How seeds ended, as a pruner reads it; all others are complete."""


class SeedTrial(NamedTuple):
    """A seed as a trial: its reports that a pruner is asked after, and how it ended."""

    reports: tuple[tuple[int, float], ...]
    state: TrialState


class SeedStudy:
    """The study of a search's seeds. Where the space names no pruner it has none, and none ends."""

    def __init__(self, space: SearchSpace) -> None:
        self._space, self._on = space, space.pruned_by
        self._kept: deque[SeedTrial] = deque(maxlen=MOST_TRIALS // 2)
        self._pruning: Pruning | None = None  # by what is known now
        if self._on is not None:
            self._study = self._empty()

    @property
    def prunes(self) -> bool:
        """Whether the space names a pruner."""
        return self._on is not None

    def trials_of(self, block: Block, outcome: Outcome | EncodedOutcome | None) -> list[SeedTrial]:
        """The seeds of a block that have reported, in their order."""
        if self._on is None or outcome is None:
            return []
        reports, pruned, found = reports_of(outcome.details, self._on), outcome.details.pruned, []
        for seed, ended in zip(block.seeds, outcome.status.tolist(), strict=True):
            if seed in reports:
                last = pruned[seed] if ended == Status.PRUNED else math.inf
                pairs = zip(reports[seed][0], reports[seed][1].tolist(), strict=True)
                told = tuple((at, number) for at, number in pairs if is_look(at) and at <= last)
                found.append(SeedTrial(told, STATES.get(ended, TrialState.COMPLETE)))
        return found

    def learn(self, trials: Iterable[SeedTrial]) -> None:
        """Use seeds, in the order of decisions."""
        for trial in trials:
            if len(self._study.get_trials(deepcopy=False)) == MOST_TRIALS:
                self._study = self._empty()
                for kept in self._kept:
                    self._add(kept)
            self._kept.append(trial)
            self._add(trial)
            self._pruning = None

    def pruning(self) -> Pruning | None:
        """What prunes the seeds that are granted next; None if none is pruned."""
        if self._pruning is None and self._on is not None:
            # Optuna's documents keep studies in memory so ("How can I save and resume studies?").
            study = pickle.dumps(self._study)
            self._pruning = Pruning(self._on, self._space.search.seed, study)
        return self._pruning

    def _empty(self) -> optuna.Study:
        chosen, rule = self._space.search.pruner, self._space.success
        assert chosen is not None
        assert rule is not None
        assert self._on is not None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(
            study_name=str(self._space.search.seed),  # Hyperband draws brackets by it
            direction="maximize" if rule.direction(self._on) else "minimize",
            sampler=RandomSampler(0),  # proposes nothing
            pruner=chosen.make(),
        )

    def _add(self, seed: SeedTrial) -> None:
        """Add a seed as it was trained: pruners note in a trial what they have asked of it."""
        is_pruned = asked(trial := self._study.ask())
        for report, number in seed.reports:
            is_pruned(report, number)
        value = 0.0 if seed.state == TrialState.COMPLETE else None  # no pruner asks for it
        self._study.tell(trial, value, seed.state)
