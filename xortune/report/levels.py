"""Which parameters matter: the mean success rate at each level, among the configs visited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.report.columns import Column, column_of, comparable, quantile_bins
from xortune.report.once import once_for_each_run
from xortune.run import ConfigResult, Run

__all__ = [
    "MAX_LEVELS",
    "MIN_CONFIGS",
    "MOST_LEVELS",
    "Level",
    "ParameterEffect",
    "differing",
    "level_of",
    "parameter_effects",
    "varying",
]

MIN_CONFIGS = 5  # a bootstrap over fewer configs says nothing
MAX_LEVELS = 6  # a number with more distinct values is shown in quartile bins
MOST_LEVELS = 25  # beyond them a table is not read, and each level's bootstrap takes its time
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
        interval: its 95 % bootstrap interval over configs; None below 5 configs, and where all have
            the same rate, of which resamples say nothing.
    """

    label: str
    configs: int
    rate: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ParameterEffect:
    """One parameter that differs between configs, with Optuna's importance if there is one.

    Attributes:
        name: as in the space file.
        levels: the most frequent ones, at most `MOST_LEVELS` and the bins.
        importance: its share, if the run knows it.
        spread: how far apart the rates of all levels lie: their standard deviation. Each has the
            weight of its configs less one: a config that is alone at its level says nothing of it.
        left_out: so many levels more there are.
    """

    name: str
    levels: tuple[Level, ...]
    importance: float | None
    spread: float
    left_out: int = 0


def differing(results: Sequence[ConfigResult], names: Sequence[str]) -> tuple[str, ...]:
    """The parameters of which these configs do not all have the same value, or not all have one."""
    points = [result.point.as_dict() for result in results]
    return tuple(name for name in names if points and not _alike(name, points))


@once_for_each_run  # nine figures ask, and of many configs each answer takes its time
def varying(run: Run) -> tuple[str, ...]:
    """The parameters of which not all configs of a run have the same value."""
    return differing(run.results, run.parameters)


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
    columns = ((name, column_of(given, name)) for name in names)
    effects = [
        _effect(name, column, rates, (importance or {}).get(name))
        for name, column in columns
        if len(column.values) > 1
    ]
    return tuple(sorted(effects, key=lambda e: (-(e.importance or 0.0), -e.spread)))


def _effect(
    name: str, column: Column, rates: NDArray[np.float64], importance: float | None
) -> ParameterEffect:
    bins, which = _grouped(column)
    ids, which, configs = np.unique(which, return_inverse=True, return_counts=True)
    means = np.bincount(which, weights=rates) / configs
    # A text may have another value in each config, of which none is a level.
    often = np.lexsort((-configs, ids >= len(bins)))[: len(bins) + MOST_LEVELS]
    kept = sorted(often.tolist())
    codes = [int(ids[at]) - len(bins) for at in kept if ids[at] >= len(bins)]
    labels = [*bins, *column.labels(codes)]
    levels = [level_of(label, rates[which == at]) for label, at in zip(labels, kept, strict=True)]
    if not bins:
        levels.sort(key=lambda level: (-level.rate, level.label))
    left_out = len(ids) - len(kept)
    return ParameterEffect(name, tuple(levels), importance, _spread(means, configs), left_out)


def _grouped(column: Column) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """The labels of bins of numbers, if they are in bins, and of each config its bin or level.

    Returns:
        Labels of B bins; shape (C,): below B the bin, from there on the code of a value.
    """
    reals, numbers = column.reals, column.numbers
    if np.unique(reals[~np.isnan(reals)]).size <= MAX_LEVELS:
        return (), column.codes
    numeric = ~np.isnan(numbers)
    bins = quantile_bins(numbers[numeric], 4)
    which = column.codes + len(bins.labels)
    which[numeric] = bins.which
    return bins.labels, which


def _spread(means: NDArray[np.float64], configs: NDArray[np.intp]) -> float:
    weights = configs - 1
    if not weights.any():
        return 0.0
    mean = np.average(means, weights=weights)
    return float(np.sqrt(np.average((means - mean) ** 2, weights=weights)))


def level_of(label: str, rates: NDArray[np.float64]) -> Level:
    """The level of C configs with these success rates, shape (C,), at least one."""
    found = None
    if rates.min() == rates.max():
        pass  # every resample is the same
    elif rates.size > MANY_CONFIGS:
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
