"""How often intervals of numbers of seeds cover the truth, for few seeds.

    python benchmarks/interval_coverage.py [--repetitions 4000]

Prints the three tables of docs/statistics.md: how often the interval of the probability of being
better covers (`stats.numbers.probability_of_larger`), the same for seeds that both share, and how
often the intervals of means do (`core.numbers.interval_of_all`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from xortune.core.numbers import interval_of_all
from xortune.stats.numbers import probability_of_larger

Floats = NDArray[np.float64]
Quantiles = Callable[[Floats], Floats]
"""The quantile function of a distribution: numbers from uniform ones."""

TRUTH = 4_000_000  # draws of which the true values are taken
SMALLEST, LARGEST = 1e-12, 1 - 1e-12


def normal(shift: float = 0.0, scale: float = 1.0) -> Quantiles:
    """Normal numbers."""
    return lambda u: shift + scale * ndtri(np.clip(u, SMALLEST, LARGEST))


def exponential(scale: float = 1.0) -> Quantiles:
    """Skewed numbers."""
    return lambda u: -scale * np.log1p(-np.clip(u, 0, LARGEST))


def lognormal(shift: float = 0.0) -> Quantiles:
    """Very skewed numbers."""
    return lambda u: shift + np.exp(2 * ndtri(np.clip(u, SMALLEST, LARGEST)))


def rounded(shift: float = 0.0) -> Quantiles:
    """Normal numbers of which many are equal."""
    return lambda u: np.round(ndtri(np.clip(u, SMALLEST, LARGEST)) + shift)


def failing(share: float, shift: float = 0.0) -> Quantiles:
    """Normal numbers, of which a share failed and are worse than any."""
    return lambda u: np.where(u < share, -np.inf, normal(shift)(np.clip(u - share, 0, 1)))


def flags(share: float) -> Quantiles:
    """Ones and zeros."""
    return lambda u: (u < share).astype(np.float64)


def constant(at: float) -> Quantiles:
    """The same number of every seed."""
    return lambda u: np.full(u.shape, at)


SHIFTS = (0.0, 0.5, 1.0, 2.0, 3.0)
FAMILIES: dict[str, list[tuple[Quantiles, Quantiles]]] = {
    "normal": [(normal(shift), normal()) for shift in SHIFTS],
    "normal, A scatters five times as much": [(normal(3 * s, 5.0), normal()) for s in SHIFTS],
    "exponential": [(exponential(scale), exponential()) for scale in (1.0, 2.0, 5.0, 20.0)],
    "lognormal": [(lognormal(shift), lognormal()) for shift in (0.0, 1.0, 2.0, 5.0)],
    "rounded to whole numbers": [(rounded(shift), rounded()) for shift in SHIFTS],
    "one or three in ten failed": [
        (failing(share, shift), normal()) for share in (0.1, 0.3) for shift in SHIFTS
    ],
    "1 or 0": [(flags(a), flags(b)) for a in (0.5, 0.9, 0.99) for b in (0.5, 0.9)],
    "1 or 0, and B always 0.5": [
        (flags(share), constant(0.5)) for share in (0.5, 0.8, 0.9, 0.95, 0.99)
    ],
}


def covered(
    pair: tuple[Quantiles, Quantiles],
    n: int,
    repetitions: int,
    rng: np.random.Generator,
    correlation: float | None = None,
) -> tuple[float, float]:
    """How often the interval of two samples of n covers; and the least width of an interval.

    With a correlation, of normal numbers behind both, the seeds are shared.
    """
    first, second = (one(rng.random(TRUTH)) for one in pair)
    truth = float((first > second).mean() + (first == second).mean() / 2)
    hits, least = 0, 1.0
    for _ in range(repetitions):
        u, v = rng.random((2, n))
        if correlation is not None:
            other = ndtri(v) * np.sqrt(1 - correlation**2) + correlation * ndtri(u)
            v = ndtr(other)
        _, low, high = probability_of_larger(pair[0](u), pair[1](v), shared=correlation is not None)
        # The truth is known to a thousandth only.
        hits += low - 0.001 <= truth <= high + 0.001
        least = min(least, high - low)
    return hits / repetitions, least


def far_off(share: float) -> Callable[[tuple[int, int], np.random.Generator], Floats]:
    """Normal numbers, of which a share lies a hundred standard deviations lower."""
    return lambda size, rng: rng.normal(size=size) - 100.0 * (rng.random(size) < share)


MEANS = {
    "normal": lambda size, rng: rng.normal(size=size),
    "exponential": lambda size, rng: rng.exponential(size=size),
    "one in five far off": far_off(1 / 5),
    "one in twenty far off": far_off(1 / 20),
    "one in a hundred far off": far_off(1 / 100),
}


def middle(draw: Callable[..., Floats], rng: np.random.Generator, statistic: str) -> float:
    """The true mean, or interquartile mean."""
    numbers = np.sort(draw((1, TRUTH), rng)[0])
    cut = TRUTH // 4 if statistic == "iqm" else 0
    return float(numbers[cut : TRUTH - cut].mean())


def means(repetitions: int, rng: np.random.Generator) -> None:
    """Print how often the intervals of means cover."""
    for statistic in ("mean", "iqm"):
        print(f"\n| seeds | {' | '.join(f'{statistic}: {name}' for name in MEANS)} |")
        truths = {name: middle(draw, rng, statistic) for name, draw in MEANS.items()}
        for n in (5, 8, 16, 32):
            cells = []
            for name, draw in MEANS.items():
                hits = 0
                for numbers in draw((repetitions, n), rng):
                    low, high = interval_of_all(numbers, statistic) or (-np.inf, np.inf)
                    hits += low <= truths[name] <= high
                cells.append(f"{100 * hits / repetitions:.0f} %")
            print(f"| {n} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=4000)
    repetitions = parser.parse_args().repetitions
    rng = np.random.default_rng(0)
    sizes = (3, 5, 10, 30)
    print("Probability of being better: the least coverage in each family, the least width")
    for name, pairs in FAMILIES.items():
        cells = []
        for n in sizes:
            found = [covered(pair, n, repetitions, rng) for pair in pairs]
            least, width = min(hit for hit, _ in found), min(width for _, width in found)
            cells.append(f"{100 * least:.1f} % ({width:.2f})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\nThe same for shared seeds, by their correlation")
    shared = [FAMILIES[name][0] for name in (*FAMILIES,)[:5]] + [FAMILIES["normal"][2]]
    for correlation in (-1.0, -0.5, 0.0, 0.5, 0.9):
        cells = []
        for n in sizes:
            found = [covered(pair, n, repetitions, rng, correlation) for pair in shared]
            cells.append(f"{100 * min(hit for hit, _ in found):.1f} %")
        print(f"| {correlation:g} | {' | '.join(cells)} |", flush=True)
    means(repetitions, rng)


if __name__ == "__main__":
    main()
