"""What a search for a quantile should tell Optuna where failed seeds decide it.

A made-up training of three parameters whose seeds fail in most of the space, and whose number is
its third parameter and some noise. Looked for is the worst decile: infinitely bad wherever more
than a tenth of the seeds failed, which is nearly everywhere.

    python benchmarks/failed_seeds.py [--repetitions 12] [--trials 80]

Prints for each way of telling how many of the searches found a configuration whose worst decile is
a number, after how many proposals in the mean (all of them where none was found), and the best one.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np

from xortune.core.point import Point
from xortune.deciding.optuna_study import OptunaStudy
from xortune.deciding.propose import SampledProposer, proposer_for
from xortune.racing.objectives import SeedSummary, sampler_values, statistic_value
from xortune.spaces.model import Objective, SearchSpace
from xortune.spaces.space import parse_space

SEEDS = 20

SPACE = """
name: failing
trainer: ./none.py:run
success: "acc >= 0.5"
parameters: {{a: {{low: 0.0, high: 1.0}}, b: {{low: 0.0, high: 1.0}}, c: {{low: 0.0, high: 1.0}}}}
search: {{sampler: {sampler}, trials: {trials}, seed: {seed}}}
seeds: {{ladder: [20]}}
objectives: [{objective}]
"""
PLAIN, ZERO = "acc_q10", "{name: acc_q10, failed: 0.0}"


def numbers(point: Point) -> list[float]:
    """Of each seed; NaN where it failed."""
    found = []
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        a, b, c = (float(point[name]) for name in "abc")
        fails = random.random() < 3 * abs(a - 0.8) + 2 * abs(b - 0.2) + abs(c - 0.6)
        found.append(math.nan if fails else c + 0.05 * random.normal())
    return found


def that_it_failed(
    objectives: tuple[Objective, ...], _: Point, seen: SeedSummary
) -> tuple[float, ...]:
    """One value for all that failed."""
    value = statistic_value(objectives[0], seen.numbers[0])
    return (value if math.isfinite(value) else -1e300,)


def searched(space: SearchSpace, tell: Callable[..., tuple[float, ...]]) -> list[float]:
    """The worst decile of each proposal, infinite where failed seeds decide."""
    learns = space.search.sampler != "random"
    proposer = (
        SampledProposer(space, OptunaStudy(space, values_of=tell))
        if learns
        else proposer_for(space)
    )
    [goal] = parse_space(SPACE.format(sampler="tpe", trials=1, seed=0, objective=PLAIN)).objectives
    found = []
    for number in range(space.search.trials or 0):
        point = proposer.propose(number)
        assert point is not None
        given = numbers(point)
        proposer.learn(number, point, SeedSummary(0, SEEDS, numbers=(given,)))
        found.append(statistic_value(goal, given))
    return found


def the_number(objectives: tuple[Objective, ...], _: Point, seen: SeedSummary) -> tuple[float, ...]:
    """Nothing else, where `failed` makes it one."""
    return (statistic_value(objectives[0], seen.numbers[0]),)


WAYS = (
    ("tpe, told how many failed", "tpe", PLAIN, sampler_values),
    ("tpe, told that it failed", "tpe", PLAIN, that_it_failed),
    ("tpe, `failed: 0.0`, and fewer failed are better", "tpe", ZERO, sampler_values),
    ("tpe, `failed: 0.0`", "tpe", ZERO, the_number),
    ("random", "random", PLAIN, sampler_values),
)


def main() -> None:
    """Search, and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=12)
    parser.add_argument("--trials", type=int, default=80)
    given = parser.parse_args()
    print("| told | found one | after proposals | best |\n| :-- | --: | --: | --: |")
    for name, sampler, objective, tell in WAYS:
        rows = []
        for seed in range(given.repetitions):
            text = SPACE.format(
                sampler=sampler, trials=given.trials, seed=seed, objective=objective
            )
            found = searched(parse_space(text), tell)
            finite = [at for at, value in enumerate(found) if math.isfinite(value)]
            rows.append((finite[0] if finite else given.trials, max(found)))
        some = [best for _, best in rows if math.isfinite(best)]
        after = np.mean([first for first, _ in rows])
        best = f"{np.mean(some):.2f}" if some else "–"
        print(f"| {name} | {len(some)} of {len(rows)} | {after:.0f} | {best} |", flush=True)


if __name__ == "__main__":
    main()
