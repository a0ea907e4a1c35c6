"""How often a race stops what it should not: races of configurations with known rates.

All configurations get one more seed each, are looked at, and go on unless they are stopped: the
worst case for an error promise. Beside the race's bounds, what many programs do: 95 % Wilson
intervals that do not overlap, looked at from 10 seeds on.

    python benchmarks/race_errors.py            20,000 races of each kind, half a minute
    python benchmarks/race_errors.py --quick    500
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import wilson
from xortune.racing.race import race_lower, race_upper

ALPHA = 0.05
BATCH = 4000

KINDS = {
    "all 0.5": ([0.5] * 10, False),
    "all 0.02": ([0.02] * 10, False),
    "all 0.98": ([0.98] * 10, False),
    "one 0.52, others 0.5": ([0.5] * 9 + [0.52], False),
    "one 0.6, others 0.5": ([0.5] * 9 + [0.6], False),
    "one 0.98, others 0.96": ([0.96] * 9 + [0.98], False),
    "one 0.98, others 0.88": ([0.88] * 9 + [0.98], False),
    "one 0.04, others 0.02": ([0.02] * 9 + [0.04], False),
    "0.1, 0.2, ..., 0.9, 1": ([(i + 1) / 10 for i in range(10)], False),
    "one 0.52, others 0.5, shared luck": ([0.5] * 9 + [0.52], True),
}


@dataclass(frozen=True)
class Bounds:
    """Tables of both bounds: configuration, seeds, successes -> bound; (C, N + 1, N + 1)."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    first: int


@dataclass(frozen=True)
class Errors:
    """Shares of races.

    Attributes:
        best: in which a configuration was stopped that is at least as good as every other.
        any: in which one was stopped for another that is not better.
        seeds: trained, of those that flat racing to the end takes.
    """

    best: float
    any: float
    seeds: float


def race_bounds(configs: int, seeds: int) -> Bounds:
    """The race's own, for configurations number 1 to C."""
    n, k = np.meshgrid(np.arange(seeds + 1), np.arange(seeds + 1), indexing="ij")
    number = np.arange(1, configs + 1)[:, None, None]
    k = np.minimum(k, n)
    return Bounds(
        race_lower(k, n, number, alpha=ALPHA), race_upper(k, n, number, alpha=ALPHA), first=1
    )


def wilson_bounds(configs: int, seeds: int) -> Bounds:
    """95 % intervals for one n, used at all."""
    n, k = np.meshgrid(np.arange(seeds + 1), np.arange(seeds + 1), indexing="ij")
    low, high = wilson(np.minimum(k, n), n, confidence=1 - ALPHA)
    shape = (configs, seeds + 1, seeds + 1)
    return Bounds(np.broadcast_to(low, shape), np.broadcast_to(high, shape), first=10)


def simulate(rates: list[float], bounds: Bounds, *, races: int, shared: bool = False) -> Errors:
    """Race configurations with these rates against each other, many times.

    Args:
        rates: of the C configurations, in the order in which they entered.
        bounds: tables for C configurations.
        races: how many.
        shared: one random number decides a seed for all configurations, not one for each.
    """
    rng = np.random.default_rng(0)
    parts = [
        _batch(np.array(rates), bounds, min(BATCH, races - done), shared, rng)
        for done in range(0, races, BATCH)
    ]
    best, wrong, seeds = np.sum(parts, axis=0)
    last = bounds.lower.shape[1] - 1
    return Errors(best / races, wrong / races, seeds / (races * len(rates) * last))


def _batch(
    rates: NDArray[np.float64], bounds: Bounds, races: int, shared: bool, rng: np.random.Generator
) -> tuple[int, int, int]:
    configs, last = len(rates), bounds.lower.shape[1] - 1
    which, row = np.arange(configs), np.arange(races)
    k = np.zeros((races, configs), dtype=np.int64)
    running = np.ones((races, configs), dtype=bool)
    proven = np.zeros((races, configs))  # the highest lower bound of each so far
    best_stopped, wrong = np.zeros(races, dtype=bool), np.zeros(races, dtype=bool)
    seeds = 0
    for n in range(1, last + 1):
        seeds += np.count_nonzero(running)
        k += (rng.random((races, 1 if shared else configs)) < rates) & running
        if n < bounds.first:
            continue
        lower = bounds.lower[which, n, k]
        proven = np.where(running, np.maximum(proven, lower), proven)
        leader = proven.argmax(axis=1)
        bar = proven[row, leader]
        others = proven.copy()
        others[row, leader] = -1.0
        second = others.argmax(axis=1)
        rival = np.where(which == leader[:, None], second[:, None], leader[:, None])
        height = np.where(which == leader[:, None], others[row, second][:, None], bar[:, None])
        stopped = running & (bounds.upper[which, n, k] < height)
        best_stopped |= (stopped & (rates == rates.max())).any(axis=1)
        wrong |= (stopped & (rates >= rates[rival])).any(axis=1)
        running &= ~stopped
    return np.count_nonzero(best_stopped), np.count_nonzero(wrong), seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer races, fewer seeds")
    quick = parser.parse_args().quick
    races, seeds = (500, 60) if quick else (20_000, 200)
    started = time.perf_counter()
    rules = {"race": race_bounds(10, seeds), "Wilson": wilson_bounds(10, seeds)}
    print(f"{races:,} races of 10 configurations over {seeds} seeds, looked at after every seed;")
    print(
        f"alpha {ALPHA}. Shares of races in which a best one, or any, was stopped wrongly, and of"
    )
    print("the seeds that were trained.")
    print()
    print("| rates | race: a best one | any | seeds | Wilson: a best one | any | seeds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, (rates, shared) in KINDS.items():
        cells = []
        for bounds in rules.values():
            found = simulate(rates, bounds, races=races, shared=shared)
            cells += [f"{found.best:.4f}", f"{found.any:.4f}", f"{found.seeds:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print()
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
