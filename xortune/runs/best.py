"""Which configurations are as good as the best, as far as is known: a confidence set of the best.

    subset = run.indistinguishable
    subset.members      # the best, and those that its seeds do not tell from it
    str(subset)         # "As good, as far as is known: 3 of 10 configurations ..."

Success rates and numbers take one path; a success is a number that is 0 or 1. A configuration
leaves the set if the first of the table is better in a one-sided test on the seeds that both have,
at level alpha / ((m - 1) looks), for m configurations.

**The promise.** The set holds the truly best of all m configurations with probability at least
1 - alpha. *Proof.* Let b be the truly best, whichever it is; b leaves only if *some* other one
beats it in a test. There are m - 1 others, and the seeds that a pair shares end at one of the rungs
where the race looks, `looks` of which have enough seeds for a test at all. For each other one and
each rung, fixed before any seed, the test errs with probability at most its level; by the union
bound b leaves with probability at most alpha. This accounts for the choice of the first by its
results, and for a race that decides by results who gets more seeds. It does not say that those that
left are each worse: of m equal configurations some may leave.

The tests: McNemar's exact one of rates; bets for means of numbers with limits, which hold at every
look, so that these share no alpha; order statistics of quantiles (all of these for any
distribution); Yuen's t of pairs for interquartile means, Student's for means, which are
approximate. A failed seed is worse than any number, unless the objective says another one.

Source:
    Subset selection: Gupta (1965), Technometrics 7, 225-245; comparison with the best: Hsu (1981),
    Annals of Statistics 9, 1026-1034.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from xortune.core.formats import config_text, count, number
from xortune.core.numbers import Statistic, statistic_named
from xortune.core.outcome import Status
from xortune.racing.objectives import numbers_in, values_of_seeds
from xortune.runs.results import ConfigResults
from xortune.spaces.model import Objective
from xortune.stats.betting import mean_evidence_above, paired_limits
from xortune.stats.numbers import is_larger
from xortune.stats.proportions import mcnemar_greater

ALPHA = 0.05
"""The greatest probability that the truly best configuration is not in the set."""

CONFIGS_AT_ONCE = 10_000
"""Configurations whose seeds are in memory at once."""

MOST_NAMED, MOST_KEYS = 5, 10
"""Most configurations that a sentence names, and whose keys are in JSON."""


@dataclass(frozen=True)
class BestSubset:
    """The configurations that may be the best, as far as is known.

    Attributes:
        total: how many configurations are compared, the best included.
        members: the best, and those that share enough seeds with it for a test that does not tell
            them apart, best first.
        too_few: how many others share too few seeds with it for any test; they may be as good.
        test: by which the others are told apart, in words.
    """

    total: int
    members: ConfigResults
    too_few: int
    test: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON: counts, the text, and the keys of the first members."""
        return {
            "of": self.total,
            "size": self.size,
            "told_apart": self.told_apart,
            "too_few_seeds": self.too_few,
            "members": len(self.members),
            "keys": self.members.keys[:MOST_KEYS],
            "test": self.test,
            "text": str(self),
        }

    @property
    def told_apart(self) -> int:
        """How many are told apart from the best: they are not in the set."""
        return self.total - len(self.members) - self.too_few

    @property
    def size(self) -> int:
        """How many configurations may be the best, the first included."""
        return self.total - self.told_apart

    def __str__(self) -> str:
        others, few = count(self.total - 1, "other"), self.too_few
        sure = f"with {number(100 * (1 - ALPHA))} % confidence the best of all is"
        if self.size == 1:
            each = "The other is" if self.total == 2 else f"Each of the {others} is"
            return f"{each} told apart from the best: {sure} this one."
        if self.told_apart:
            want = f", {few:,} of them with too few seeds to tell" if few else ""
            return (
                f"As good as the best, as far as is known: {self.size:,} of {self.total:,} "
                f"configurations{self._named}{want}; {sure} among them."
            )
        none = "The other is not" if self.total == 2 else f"The {others} are not"
        has = "it has" if self.total == 2 else "all have" if few == self.total - 1 else ""
        has = has or f"{few:,} of them {'has' if few == 1 else 'have'}"
        return f"{none} told apart from the best{f'; {has} too few seeds for that' if few else ''}."

    @property
    def _named(self) -> str:
        """The members in brackets, by the parameters in which they differ; empty if many."""
        if not 1 < len(self.members) <= MOST_NAMED:
            return ""
        points = [one.point for one in self.members]
        names = [n for n in points[0] if len({repr(point.get(n)) for point in points}) > 1]
        return f" ({'; '.join(config_text(point, names) or '–' for point in points)})"


def best_subset(
    results: ConfigResults,
    rungs: Sequence[int] = (),
    objective: Objective | None = None,
    limits: tuple[float, float] | None = None,
) -> BestSubset | None:
    """The configurations that the first does not beat, by the tests of the module.

    Args:
        results: at least two, best first, as in `Run.results`.
        rungs: of the ladder; none if no race decided who gets more seeds.
        objective: a statistic of a number; None: the success rate.
        limits: what no seed's number can be below or above, if they are known.

    Returns:
        None where no test compares the statistic.
    """
    statistic = None if objective is None else statistic_named(str(objective.statistic))
    if statistic is not None and not statistic.has_test:
        return None
    bets = limits is not None and statistic is not None and statistic.name == "mean"
    level = ALPHA / (len(results) - 1)
    if not bets:
        level /= max(1, sum(rung >= -math.log2(level) for rung in rungs))
    most = results.counts.n.max()
    rungs = [rung for rung in rungs if rung <= most]
    if objective is None or statistic is None:
        shared, beaten = _by_counts(results, rungs, level)
        test = "exact McNemar test"
    else:
        of_pairs = _Test(statistic, objective.maximize, limits if bets else None, level)
        shared, beaten = _by_numbers(results, () if bets else rungs, objective, of_pairs)
        test = of_pairs.text
    few = ~beaten & ~_may_tell(shared, level)
    few[0] = False
    members = results.chosen(np.flatnonzero(~beaten & ~few))
    return BestSubset(len(results), members, int(few.sum()), test)


@dataclass(frozen=True)
class _Test:
    """A one-sided test of "A is better than B", of numbers of shared seeds.

    Attributes:
        statistic: that is compared.
        maximize: whether more is better.
        limits: of the numbers, if their mean is compared by bets.
        level: of the test.
    """

    statistic: Statistic
    maximize: bool
    limits: tuple[float, float] | None
    level: float

    @property
    def text(self) -> str:
        """In words."""
        if self.limits is not None:
            return "bets on differences"
        if self.statistic.share is not None:
            return "order statistics"
        return f"{'Yuen' if self.statistic.trim else 'Student'}'s t of pairs, approximate"

    def tells(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        """Whether A is shown to be better; numbers are infinite where a seed failed, shape (S,).

        Where failed seeds make B's mean as bad as any can be, no B can be better than A.
        """
        if self.limits is not None:
            low, high = self.limits
            a, b = (np.nan_to_num(x, neginf=low, posinf=high) for x in (one, other))
            apart = a - b if self.maximize else b - a
            evidence = mean_evidence_above(apart, 0.0, limits=paired_limits(self.limits))
            return bool(evidence.max() >= -math.log(self.level))
        share, failed = self.statistic.trim, int(np.isinf(other).sum())
        if (
            share is not None
            and failed
            and np.isfinite(self.statistic.estimate(one))
            and bdtrc(failed - 1, other.size, share) <= self.level
        ):
            return True
        first, second = (one, other) if self.maximize else (other, one)
        return is_larger(first, second, self.statistic, alpha=self.level)


def _may_tell(seeds: NDArray[np.int64] | int, level: float) -> NDArray[np.bool_]:
    """Whether so many seeds can prove anything: all may be better by chance with 1 / 2^n."""
    return np.exp2(-np.asarray(seeds, np.float64)) <= level


def _to_rung(shared: NDArray[np.int64], rungs: Sequence[int]) -> NDArray[np.int64]:
    """How many of the shared seeds count: those up to a rung that was fixed beforehand."""
    if not rungs:
        return shared
    return np.array([0, *rungs])[np.searchsorted(rungs, shared, "right")]


def _by_counts(
    results: ConfigResults, rungs: Sequence[int], level: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The shared seeds that count, and whether the first solves more of them; shapes (C,)."""
    best = results[0].outcome
    counted, beaten = np.zeros(len(results), np.int64), np.zeros(len(results), np.bool_)
    for start in range(0, len(results), CONFIGS_AT_ONCE):
        part = np.arange(start, min(start + CONFIGS_AT_ONCE, len(results)))
        seeds = results.seeds(part)
        at = np.minimum(np.searchsorted(best.seeds, seeds.seed), best.n - 1)
        config, at, status = (
            column[best.seeds[at] == seeds.seed] for column in (seeds.config, at, seeds.status)
        )
        shared = np.bincount(config, minlength=len(part))
        counted[part] = _to_rung(shared, rungs)
        first = np.cumsum(shared) - shared  # of the seeds of each, the lowest ones count
        used = np.arange(config.size) - first[config] < counted[part][config]
        by_best, by_other = best.solved[at], status == Status.SOLVED
        won, lost = (
            np.bincount(config[used & differ], minlength=len(part))
            for differ in (by_best & ~by_other, by_other & ~by_best)
        )
        beaten[part] = mcnemar_greater(won, lost) <= level
    return counted, beaten


def _by_numbers(
    results: ConfigResults, rungs: Sequence[int], objective: Objective, test: _Test
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The shared seeds that count, and whether the first has better numbers; shapes (C,)."""
    counted, beaten = np.zeros(len(results), np.int64), np.zeros(len(results), np.bool_)
    name, best = objective.number or "", results[0].outcome
    own = values_of_seeds(objective, numbers_in(best, name))
    for place in range(1, len(results)):
        outcome = results[place].outcome
        _, mine, theirs = np.intersect1d(
            best.seeds, outcome.seeds, assume_unique=True, return_indices=True
        )
        n = counted[place] = int(_to_rung(np.array(mine.size), rungs))
        if _may_tell(n, test.level):
            numbers = values_of_seeds(objective, numbers_in(outcome, name))
            beaten[place] = test.tells(own[mine[:n]], numbers[theirs[:n]])
    return counted, beaten
