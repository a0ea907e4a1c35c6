"""Which parameters matter: the mean success rate at each level, among the configs visited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.report.columns import Column, column_of, comparable, quantile_bins
from xortune.run import ConfigResult

__all__ = [
    "MAX_LEVELS",
    "MIN_CONFIGS",
    "Level",
    "ParameterEffect",
    "differing",
    "level_of",
    "parameter_effects",
]

MIN_CONFIGS = 5  # a bootstrap over fewer configs says nothing
MAX_LEVELS = 6  # a number with more distinct values is shown in quartile bins
RESAMPLES = 1000
MANY_CONFIGS = 5000  # from here on drawing them one by one takes seconds

_MISSING = object()


@dataclass(frozen=True)
class Level:
    """One value, or one bin of values, of a parameter.

    Attributes:
        label: the value, or the bin as `(low, high]`.
        configs: how many configs have it; each counts once, however many seeds it had.
        rate: the mean of their success rates.
        interval: its 95 % bootstrap interval over configs; None below 5 configs.
    """

    label: str
    configs: int
    rate: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ParameterEffect:
    """One parameter that differs between configs, with Optuna's importance if there is one."""

    name: str
    levels: tuple[Level, ...]
    importance: float | None

    @property
    def spread(self) -> float:
        """How far apart the levels' rates lie: their standard deviation.

        Each has the weight of its configs less one: a config that is alone at its level says
        nothing of it.
        """
        rates = np.array([level.rate for level in self.levels])
        weights = np.array([level.configs - 1 for level in self.levels])
        if not weights.any():
            return 0.0
        mean = np.average(rates, weights=weights)
        return float(np.sqrt(np.average((rates - mean) ** 2, weights=weights)))


def differing(results: Sequence[ConfigResult], names: Sequence[str]) -> tuple[str, ...]:
    """The parameters of which these configs do not all have the same value, or not all have one."""
    points = [result.point.as_dict() for result in results]
    return tuple(name for name in names if points and not _alike(name, points))


def _alike(name: str, points: Sequence[Mapping[str, Any]]) -> bool:
    first = points[0].get(name, _MISSING)
    given = (point.get(name, _MISSING) for point in points)
    return all(one is first or comparable(one) == comparable(first) for one in given)


def parameter_effects(
    results: Sequence[ConfigResult],
    names: Sequence[str],
    importance: Mapping[str, float] | None = None,
) -> tuple[ParameterEffect, ...]:
    """The effects of all parameters that vary: the most important first, if that is known.

    Those of which it is not follow, the one whose levels lie furthest apart first.

    Seeds of one config are no independent sample of a level, so configs are the unit: equally
    weighted, and the bootstrap draws configs.
    """
    rates = np.array([result.outcome.rate for result in results])
    given = [result.point.as_dict() for result in results]
    effects = []
    for name in names:
        column = column_of(given, name)
        if len(column.values) < 2:
            continue
        groups, binned = _groups(column)
        levels = [level_of(label, rates[rows]) for label, rows in groups]
        if not binned:
            levels.sort(key=lambda level: (-level.rate, level.label))
        effects.append(ParameterEffect(name, tuple(levels), (importance or {}).get(name)))
    return tuple(sorted(effects, key=lambda e: (-(e.importance or 0.0), -e.spread)))


def _groups(column: Column) -> tuple[list[tuple[str, NDArray[np.intp]]], bool]:
    """Labels and rows of each level, and whether numbers were put in bins."""
    reals, numbers = column.reals, column.numbers
    binned = np.unique(reals[~np.isnan(reals)]).size > MAX_LEVELS
    groups: list[tuple[str, NDArray[np.intp]]] = []
    if binned:
        numeric = np.flatnonzero(~np.isnan(numbers))
        bins = quantile_bins(numbers[numeric], 4)
        groups = [(label, numeric[bins.which == i]) for i, label in enumerate(bins.labels)]
    rest = [code for code in range(len(column.values)) if not binned or np.isnan(reals[code])]
    for label, code in zip(column.labels(rest), rest, strict=True):
        groups.append((label, np.flatnonzero(column.codes == code)))
    return groups, binned


def level_of(label: str, rates: NDArray[np.float64]) -> Level:
    """The level of C configs with these success rates, shape (C,), at least one."""
    found = None
    if rates.size > MANY_CONFIGS:
        # Resampling configs is a multinomial draw of how often each distinct rate comes.
        distinct, counts = np.unique(rates, return_counts=True)
        draws = np.random.default_rng(0).multinomial(
            rates.size, counts / rates.size, size=RESAMPLES
        )
        low, high = np.quantile(draws @ distinct / rates.size, [0.025, 0.975])
        found = (float(low), float(high))
    elif rates.size >= MIN_CONFIGS:
        from scipy.stats import bootstrap

        # percentile, because the others divide by zero when all rates are equal
        result = bootstrap(
            (rates,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=max(1, 4_000_000 // rates.size),
            vectorized=True,
            method="percentile",
            random_state=np.random.default_rng(0),
        )
        low, high = result.confidence_interval
        found = (float(low), float(high))
    return Level(label, int(rates.size), float(rates.mean()), found)
