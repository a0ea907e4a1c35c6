"""What the user is shown of a search while it runs."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import NO_SEEDS, SeedCount
from xortune.deciding.configs import ConfigState
from xortune.racing.objectives import (
    Numbers,
    SeedSummary,
    constrained,
    costs,
    numbers_named,
    only_statistic,
    statistic_value,
)
from xortune.runs.results import criteria
from xortune.runs.status import Progress
from xortune.spaces.grid import budget
from xortune.spaces.model import Objective, SearchSpace


class Tally:
    """Counts all finished results, also those that no decision uses yet.

    Finds the best from a histogram of results, without scanning every configuration.

    Attributes:
        total: trials that the user asked for.
        best: of the first configuration in the order of the table.
        done, fresh: trials with a result, and those of them with a result of this session.
        seeds: with a result.
        dropped: seeds that were granted and are given up.
        failed: trials of which a block finally produced no outcome.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.total, self.best, self._order = budget(space), NO_SEEDS, _Order(space)
        # Without a rule the first is shown by its number, the second of its criteria.
        asks = space.rule is None or space.rule.asks
        self._number = None if asks else only_statistic(space.objectives)
        self.done = self.fresh = self.seeds = self.dropped = 0
        self.failed = set[int]()
        self._results: Counter[tuple[float, ...]] = Counter()
        self._first: tuple[float, ...] = (math.inf,)

    def grow(self, state: ConfigState, fingerprint: str, first: int, more: SeedSummary) -> None:
        """Add results of one version to a configuration's, and update the best."""
        self.seeds += more.n
        shown = state.shown
        before = self._order(state) if shown.counted.n else None
        shown.add(fingerprint, first, more)
        after = self._order(state)
        self._results[after] += 1
        if before is not None:
            self._results[before] -= 1
            if not self._results[before]:
                del self._results[before]
        gone = before == self._first and before not in self._results
        self._first = min(self._results) if gone else min(self._first, after)
        self.best = SeedCount(int(self._first[-1]), -int(self._first[-2]))

    @property
    def number(self) -> tuple[str, float] | None:
        """Without a rule for success: the objective and its value of the first, if it has one."""
        if self._number is None or not self._results:
            return None
        cost = self._first[1]
        known = (self._number.name, -cost if self._number.maximize else cost)
        return known if math.isfinite(cost) else None

    def progress(self, least: int, most: int) -> Progress:
        """The progress now, with so many seeds at the end; the session adds the pace."""
        return Progress(
            done=self.done,
            total=self.total,
            fresh=self.fresh,
            best=self.best,
            failed=len(self.failed),
            seeds_done=self.seeds,
            seeds_expected=(least, most),
            number=self.number,
        )


class _Order:
    """Says which results come first, by `runs.results.criteria`; epochs and keys are left out."""

    def __init__(self, space: SearchSpace) -> None:
        self._objectives, self._rungs = space.objectives, space.seeds.ladder
        self._by_numbers = only_statistic(space.objectives) is not None
        self._names = numbers_named(space.objectives)
        self._by_counts = cache(self._key)

    def __call__(self, state: ConfigState) -> tuple[float, ...]:
        """The criteria, the lower the better, then minus the seeds and the successes."""
        seen = state.shown.counted
        if constrained(self._objectives) is not None:
            cost = costs(self._objectives, state.point, seen)
            return self._key(seen.k, seen.n, number=state.number, known=cost)
        if not self._by_numbers:
            return self._by_counts(seen.k, seen.n)
        return self._key(seen.k, seen.n, seen.numbers)

    def _key(
        self,
        k: int,
        n: int,
        numbers: tuple[Numbers, ...] = (),
        *,
        number: int = 1,
        known: tuple[float, ...] = (),
    ) -> tuple[float, ...]:
        def cost(objective: Objective) -> NDArray[np.float64]:
            if known:
                return np.array(known)
            if not numbers:  # they only decide between equal counts, which are shown alike
                return np.zeros(1)
            value = statistic_value(objective, numbers[self._names.index(objective.number or "")])
            return np.array([-value if objective.maximize else value])

        columns = criteria(
            self._objectives,
            self._rungs,
            k=np.array([k]),
            n=np.array([n]),
            number=np.array([number]),
            epochs_to_solve=np.array([np.nan]),
            costs=cost,
        )
        return (*(float(column[0]) for column in columns), -n, k)


LOOKS = 2
"""Configurations whose proofs are looked up, in turn, when a race uses a result."""


class Rooms:
    """How many seeds a race may still give to each of its configurations, and to all together."""

    def __init__(self) -> None:
        self._seeds: OrderedDict[str, int] = OrderedDict()
        self.total = 0

    def set(self, key: str, seeds: int) -> None:
        """Note what a configuration may get; it is the last to be looked at again."""
        self.total += seeds - self._seeds.pop(key, 0)
        if seeds:
            self._seeds[key] = seeds

    def look_again(self, may_climb: Callable[[str], bool]) -> None:
        """Look at some configurations, in turn: those that get no more seeds have no room."""
        for key, seeds in list(islice(self._seeds.items(), LOOKS)):
            self.set(key, seeds if may_climb(key) else 0)
