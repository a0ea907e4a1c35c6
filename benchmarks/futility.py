"""What `futility` saves and costs in Optuna and Ray Tune programs: studies with known rates.

Each trial has up to 100 seeds and is looked at after every seed, as `SeedRacePruner` does it: it is
pruned when it is proven worse than another, or is expected to gain less than `futility` over the
best other trial. The answer is Optuna's: the finished trial with the most successes, of equal ones
the oldest. One trial runs at a time, or four.

    python benchmarks/futility.py            200 studies of each kind and size, two minutes
    python benchmarks/futility.py --quick    20
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import machine
import numpy as np
from numba import njit
from numpy.typing import NDArray
from quality.spaces import SPACES
from scipy.special import betainc, betaincc

from xortune.racing.race import race_lower, race_upper

SEEDS = 100
SIZES = (10, 30, 60)
SHOWN = 30
LEAST = (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Thresholds; 0 is `futility=None`."""

Floats = NDArray[np.float64]
Rates = Callable[[np.random.Generator, int], Floats]


def _needle(rng: np.random.Generator, count: int) -> Floats:
    rates = rng.beta(8, 32, count)
    rates[rng.integers(count)] = 0.95
    return rates


def _rising(rng: np.random.Generator, count: int) -> Floats:
    return np.linspace(0.2, 0.9, count) + rng.uniform(-0.2, 0.1, count)


def _drawn(pool: Floats, rng: np.random.Generator, count: int) -> Floats:
    return rng.choice(pool, count)


def _pool(name: str, *, configs: int = 200, seeds: int = 1000) -> Floats:
    """The rates of random configurations of a space of `search_quality.py`."""
    bench, rng = SPACES[name], np.random.default_rng(0)
    points = [bench.draw(rng) for _ in range(configs)]
    return np.array([bench.train(point, range(seeds)).successes / seeds for point in points])


def kinds() -> dict[str, Rates]:
    """Where rates come from."""
    return {
        "Beta(1, 1): wide": lambda rng, count: rng.beta(1, 1, count),
        "Beta(40, 10): narrow": lambda rng, count: rng.beta(40, 10, count),
        "Beta(20, 1): high": lambda rng, count: rng.beta(20, 1, count),
        "Beta(0.3, 3): rare": lambda rng, count: rng.beta(0.3, 3, count),
        "Beta(0.3, 0.3): all or nothing": lambda rng, count: rng.beta(0.3, 0.3, count),
        "one of 0.95, others Beta(8, 32)": _needle,
        "from 0.2 rising to 0.9": _rising,
        **{f"`{name}`": partial(_drawn, _pool(name)) for name in ("narrow", "rare", "wide")},
    }


@njit  # type: ignore[untyped-decorator]
def study(
    rates: Floats, luck: Floats, least: float, at_once: int, tables: tuple[Floats, Floats, Floats]
) -> tuple[int, int, bool]:
    """One study: seeds trained, the answer, whether a best configuration was pruned.

    Args:
        rates: of the T trials.
        luck: uniform numbers, shape (T, SEEDS): who succeeds.
        least: the threshold.
        at_once: trials that run side by side, a seed each in turn.
        tables: `expected_gain` of two counts, each as n (n + 1) / 2 + k; the race's lower and upper
            bounds, by trial and count.
    """
    gain, low, high = tables
    trials = len(rates)
    k, n = np.zeros(trials, np.int64), np.zeros(trials, np.int64)
    proven, pruned = np.zeros(trials), np.zeros(trials, np.bool_)
    running, begun = np.zeros(trials, np.bool_), 0
    while True:
        while begun < trials and running.sum() < at_once:
            running[begun] = True
            begun += 1
        if not running.any():
            break
        for t in np.flatnonzero(running):
            k[t] += luck[t, n[t]] < rates[t]
            n[t] += 1
            count = n[t] * (n[t] + 1) // 2 + k[t]
            proven[t] = max(proven[t], low[t, count])
            bar, best, mean = 0.0, -1, 0.0
            for other in range(begun):
                if other == t or n[other] == 0:
                    continue
                bar = max(bar, proven[other])
                expected = (k[other] + 1) / (n[other] + 2)
                if best < 0 or (expected, n[other]) > (mean, n[best]):
                    best, mean = other, expected
            stop = high[t, count] < bar
            if best >= 0 and (k[t] + 1) / (n[t] + 2) < mean:
                there = n[best] * (n[best] + 1) // 2 + k[best]
                stop = stop or gain[count, there] < least
            pruned[t] = stop and n[t] < luck.shape[1]
            running[t] = not stop and n[t] < luck.shape[1]
    answer = np.where(pruned | (n < luck.shape[1]), -1, k).argmax()
    return n.sum(), answer, pruned[rates == rates.max()].any()


def tables(trials: int) -> tuple[Floats, Floats, Floats]:
    """What `study` looks up."""
    n, k = np.tril_indices(SEEDS + 1)
    nodes, weights = np.polynomial.legendre.leggauss(128)
    nodes, weights = (nodes + 1) / 2, weights / 2
    a, b = (k + 1)[:, None], (n - k + 1)[:, None]
    gain = (betaincc(a, b, nodes) * weights) @ betainc(a, b, nodes).T
    number = np.arange(1, trials + 1)[:, None]
    return gain, race_lower(k, n, number), race_upper(k, n, number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer studies")
    repetitions = 20 if parser.parse_args().quick else 200
    started, known = time.perf_counter(), tables(max(SIZES))
    print(f"{machine.description()}. {repetitions} studies of each kind and size.\n")
    for at_once in (1, 4):
        print(f"{at_once} at a time: seeds a trial / points lost / best pruned, %\n")
        print(f"| rates, {SHOWN} trials |", " | ".join(f"{least:g}" for least in LEAST), "|")
        print("| :-- |", " | ".join("--:" for _ in LEAST), "|")
        found = []
        for (name, rates), size in product(kinds().items(), SIZES):
            studies = [
                [
                    outcome(rates, size, number, known, least=least, at_once=at_once)
                    for least in LEAST
                ]
                for number in range(repetitions)
            ]
            seeds, rate, lost = np.moveaxis(np.mean(studies, axis=0), -1, 0)
            points = 100 * (rate[0] - rate)
            found.append((seeds / seeds[0], points))
            if size == SHOWN:
                cells = zip(seeds, points, 100 * lost, strict=True)
                print(
                    f"| {name} |",
                    " | ".join("{:.0f} / {:.1f} / {:.0f}".format(*c) for c in cells),
                    "|",
                )
        shares, points = np.moveaxis(found, 1, 0)
        for what, row in (
            ("share of seeds", shares.mean(axis=0)),
            ("points lost, mean", points.mean(axis=0)),
            ("points lost, worst", points.max(axis=0)),
        ):
            print(f"| all kinds and sizes: {what} |", " | ".join(f"{x:.2f}" for x in row), "|")
        print(flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


def outcome(
    rates: Rates,
    size: int,
    number: int,
    known: tuple[Floats, Floats, Floats],
    *,
    least: float,
    at_once: int,
) -> tuple[float, float, bool]:
    """Of one study: seeds for each trial, rate of the answer, whether a best one was pruned."""
    rng = np.random.default_rng(number)
    true = rates(rng, size)
    seeds, answer, lost = study(true, rng.random((size, SEEDS)), least, at_once, known)
    return seeds / size, true[answer], lost


if __name__ == "__main__":
    main()
