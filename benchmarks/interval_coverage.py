"""How often intervals of numbers of seeds cover the truth, for few seeds.

    python benchmarks/interval_coverage.py [--repetitions 4000]
    python benchmarks/interval_coverage.py means [--repetitions 4000]
    python benchmarks/interval_coverage.py resampled [--repetitions 1000]
    python benchmarks/interval_coverage.py bets [--repetitions 1000]
    python benchmarks/interval_coverage.py verdicts [--repetitions 1500]

Prints the three tables of docs/statistics.md: how often the interval of the probability of being
better covers (`stats.numbers.probability_of_larger`), the same for seeds that both share, and how
often the intervals of means do (`core.numbers.Statistic`): of the distributions by which they
were chosen, and of others.

`means`: the last of these alone.

`resampled`: how often other intervals of an interquartile mean cover, and how wide they are.

`bets`: how often bounds of bounded means (`stats.betting`) are wrong at any of 1,000 looks, how
wide they are beside the paper's hedged capital, and what a gate on a mean takes beside the least.

`verdicts`: how often a comparison by a number calls one better though both are alike
(`stats.numbers.difference`). `gaps`: the same where one hardly scatters, and the other is skewed or
has a gap.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import bootstrap, mstats, trim_mean, ttest_ind

from xortune.core.numbers import IQM, statistic_named
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


Draw = Callable[[tuple[int, int], np.random.Generator], Floats]
"""Numbers of a size, (samples, seeds)."""


def far_off(share: float) -> Draw:
    """Normal numbers, of which a share lies a hundred standard deviations lower."""
    return lambda size, rng: rng.normal(size=size) - 100.0 * (rng.random(size) < share)


def near(share: float) -> Draw:
    """A share of numbers near 1, and the others near 0."""
    return lambda size, rng: (rng.random(size) < share) + 0.03 * rng.normal(size=size)


def one_of(values: Sequence[float], chances: Sequence[float]) -> Draw:
    """Few values."""
    return lambda size, rng: rng.choice(values, size, p=chances)


CHOSEN: dict[str, Draw] = {
    "normal": lambda size, rng: rng.normal(size=size),
    "exponential": lambda size, rng: rng.exponential(size=size),
    "1 - exponential": lambda size, rng: 1 - rng.exponential(size=size),
    "Student's t of 3": lambda size, rng: rng.standard_t(3, size=size),
    "70 % near 1, 30 % near 0": near(0.7),
    "50 % near 1, 50 % near 0": near(0.5),
    "90 % near 1, 10 % near 0": near(0.9),
    "0, 1, 2 or 5": one_of([0, 1, 2, 5], [0.4, 0.3, 0.2, 0.1]),
    "normal, a third at the maximum": lambda size, rng: np.minimum(rng.normal(size=size), 0.4),
}
"""By which the interval of interquartile means was chosen."""

KEPT_BACK: dict[str, Draw] = {
    "lognormal": lambda size, rng: rng.lognormal(size=size),
    "1 - lognormal": lambda size, rng: 1 - rng.lognormal(size=size),
    "Cauchy": lambda size, rng: rng.standard_cauchy(size=size),
    "Beta(0.5, 0.5)": lambda size, rng: rng.beta(0.5, 0.5, size=size),
    "80 % near 1, 20 % near 0": near(0.8),
    "74 % near 1, 26 % near 0": near(0.74),
    "60 % near 1, 40 % near 0": near(0.6),
    "Beta(4, 1) in tenths": lambda size, rng: np.round(10 * rng.beta(4, 1, size=size)) / 10,
    "normal, 57 % at the maximum": lambda size, rng: np.minimum(rng.normal(size=size), -0.17),
    "1, and -9 for one in ten": lambda size, rng: 1 - 10.0 * (rng.random(size) < 0.1),
    "one in five far off": far_off(1 / 5),
    "one in twenty far off": far_off(1 / 20),
    "one in a hundred far off": far_off(1 / 100),
}
"""With which it had nothing to do."""

NEAR = 1e-3
"""The truth is known to so much."""


def middle(draw: Draw, rng: np.random.Generator, statistic: str) -> float:
    """The true mean, or interquartile mean."""
    numbers = np.sort(draw((1, TRUTH), rng)[0])
    cut = TRUTH // 4 if statistic == "iqm" else 0
    return float(numbers[cut : TRUTH - cut].mean())


def share_within(ends: Floats, truth: float) -> str:
    """How many of the intervals, shape (R, 2), cover."""
    hits = (ends[:, 0] - NEAR <= truth) & (truth <= ends[:, 1] + NEAR)
    return f"{100 * hits.mean():.0f} %"


def means(repetitions: int, rng: np.random.Generator) -> None:
    """Print how often the intervals of means cover, and how often any within the numbers could."""
    columns = [f"{one} {n}" for one in ("iqm", "mean") for n in (5, 10, 30)]
    print(f"\n| numbers | {' | '.join(columns)} | the truth is among 5 |")
    for name, draw in (CHOSEN | KEPT_BACK).items():
        cells, most = [], ""
        for statistic in ("iqm", "mean"):
            if name == "Cauchy" and statistic == "mean":
                cells += ["–"] * 3  # has none
                continue
            truth = middle(draw, rng, statistic)
            for n in (5, 10, 30):
                samples = draw((repetitions, n), rng)
                interval = statistic_named(statistic).interval
                ends = [interval(one) or (-np.inf, np.inf) for one in samples]
                cells.append(share_within(np.array(ends), truth))
                if n == 5:
                    extremes = np.stack([samples.min(axis=1), samples.max(axis=1)], axis=1)
                    most += f" {statistic} {share_within(extremes, truth)}"
        print(f"| {name} | {' | '.join(cells)} |{most} |", flush=True)


def resampled(repetitions: int, rng: np.random.Generator) -> None:
    """Print how often intervals of the interquartile mean cover, and their mean width."""

    def iqm(numbers: Floats, axis: int) -> Floats:
        return np.asarray(trim_mean(numbers, 0.25, axis=axis))

    def bootstrapped(samples: Floats, method: str) -> Floats:
        found = bootstrap(
            (samples,), iqm, axis=1, n_resamples=999, method=method, rng=rng, batch=50
        ).confidence_interval
        return np.stack([found.low, found.high], axis=1)

    def winsorized(samples: Floats) -> Floats:
        cut = samples.shape[1] // 4 / samples.shape[1]
        return np.array([mstats.trimmed_mean_ci(one, (cut, cut)) for one in samples])

    kinds: dict[str, Callable[[Floats], Floats]] = {
        "Tukey and McLaughlin's": winsorized,
        "percentile": lambda samples: bootstrapped(samples, "percentile"),
        "BCa": lambda samples: bootstrapped(samples, "BCa"),
        "expanded": lambda samples: np.array([IQM.interval(one) for one in samples]),
    }
    for n in (5, 10, 30):
        print(f"\n| {n} seeds | {' | '.join(kinds)} |")
        for name, draw in CHOSEN.items():
            truth, samples = middle(draw, rng, "iqm"), draw((repetitions, n), rng)
            cells = []
            for kind in kinds.values():
                with warnings.catch_warnings(action="ignore"):  # BCa's of equal numbers
                    ends = np.nan_to_num(kind(samples))
                width = np.mean(ends[:, 1] - ends[:, 0])
                cells.append(f"{share_within(ends, truth)} ({width:.2f})")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


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

GAPS: dict[str, tuple[str, Draw, Draw]] = {
    "mean: 1, and -9 for one in ten; near 0": (
        "mean",
        KEPT_BACK["1, and -9 for one in ten"],
        lambda size, rng: 0.03 * rng.normal(size=size),
    ),
    "mean: 1 - exponential; near 0": (
        "mean",
        CHOSEN["1 - exponential"],
        lambda size, rng: 0.03 * rng.normal(size=size),
    ),
    "iqm: 70 % near 1, 30 % near 0; near 0.9": (
        "iqm",
        near(0.7),
        lambda size, rng: 0.9 + 0.03 * rng.normal(size=size),
    ),
    "iqm: 50 % near 1, 50 % near 0; near 0.5": (
        "iqm",
        near(0.5),
        lambda size, rng: 0.5 + 0.03 * rng.normal(size=size),
    ),
}
"""Two of one mean, or interquartile mean, of which one hardly scatters."""


def false_verdicts(
    draws: tuple[Draw, Draw], n: int, statistic: str, repetitions: int, rng: np.random.Generator
) -> tuple[float, float]:
    """How often one of two is wrongly called better: on seeds of their own, and on shared ones."""
    first, second = (draw((repetitions, n), rng) for draw in draws)
    # The p of `difference` is never below that of Welch's or Yuen's test, which takes no time.
    likely = np.arange(repetitions)
    if statistic in ("mean", "iqm"):
        trim = 0.25 if statistic == "iqm" else 0.0
        with warnings.catch_warnings(action="ignore"):  # of numbers that hardly scatter
            found = ttest_ind(first, second, axis=1, equal_var=False, trim=trim)
        likely = np.flatnonzero(~(found.pvalue >= ALPHA))

    def wrong(among: Sequence[int], *, shared: bool) -> float:
        pairs = ((first[row], second[row]) for row in among)
        found = (
            difference(*pair, statistic_named(statistic), shared=shared, alpha=ALPHA).p
            for pair in pairs
        )
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


def gaps(repetitions: int, rng: np.random.Generator) -> None:
    """Print how often one of `GAPS` is called better."""
    print("| by: numbers of both | 5 seeds | shared | 10 | shared | 30 | shared |")
    for name, (statistic, *draws) in GAPS.items():
        cells = [
            f"{100 * share:.0f} %"
            for n in (5, 10, 30)
            for share in false_verdicts((draws[0], draws[1]), n, statistic, repetitions, rng)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["resampled", "bets", "verdicts", "means", "gaps"]
    )
    parser.add_argument("--repetitions", type=int, default=4000)
    asked = parser.parse_args()
    repetitions, rng = asked.repetitions, np.random.default_rng(0)
    if asked.what is not None:
        kinds = {"resampled": resampled, "bets": bets, "verdicts": verdicts}
        kinds |= {"means": means, "gaps": gaps}
        kinds[asked.what](repetitions, rng)
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
