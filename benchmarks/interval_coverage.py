"""How often intervals of numbers of seeds cover the truth, for few seeds.

    python benchmarks/interval_coverage.py [--repetitions 4000]
    python benchmarks/interval_coverage.py bets [--repetitions 1000]
    python benchmarks/interval_coverage.py verdicts [--repetitions 1500]

Prints the three tables of docs/statistics.md: how often the interval of the probability of being
better covers (`stats.numbers.probability_of_larger`), the same for seeds that both share, and how
often the intervals of means do (`core.numbers.interval_of_all`).

`bets`: how often bounds of bounded means (`stats.betting`) are wrong at any of 1,000 looks, how
wide they are beside the paper's hedged capital, and what a gate on a mean takes beside the least.

`verdicts`: how often a comparison by a number calls one better though both are alike
(`stats.numbers.difference`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import ttest_ind

from xortune.core.numbers import interval_of_all
from xortune.stats.betting import mean_bounds, mean_evidence_above, mean_evidence_below
from xortune.stats.numbers import difference, probability_of_larger

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


LOOKS, ALPHA = 1_000, 0.05

BOUNDED: dict[str, tuple[float, Callable[[np.random.Generator], Floats]]] = {
    "1 or 0, 0.9": (0.9, lambda rng: (rng.random(LOOKS) < 0.9).astype(float)),
    "Beta(0.5, 0.5)": (0.5, lambda rng: rng.beta(0.5, 0.5, LOOKS)),
    "one in twenty far off": (
        0.76,
        lambda rng: np.where(rng.random(LOOKS) < 0.05, 0.0, rng.uniform(0.7, 0.9, LOOKS)),
    ),
    "1 or 0, 0.999": (0.999, lambda rng: (rng.random(LOOKS) < 0.999).astype(float)),
    "difference of 0.9 and 0.8, from -1 to 1": (
        0.55,
        lambda rng: (1 + (rng.random(LOOKS) < 0.9) - 1.0 * (rng.random(LOOKS) < 0.8)) / 2,
    ),
}
"""Numbers from 0 to 1: their true mean, and how they are drawn."""


def hedged(numbers: Floats) -> float:
    """The width of the hedged capital's interval after all numbers, on a grid of a thousand means.

    Waudby-Smith and Ramdas (2024), theorem 3: predictable plug-in bets, truncated at half of what
    may be lost, and half of the stake on each side; the intersection over all looks.
    """
    t = np.arange(1, numbers.size + 1)
    mean = (0.5 + np.cumsum(numbers)) / (t + 1)
    spread = (0.25 + np.cumsum((numbers - mean) ** 2)) / (t + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    bet = np.sqrt(2 * np.log(2 / ALPHA) / (before * t * np.log(t + 1)))[:, None]
    grid, away = np.linspace(0, 1, 1001)[1:-1], numbers[:, None]
    up = np.cumsum(np.log1p(np.minimum(bet, 0.5 / grid) * (away - grid)), axis=0)
    down = np.cumsum(np.log1p(-np.minimum(bet, 0.5 / (1 - grid)) * (away - grid)), axis=0)
    kept = grid[(np.maximum(up, down).max(axis=0) + np.log(0.5)) < np.log(1 / ALPHA)]
    return float(kept[-1] - kept[0])


def bets(repetitions: int, rng: np.random.Generator) -> None:
    """Print how often bounds of means are ever wrong, their widths, and what a gate takes."""
    print("| numbers | ever wrong, of 1,000 looks | width beside hedged capital |")
    for name, (mean, draw) in BOUNDED.items():
        wrong, target = 0, np.log(2 / ALPHA)
        for _ in range(repetitions):
            numbers = draw(rng)
            sides = mean_evidence_above, mean_evidence_below
            wrong += any(side(numbers, mean).max() >= target for side in sides)
        ratios = []
        for _ in range(max(repetitions // 100, 5)):
            numbers = draw(rng)
            low, high = mean_bounds(numbers, alpha=ALPHA / 2)
            ratios.append((high - low) / hedged(numbers))
        print(f"| {name} | {100 * wrong / repetitions:.1f} % | {np.mean(ratios):.2f} |", flush=True)
    print("\n| mean of 0.9 against 0.8 | seeds | lower bound | ratio |")
    drawn: dict[str, Callable[[], Floats]] = {
        "1 or 0": lambda: (rng.random(LOOKS) < 0.9).astype(float),
        "Beta(0.9, 0.1)": lambda: rng.beta(0.9, 0.1, LOOKS),
        "Beta(9, 1)": lambda: rng.beta(9, 1, LOOKS),
        "Beta(18, 2)": lambda: rng.beta(18, 2, LOOKS),
    }
    shares = np.linspace(0, 1, 1001)[:-1]
    for name, one in drawn.items():
        many = np.concatenate([one() for _ in range(50)])
        growth = [float(np.log1p(share * (many / 0.8 - 1)).mean()) for share in shares[::20]]
        least = np.log(1 / ALPHA) / max(growth)
        seeds = [
            int(np.argmax(mean_evidence_above(one(), 0.8) >= np.log(1 / ALPHA))) + 1
            for _ in range(repetitions)
        ]
        mean_seeds = float(np.mean(seeds))
        print(f"| {name} | {mean_seeds:.1f} | {least:.1f} | {mean_seeds / least:.2f} |", flush=True)


Draw = Callable[[tuple[int, int], np.random.Generator], Floats]
"""Numbers of a size, (samples, seeds)."""


def _normal(size: tuple[int, int], rng: np.random.Generator) -> Floats:
    return rng.normal(size=size)


ALIKE: dict[str, tuple[Draw, Draw]] = {
    "normal": (_normal, _normal),
    "lognormal": (lambda size, rng: rng.lognormal(size=size),) * 2,
    "rounded": (lambda size, rng: rng.normal(size=size).round(),) * 2,
    "one scatters five times as much": (_normal, lambda size, rng: 5 * rng.normal(size=size)),
}
"""Two whose statistics are equal."""

ONE_MEAN: dict[str, tuple[Draw, Draw]] = {
    "normal, exponential": (
        lambda size, rng: rng.normal(1.0, size=size),
        lambda size, rng: rng.exponential(size=size),
    ),
    "normal, lognormal": (
        lambda size, rng: rng.normal(np.exp(0.5), size=size),
        lambda size, rng: rng.lognormal(size=size),
    ),
}
"""Two of one mean whose other statistics differ."""


def false_verdicts(
    draws: tuple[Draw, Draw], n: int, statistic: str, repetitions: int, rng: np.random.Generator
) -> tuple[float, float]:
    """How often one of two is wrongly called better: on seeds of their own, and on shared ones."""
    first, second = (draw((repetitions, n), rng) for draw in draws)
    # The p of `difference` is never below that of Welch's or Yuen's test, which takes no time.
    likely = np.arange(repetitions)
    if statistic in ("mean", "iqm"):
        trim = 0.25 if statistic == "iqm" else 0.0
        with np.errstate(all="ignore"):
            found = ttest_ind(first, second, axis=1, equal_var=False, trim=trim)
        likely = np.flatnonzero(~(found.pvalue >= ALPHA))

    def wrong(among: Sequence[int], *, shared: bool) -> float:
        pairs = ((first[row], second[row]) for row in among)
        found = (difference(*pair, statistic, shared=shared, alpha=ALPHA).p for pair in pairs)
        return sum(p < ALPHA for p in found) / repetitions

    return wrong(likely.tolist(), shared=False), wrong(range(repetitions), shared=True)


def verdicts(repetitions: int, rng: np.random.Generator) -> None:
    """Print how often one of two that are alike is called better."""
    heads = [f"{name}{kind}" for name in ALIKE for kind in ("", ", shared")]
    print(f"| by, seeds | {' | '.join(heads)} |")
    for statistic in ("mean", "iqm", "median", "q10"):
        for n in (3, 5, 10, 50):
            cells = []
            for draws in ALIKE.values():
                if statistic == "q10" and draws[0] is not draws[1]:
                    cells += ["–", "–"]  # their quantiles differ
                    continue
                cells += [
                    f"{100 * share:.1f} %"
                    for share in false_verdicts(draws, n, statistic, repetitions, rng)
                ]
            print(f"| {statistic}, {n} | {' | '.join(cells)} |", flush=True)
    print(f"\n| mean, seeds | {' | '.join(f'{name} | shared' for name in ONE_MEAN)} |")
    for n in (5, 10, 50):
        cells = [
            f"{100 * share:.1f} %"
            for draws in ONE_MEAN.values()
            for share in false_verdicts(draws, n, "mean", repetitions, rng)
        ]
        print(f"| mean, {n} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["bets", "verdicts"])
    parser.add_argument("--repetitions", type=int, default=4000)
    asked = parser.parse_args()
    repetitions, rng = asked.repetitions, np.random.default_rng(0)
    if asked.what is not None:
        {"bets": bets, "verdicts": verdicts}[asked.what](repetitions, rng)
        return
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
