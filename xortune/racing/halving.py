"""The race for a number of a user's own trainer: the best of a rung are promoted.

It is successive halving without waiting (Li et al. 2020, A System for Massively Parallel
Hyperparameter Tuning, MLSys: ASHA), see docs/own-trainer.md, and by itself promises nothing.

A quantile has bounds that hold at all looks and for any distribution
(`stats.anytime.anytime_quantile`). So a configuration that they prove worse is stopped, with the
promise of `racing.race`: with probability at least 1 - alpha every stopped configuration's quantile
really is worse than that of the one it was stopped for, by the same proof and with the same shares
of alpha. A failed seed counts as its objective says. The mean of numbers with known limits has such
bounds too (`stats.betting`); there a failed seed counts as the worse limit. A mean of other numbers
has none, so it stops no configuration.

Success rates (`stop: {proven_rate: ..}`) are proven by `racing.race`, as always.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import SeedCount
from xortune.racing.race import RaceRule, SeedRace, SeenFacts, race_share
from xortune.stats.anytime import anytime_quantile
from xortune.stats.betting import mean_bounds
from xortune.stats.proportions import clopper_pearson_lower

NumberMember = tuple[float, float, int]
"""A configuration at a rung: its cost; where failed seeds make that infinite, the median's, and
infinity if more seeds will not change that; its number. The best first, then the oldest."""

LAST = sys.float_info.max
"""The cost of a configuration that failed seeds make infinite: behind all others."""


@dataclass(slots=True)
class Rung:
    """A rung of the race, the best configuration first.

    Attributes:
        seeds: of a configuration that has reached it.
        came: all that have reached it.
        waiting: those of them that have not reached the next one.
    """

    seeds: int
    came: list[NumberMember] = field(default_factory=list)
    waiting: list[NumberMember] = field(default_factory=list)


def asha(rungs: Sequence[Rung], *, last: bool) -> Iterator[int]:
    """Numbers of the configurations that may be promoted, the next one first.

    Li et al. (2020), algorithm 2, `get_job`: from the highest rung down, those in the best 1/eta
    of all that have reached the rung, where eta is the ratio of the seeds of the next rung to its
    own. Once no new configurations come (`last`), the share is rounded up, so that one
    reaches the top.
    """
    for rung, above in reversed(list(pairwise(rungs))):
        share = len(rung.came) / (above.seeds / rung.seeds)
        most = math.ceil(share) if last else int(share)
        for member in rung.waiting:
            if math.inf in member or bisect_left(rung.came, member) >= most:
                break
            yield member[-1]


class NumberGrants(SeedRace):
    """A search's race for an objective on numbers.

    A configuration is promoted for its numbers, whether a seed succeeded or not.

    Args:
        rule: of the race.
        share: of the quantile of the costs, if the objective is a quantile.
        limits: of the costs, if the objective is a mean of numbers with known limits.
    """

    needs_success = False

    def __init__(
        self,
        rule: RaceRule,
        *,
        share: float | None = None,
        limits: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(rule, bounded="?", least="f8", most="f8")
        self._rungs = [Rung(seeds) for seeds in rule.rungs]
        self._share, self._limits = share, limits
        # The two lowest of `most`: where the costs are bounded, a row has both bounds of the
        # objective's cost, over all looks.
        self._bars: tuple[tuple[float, int], ...] = ()

    def _withdraw(self, number: int) -> None:
        for rung in self._rungs:
            _drop(rung.came, number)
            _drop(rung.waiting, number)
        if (row := self.row(number)) is not None and row["bounded"]:
            row["bounded"] = False
            rest = np.flatnonzero(self.rows["bounded"]).tolist()
            self._bars = tuple(nsmallest(2, ((float(self.rows["most"][i]), i + 1) for i in rest)))

    def _look(self, number: int, seen: SeedCount, facts: SeenFacts) -> None:
        has_bounds = self._share is not None or self._limits is not None
        if has_bounds and facts.seed_costs is not None:
            self._bound(number, facts.seed_costs)
        before, [cost] = self.rows["n"][number - 1], facts.costs
        member = (*self._ranked(cost, facts.seed_costs), number)
        for place, rung in enumerate(self._rungs):
            if not before < rung.seeds <= seen.n:
                continue
            insort(rung.came, member)
            insort(rung.waiting, member)
            if place:  # it has left the rung before
                _drop(self._rungs[place - 1].waiting, number)

    def _ranked(self, cost: float, seed_costs: NDArray[np.float64] | None) -> tuple[float, float]:
        """The first two of `NumberMember`; of few seeds a failed one decides a quantile by luck."""
        if math.isfinite(cost):
            return cost, 0.0
        if self._share is None or seed_costs is None:
            return LAST, math.inf
        failed = int((seed_costs == math.inf).sum())
        has_hope = clopper_pearson_lower(failed, len(seed_costs)) < 1 - self._share
        return LAST, float(np.median(seed_costs)) if has_hope else math.inf

    def next(
        self,
        busy: Mapping[Hashable, int],
        *,
        last: bool = False,
        left: float = math.inf,  # noqa: ARG002
    ) -> Hashable:
        """The configuration to promote, the best of the highest rung with one; None if none may."""
        for number in asha(self._rungs, last=last):
            name = self._race.name_of(number)
            if name not in busy and not self.is_stopped(name):
                return name
        return None

    def is_stopped(self, name: Hashable) -> bool:
        """Whether its quantile, or mean within limits, is proven worse than another's."""
        number = self.enter(name)
        if (row := self.row(number)) is None or not row["bounded"]:
            return False
        bar = next((cost for cost, other in self._bars if other != number), math.inf)
        return bool(row["least"] > bar)

    def _interval(self, number: int, costs: NDArray[np.float64]) -> tuple[float, float]:
        alpha = self.rule.alpha * float(race_share(number)) / 2
        if self._share is not None:
            low, high = map(float, anytime_quantile(costs, self._share, alpha=alpha))
            return low, high
        assert self._limits is not None
        least, most = self._limits
        known = np.where(costs == math.inf, most, np.where(costs == -math.inf, least, costs))
        # They are sorted, so only their end counts; the bounds of all looks are kept.
        return mean_bounds(known, alpha=alpha, limits=self._limits, ordered=False)

    def _bound(self, number: int, seed_costs: NDArray[np.float64]) -> None:
        # The bounds of all looks hold together, so the best ones count.
        low, high = self._interval(number, seed_costs)
        row = self.rows[number - 1]
        if row["bounded"]:
            low, high = max(low, float(row["least"])), min(high, float(row["most"]))
        row["bounded"], row["least"], row["most"] = True, low, high
        others = (bar for bar in self._bars if bar[1] != number)
        self._bars = tuple(nsmallest(2, [*others, (high, number)]))


def _drop(members: list[NumberMember], number: int) -> None:
    members[:] = [member for member in members if member[-1] != number]
