"""The race where a rate is required: the best of a cost among configurations that reach the rate.

It is feasible-arm identification (Katz-Samuels and Scott 2019, Top feasible arm identification,
AISTATS): an arm is feasible if its rate is at least the required one, and the answer is the
feasible arm of the lowest cost. As in their algorithm an arm gets seeds only while it may be both,
feasible and the cheapest; here the cost is a parameter, which is known, or measured beside.

**What is proven.** Both bounds of a configuration's rate are those of `racing.race`, with the same
shares of alpha. So with probability at least 1 - alpha every configuration that the race calls
feasible reaches the rate, and none that reaches it is called infeasible: over all configurations
and all looks together. A cost that is measured is the one measured so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincc

from xortune.core.errors import InputError
from xortune.core.outcome import SeedCount
from xortune.racing.posterior import PRIOR_SHAPE
from xortune.racing.race import (
    Race,
    RaceAsked,
    RaceKind,
    RaceRule,
    SeenFacts,
    race_lower,
    race_share,
    race_upper,
)
from xortune.spaces.model import Requirement
from xortune.stats.anytime import anytime_evidence_above, anytime_evidence_below
from xortune.stats.planning import fewest_seeds

PROVEN, OPEN, REFUTED = 0, 1, 2
"""What is proven of a required rate: it is reached; nothing; it is not reached."""


def rate_state(
    successes: ArrayLike, n: ArrayLike, number: ArrayLike, requirement: Requirement
) -> NDArray[np.int64]:
    """`PROVEN`, `OPEN` or `REFUTED` of each configuration, by the bounds of `racing.race`.

    Args:
        successes: of all seeds of a configuration.
        n: its seeds.
        number: of the configuration, from 1, in the order in which they were first proposed.
        requirement: the rate, and the risk that any of all these verdicts is wrong.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    level = -np.log(requirement.alpha * race_share(number) / 2)
    share = k / np.maximum(n, 1)
    reaches = (share > requirement.rate) & (anytime_evidence_above(k, n, requirement.rate) > level)
    fails = (share < requirement.rate) & (anytime_evidence_below(k, n, requirement.rate) > level)
    return np.where(reaches, PROVEN, np.where(fails, REFUTED, OPEN))


def rate_bounds(
    successes: ArrayLike, n: ArrayLike, number: ArrayLike, requirement: Requirement
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds behind `rate_state`, lower and upper ones; with its arguments."""
    alpha = requirement.alpha
    return (
        race_lower(successes, n, number, alpha=alpha),
        race_upper(successes, n, number, alpha=alpha),
    )


def seeds_to_tell(successes: int, n: int, number: int, requirement: Requirement) -> int | None:
    """About how many more seeds prove a configuration's rate to be above or below the required one.

    If they succeed at the rate so far, k / n. None if more than 2**30 seeds would not.
    """

    def enough(seeds: int) -> bool:
        k = round(successes / n * seeds)
        return int(rate_state(k, seeds, number, requirement)) != OPEN

    try:
        return fewest_seeds(enough, n, requirement.rate) - n
    except InputError:
        return None


def chance_to_reach(successes: ArrayLike, n: ArrayLike, rate: float) -> NDArray[np.float64]:
    """P(a configuration's rate is at least this), by the prior of `racing.top_two`."""
    a, b = PRIOR_SHAPE
    k = np.asarray(successes, np.float64)
    return np.asarray(betaincc(k + a, np.asarray(n) - k + b, rate), np.float64)


def speaks_for(successes: int, n: int, rate: float) -> bool:
    """Whether seeds speak for the rate: it is at least as likely as before the first seed."""
    return bool(_is_hopeful(chance_to_reach(successes, n, rate), rate))


def _is_hopeful(chance: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    return np.asarray(chance >= chance_to_reach(0, 0, rate))


def next_feasible(rows: NDArray[Any], rate: float, top: int) -> list[int]:
    """The configurations that may be the answer, the one that gets seeds next first.

    A configuration may be the answer while it may reach the rate, and cost less than each that is
    proven to reach it. Where none is, any cost will do, also one that failed seeds make infinite.
    Those whose seeds speak for the rate, since it is at least as likely as before the first seed,
    come first, from the lowest cost on: one of them is the answer, if any is, and the others need
    no seeds once it is proven. Then the rest, the likeliest first: what costs less than the answer
    has to be refuted.

    The order follows Katz-Samuels and Scott (2019): first the arm of the best value among those
    that seem feasible, then the arm that threatens it most.

    Args:
        rows: of a `feasible_race`.
        rate: the required one.
        top: all seeds of a configuration.
    """
    seen, least, chance = rows["n"] > 0, rows["least"], rows["chance"]
    proven = rows["cost"][seen & (rows["state"] == PROVEN)]
    may = seen & (rows["state"] == OPEN) & (rows["n"] < top)
    if proven.size:
        may &= least < proven.min()
    at = np.flatnonzero(may)
    hopeful = _is_hopeful(chance[at], rate)
    cost = np.where(hopeful, rows["cost"][at], math.inf)
    found: list[int] = at[np.lexsort((at, -chance[at], cost, ~hopeful))].tolist()
    return found


def feasible_race(rule: RaceRule, requirement: Requirement) -> Race:
    """A race with a required rate, for the objective's cost.

    A decision compares all configurations. A configuration is stopped once it is proven not to
    reach the rate. While one whose seeds speak for the rate is in training, none that costs more
    gets seeds: they would be in vain if it is the answer.
    """
    rate = requirement.rate

    def look(race: Race, number: int, seen: SeedCount, facts: SeenFacts) -> None:
        row = race.rows[number - 1]
        # The bounds of all looks hold together, so what was proven once stays proven.
        if not row["n"] or row["state"] == OPEN:
            row["state"] = int(rate_state(seen.k, seen.n, number, requirement))
        row["chance"] = float(chance_to_reach(seen.k, seen.n, rate))
        [row["cost"]], row["least"] = facts.costs, facts.least

    def order(race: Race, asked: RaceAsked) -> Iterator[int]:
        for row in next_feasible(race.rows, rate, rule.rungs[-1]) if asked.left > 0 else ():
            if race.name_of(row + 1) not in asked.busy:
                yield row + 1
            elif _is_hopeful(race.rows["chance"][row], rate):
                return

    def stops(race: Race, number: int) -> bool:
        return bool(race.rows["state"][number - 1] == REFUTED)

    columns = (("state", "i8"), ("chance", "f8"), ("cost", "f8"), ("least", "f8"))
    return Race(rule, RaceKind(order, stops, look, columns))
