"""How much each parameter matters, by Optuna's measure; stored in the run for the reports."""

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

from xortune.driver.propose import distribution
from xortune.racing.objectives import expected
from xortune.runs.run import Run
from xortune.spaces.model import Fixed, SearchSpace

MIN_BETTER = 5
"""Configs in the better tenth, which the measure compares with all, and half of all at least: fewer
lie somewhere by chance."""

MAX_CONFIGS, RESAMPLES = 4000, 100
"""More configs change little; then every n-th of the ranking stands for it."""

BETTER, CELLS = 0.1, 50
"""The share of configs that are the better ones, and the cells of a grid at most, as in Optuna."""

SIGMAS = 1.959963984540054  # of a normal distribution, 95 % lie within so many


@dataclass(frozen=True)
class Importance:
    """Each searched parameter's share of the importance.

    Attributes:
        shares: by name, largest first; they sum to 1. Empty if it cannot be told.
        intervals: for each of them its 95 % bootstrap interval over configs, (low, high).
        configs: how many configs it was computed from.
        better: how many of them are the better tenth, those as good as the last of it included.
            Below `needed`, and below 2 `needed` configs, nothing is told.
        needed: how many these have to be.
        resamples: how many times these were drawn anew.
    """

    shares: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    configs: int
    better: int
    resamples: int
    needed: int = MIN_BETTER

    def entries(self) -> dict[str, Any]:
        """What a manifest says of it."""
        about = asdict(self)
        return {"importance": about.pop("shares"), "importance_resampled": about}


def importance(run: Run, space: SearchSpace) -> Importance:
    """How much each parameter that is active in every config matters; configs weigh the same.

    What is better is said by `expected`, (k + 1) / (n + 2), so that 510 of 512 is more than 8 of 8.

    The interval is share +- 1.96 standard deviations of the share over resamples of the configs,
    cut off at 0 and 1. It says how far chance among the configs visited reaches, for a search that
    had gone on to visit such configs: not what a fair survey of the space would find.

    Source: Watanabe, Bansal, Hutter (2023), PED-ANOVA, IJCAI 2023, eq. 16, as in Optuna. Interval:
    Efron, Tibshirani (1993), An Introduction to the Bootstrap, section 12.
    """
    searched = {p.name: distribution(p) for p in space.parameters if not isinstance(p, Fixed)}
    names = [p.name for p in space.parameters if p.name in searched and not p.when]
    results = run.results
    results = results.chosen(np.arange(0, len(results), 1 + len(results) // MAX_CONFIGS))
    counted = zip(results.counts.k.tolist(), results.counts.n.tolist(), strict=True)
    rates = np.array([expected(k, n) for k, n in counted])
    better = _better(rates).size  # what Optuna's measure takes for the better ones
    nothing = Importance({}, {}, len(results), better, 0)
    few = better < MIN_BETTER or len(results) < 2 * MIN_BETTER
    if few or np.unique(rates).size < 2 or not names:
        return nothing
    grids = {name: _grid(searched[name], results.values(name)) for name in names}
    every = np.arange(len(results))
    shares = _shares(rates, grids, every)
    if shares is None:
        return nothing
    drawn = np.random.default_rng(0).choice(every, (RESAMPLES, len(results)))
    again = [found for rows in drawn if (found := _shares(rates, grids, rows)) is not None]
    if len(again) < 2:
        return nothing
    intervals = {}
    for name, share in shares.items():
        spread = SIGMAS * float(np.std([found[name] for found in again], ddof=1))
        intervals[name] = (max(0.0, share - spread), min(1.0, share + spread))
    return Importance(shares, intervals, len(results), better, len(again))


def _better(rates: NDArray[np.float64]) -> NDArray[np.intp]:
    """The places of the better tenth, those as good as the last of it included."""
    if not rates.size:
        return np.empty(0, np.intp)
    return np.flatnonzero(rates >= np.sort(rates)[-math.ceil(BETTER * rates.size)])


@dataclass(frozen=True)
class _Grid:
    """A parameter over C configs.

    Attributes:
        cells: int, shape (C,): the cell in which each one's value lies.
        size: of the grid.
        ordered: whether neighbours are alike.
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
    """The measure of the configs at some places; None where all of them are the better tenth."""
    better = rows[_better(rates[rows])]
    if len(better) == len(rows):
        return None
    found = {}
    for name, grid in grids.items():
        good, every = (_density(grid, part) + 1e-12 for part in (better, rows))
        found[name] = float(every @ (good / every - 1) ** 2)
    total = sum(found.values())
    shares = {n: one / total if total else 1 / len(found) for n, one in found.items()}
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def _density(grid: _Grid, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of each cell, as a kernel around each config estimates it: Optuna's, after Scott's rule."""
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
    # Differences of what is small: near 1 the digits would be lost.
    masses = np.where(ends[:, :-1] > 0, -np.diff(ndtr(-ends)), np.diff(ndtr(ends)))
    return np.asarray(weights @ (masses / masses.sum(axis=1, keepdims=True)))
