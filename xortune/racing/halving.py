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
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import SeedCount
from xortune.racing.race import Race, RaceAsked, RaceKind, RaceRule, SeenFacts, race_share
from xortune.stats.anytime import anytime_quantile
from xortune.stats.betting import mean_bounds
from xortune.stats.proportions import clopper_pearson_lower

LAST = sys.float_info.max
"""The cost of a configuration that failed seeds make infinite: behind all others."""


def _asha(race: Race, asked: RaceAsked) -> Iterator[int]:
    """Numbers of the configurations that may be promoted, the next one first.

    Li et al. (2020), algorithm 2, `get_job`: from the highest rung down, those in the best 1/eta
    of all that have reached the rung, where eta is the ratio of the seeds of the next rung to its
    own. Once no new configurations come (`last`), the share is rounded up, so that one
    reaches the top.
    """
    n = race.rows["n"]
    for place, (seeds, above) in reversed(list(enumerate(pairwise(race.rule.rungs)))):
        came = np.flatnonzero(n >= seeds)
        cost, hope = race.rows["ranks"][came, place].T
        share = len(came) / (above / seeds)
        best = came[np.lexsort((came, hope, cost))][
            : math.ceil(share) if asked.last else int(share)
        ]
        may = (n[best] < above) & (race.rows["ranks"][best, place, 1] < math.inf)
        yield from (
            row + 1 for row in best[may].tolist() if race.name_of(row + 1) not in asked.busy
        )


def _stops(race: Race, number: int) -> bool:
    """Whether its quantile, or mean within limits, is proven worse than another's."""
    others = race.rows["bounded"].copy()
    others[number - 1] = False
    bar, row = race.rows["most"][others].min(initial=math.inf), race.rows[number - 1]
    return bool(row["bounded"] and row["least"] > bar)


def number_race(
    rule: RaceRule,
    *,
    share: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Race:
    """A race for an objective on numbers.

    A configuration is promoted for its numbers, whether a seed succeeded or not.

    Args:
        rule: of the race.
        share: of the quantile of the costs, if the objective is a quantile.
        limits: of the costs, if the objective is a mean of numbers with known limits.
    """

    def interval(number: int, costs: NDArray[np.float64]) -> tuple[float, float]:
        alpha = rule.alpha * float(race_share(number)) / 2
        if share is not None:
            low, high = map(float, anytime_quantile(costs, share, alpha=alpha))
            return low, high
        assert limits is not None
        # They are sorted, so only their end counts; the bounds of all looks are kept.
        known = np.nan_to_num(costs, neginf=limits[0], posinf=limits[1])
        return mean_bounds(known, alpha=alpha, limits=limits, ordered=False)

    def ranked(cost: float, costs: NDArray[np.float64] | None) -> tuple[float, float]:
        """The cost; where failed seeds make it infinite, the median, or inf without any hope.

        Of few seeds a failed one decides a quantile by luck.
        """
        if math.isfinite(cost):
            return cost, 0.0
        if share is None or costs is None:
            return LAST, math.inf
        failed = int((costs == math.inf).sum())
        has_hope = clopper_pearson_lower(failed, len(costs)) < 1 - share
        return LAST, float(np.median(costs)) if has_hope else math.inf

    def look(race: Race, number: int, seen: SeedCount, facts: SeenFacts) -> None:
        row, [cost] = race.rows[number - 1], facts.costs
        if (share, limits) != (None, None) and facts.seed_costs is not None:
            # The bounds of all looks hold together, so the best ones count.
            low, high = interval(number, facts.seed_costs)
            if row["bounded"]:
                low, high = max(low, float(row["least"])), min(high, float(row["most"]))
            row["bounded"], row["least"], row["most"] = True, low, high
        for place, seeds in enumerate(rule.rungs):
            if row["n"] < seeds <= seen.n:  # it comes to this rung
                row["ranks"][place] = ranked(cost, facts.seed_costs)

    bounds = (("bounded", "?"), ("least", "f8"), ("most", "f8"))
    columns = (*bounds, ("ranks", "f8", (len(rule.rungs), 2)))
    return Race(rule, RaceKind(_asha, _stops, look, columns, needs_success=False))
