"""The importance of each parameter, by Optuna's PED-ANOVA; the run keeps it for its reports."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.special import ndtr

from xortune.core.outcome import wilson
from xortune.deciding.optuna_study import distribution
from xortune.runs.run import Run
from xortune.spaces.model import Fixed, SearchSpace

MIN_BETTER = 5
"""Minimum number of configs in the better tenth, with those as good as its last. Fewer lie
somewhere by chance. There must also be twice as many configs in all."""

MAX_CONFIGS, RESAMPLES = 4000, 100
"""Maximum number of configs: of more, every n-th of the ranking is used, which changes little.
Number of bootstrap resamples, and of permutations."""

CHANCE = 0.05
"""The greatest probability that a share is said to be more than chance gives, where none is."""

MOST_BETTER = 0.25
"""Maximum share of the better tenth with all that equal its last: more are no tenth."""

BETTER, CELLS = 0.1, 50
"""The share of the better configs, and the maximum number of cells of a grid, as in Optuna."""

SIGMAS = 1.959963984540054  # 95 % of a normal distribution lie within so many


@dataclass(frozen=True)
class Importance:
    """Each searched parameter's share of the importance.

    Attributes:
        shares: by name, largest first; they sum to 1. Empty if there are too few configs.
        intervals: for each of them its 95 % bootstrap interval over configs, (low, high).
        configs: how many configs it was computed from.
        better: how many of them are the better tenth, those as good as the last of it included.
        resamples: number of bootstrap resamples.
        chance: the parameters whose share is not more than chance gives, where nothing matters.
        tied: how many of the better are as good as the last, if these are too many for a tenth;
            else 0.
        needed: minimum of `better`; `configs` must be at least twice as many.
    """

    shares: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    configs: int
    better: int
    resamples: int
    chance: tuple[str, ...] = ()
    tied: int = 0
    needed: int = MIN_BETTER

    def entries(self) -> dict[str, Any]:
        """The entries of a manifest."""
        about = asdict(self)
        return {"importance": about.pop("shares"), "importance_resampled": about}


def importance(run: Run, space: SearchSpace) -> Importance:
    """The importance of each parameter that is active in every config; all configs weigh the same.

    Configs are ranked by the lower end of Wilson's interval, as everywhere: 510 of 512 is above 8
    of 8, and 1 of 1, of which a race has many, below both. Where ties leave no tenth, there are no
    shares.

    The interval is share +- 1.96 standard deviations of the share over resamples of the configs,
    cut off at 0 and 1. It is the uncertainty for configs such as those that the search visited, not
    for a uniform sample of the space.

    The largest of some shares is large even if no parameter matters. So the same is computed with
    the ranks permuted. A parameter's share is more than chance gives if its divergence, in standard
    deviations over permutations, is larger than the largest of all parameters in all but 5 % of the
    permutations (Westfall and Young (1993), Resampling-Based Multiple Testing, section 2.5).

    Source: Watanabe, Bansal, Hutter (2023), PED-ANOVA, IJCAI 2023, eq. 16, as in Optuna. Interval:
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, section 12.
    """
    searched = {
        parameter.name: distribution(parameter)
        for parameter in space.parameters
        if not isinstance(parameter, Fixed) and not parameter.when
    }
    results = run.results
    results = results.chosen(np.arange(0, len(results), 1 + len(results) // MAX_CONFIGS))
    rates, _ = wilson(results.counts.k, results.counts.n)
    better, tied = _better(rates), 0
    if better.size > max(MIN_BETTER, MOST_BETTER * len(results)):
        tied = int((rates == rates[better].min()).sum())
    nothing = Importance({}, {}, len(results), better.size, 0, tied=tied)
    if tied or better.size < MIN_BETTER or len(results) < 2 * MIN_BETTER or not searched:
        return nothing
    grids = {name: _grid(one, results.values(name)) for name, one in searched.items()}
    every = np.arange(len(results))
    shares = _shares(rates, grids, every)
    if shares is None:
        return nothing
    drawn = np.random.default_rng(0).choice(every, (RESAMPLES, len(results)))
    resampled = [s for rows in drawn if (s := _shares(rates, grids, rows)) is not None]
    if len(resampled) < 2:
        return nothing
    intervals = {}
    for name, share in shares.items():
        spread = SIGMAS * float(np.std([sample[name] for sample in resampled], ddof=1))
        intervals[name] = (max(0.0, share - spread), min(1.0, share + spread))
    chance = _no_more_than_chance(grids, better, every)
    return Importance(shares, intervals, len(results), better.size, len(resampled), chance)


def _better(rates: NDArray[np.float64]) -> NDArray[np.intp]:
    """The places of the better tenth, with all that equal its last."""
    if not rates.size:
        return np.empty(0, np.intp)
    return np.flatnonzero(rates >= np.sort(rates)[-math.ceil(BETTER * rates.size)])


def _no_more_than_chance(
    grids: dict[str, _Grid], better: NDArray[np.intp], every: NDArray[np.intp]
) -> tuple[str, ...]:
    """The parameters that separate these from all configs no more than a random choice of them."""
    rng = np.random.default_rng(1)
    drawn = [rng.choice(every, better.size, replace=False) for _ in range(RESAMPLES)]
    permuted = np.array([list(_divergences(grids, rows, every).values()) for rows in drawn])
    seen = np.array(list(_divergences(grids, better, every).values()))
    middle, spread = permuted.mean(axis=0), permuted.std(axis=0) + 1e-12
    largest = ((permuted - middle) / spread).max(axis=1)
    as_large = (largest[:, None] >= (seen - middle) / spread).sum(axis=0)
    p = (1 + as_large) / (1 + RESAMPLES)
    return tuple(name for name, one in zip(grids, p.tolist(), strict=True) if one > CHANCE)


@dataclass(frozen=True)
class _Grid:
    """The values of a parameter in C configs.

    Attributes:
        cells: int, shape (C,): the cell of each value.
        size: number of cells.
        ordered: whether the cells have an order, as numbers do.
    """

    cells: NDArray[np.intp]
    size: int
    ordered: bool


def _grid(searched: BaseDistribution, values: Sequence[Any]) -> _Grid:
    """The grid on which Optuna's measure compares densities of a parameter."""
    if searched.single():
        return _Grid(np.zeros(len(values), np.intp), 1, ordered=False)
    if isinstance(searched, CategoricalDistribution):
        codes = [int(searched.to_internal_repr(value)) for value in values]
        return _Grid(np.array(codes), len(searched.choices), ordered=False)
    assert isinstance(searched, IntDistribution | FloatDistribution)
    low, high, log, size = searched.low, searched.high, searched.log, CELLS
    if log and isinstance(searched, IntDistribution):
        size = min(math.ceil(np.log(high - low + 1) / np.log(2)) + 1, CELLS)
    elif searched.step is not None:
        size = min(round((high - low) / searched.step) + 1, CELLS)
    numbers = np.array(values, np.float64)
    if log:
        numbers, low, high = np.log(numbers), math.log(low), math.log(high)
    cells = np.ceil((numbers - low) / ((high - low) / (size - 1)) - 0.5).astype(np.intp)
    return _Grid(np.clip(cells, 0, size - 1), size, ordered=True)


def _shares(
    rates: NDArray[np.float64], grids: dict[str, _Grid], rows: NDArray[np.intp]
) -> dict[str, float] | None:
    """The shares by the configs at these places; None if all of them are among the better."""
    better = rows[_better(rates[rows])]
    if len(better) == len(rows):
        return None
    divergences = _divergences(grids, better, rows)
    total = sum(divergences.values())
    shares = {n: d / total if total else 1 / len(divergences) for n, d in divergences.items()}
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def _divergences(
    grids: dict[str, _Grid], better: NDArray[np.intp], rows: NDArray[np.intp]
) -> dict[str, float]:
    """How differently from all configs at these places the better ones are spread."""
    divergences = {}
    for name, grid in grids.items():
        good, every = (_density(grid, part) + 1e-12 for part in (better, rows))
        divergences[name] = float(every @ (good / every - 1) ** 2)
    return divergences


def _density(grid: _Grid, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """The density in each cell, by Optuna's kernel estimate with Scott's rule."""
    counts = np.bincount(grid.cells[rows], minlength=grid.size)
    seen = np.flatnonzero(counts)
    weights = np.append(counts[seen], 1.0)  # the last kernel is the whole grid
    weights /= weights.sum()
    if not grid.ordered:
        kernels = np.full((len(seen) + 1, grid.size), 1 / (len(seen) + 1))
        kernels[np.arange(len(seen)), seen] += 1
        return np.asarray(weights @ (kernels / kernels.sum(axis=1, keepdims=True)))
    so_far = np.cumsum(counts[seen])
    total = int(so_far[-1])
    mean = seen @ counts[seen] / total
    spread = math.sqrt((seen - mean) ** 2 @ counts[seen] / max(1, total - 1))
    first = int(np.searchsorted(so_far, total // 4))
    third = int(np.searchsorted(so_far, total * 3 // 4, "right"))
    quartiles = seen[min(len(seen) - 1, third)] - seen[first]
    width = 1.059 * min(quartiles / 1.34, spread) * total**-0.2
    widths = np.append(np.full(len(seen), max(width, 0.5 / 1.64)), grid.size)
    middles = np.append(seen, (grid.size - 1) / 2)
    ends = (np.arange(grid.size + 1) - 0.5 - middles[:, None]) / widths[:, None]
    # Differences of small numbers: near 1 they would lose digits.
    masses = np.where(ends[:, :-1] > 0, -np.diff(ndtr(-ends)), np.diff(ndtr(ends)))
    return np.asarray(weights @ (masses / masses.sum(axis=1, keepdims=True)))
