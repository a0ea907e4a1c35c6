"""Which parameters matter: the mean success rate at each level, among the configs visited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.report.format import number, plain, value
from xortune.run import ConfigResult

__all__ = ["Level", "ParameterEffect", "differing", "parameter_effects"]

MIN_CONFIGS = 5  # a bootstrap over fewer configs says nothing
MAX_LEVELS = 6  # a number with more distinct values is shown in quartile bins
RESAMPLES = 1000
MANY_CONFIGS = 5000  # from here on drawing them one by one takes seconds


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


@dataclass(frozen=True)
class _Column:
    """A parameter over C configs: its distinct values, and which of them each config has.

    Attributes:
        values: (whether the config has the parameter, its value as `_comparable` sees it).
        codes: intp, shape (C,): places in `values`.
    """

    values: list[tuple[bool, tuple[str, Any]]]
    codes: NDArray[np.intp]


def _column(given: Sequence[Mapping[str, Any]], name: str) -> _Column:
    # Few distinct values among many configs: each is looked at once.
    places: dict[tuple[bool, type, Any], int] = {}
    raw = [(name in point, type(point.get(name)), point.get(name)) for point in given]
    codes = np.array([places.setdefault(value, len(places)) for value in raw], dtype=np.intp)
    merged: dict[tuple[bool, tuple[str, Any]], int] = {}
    found = [merged.setdefault((has, _comparable(v)), len(merged)) for has, _, v in places]
    return _Column(list(merged), np.array(found, dtype=np.intp)[codes])


def differing(results: Sequence[ConfigResult], names: Sequence[str]) -> tuple[str, ...]:
    """The parameters of which these configs do not all have the same value, or not all have one."""
    if not results:
        return ()

    def is_other(name: str, point: Mapping[str, Any]) -> bool:
        same = (name in first) == (name in point)
        return not same or _comparable(point.get(name)) != _comparable(first.get(name))

    first = results[0].point
    return tuple(name for name in names if any(is_other(name, r.point) for r in results[1:]))


def parameter_effects(
    results: Sequence[ConfigResult],
    names: Sequence[str],
    importance: Mapping[str, float] | None = None,
) -> tuple[ParameterEffect, ...]:
    """The effects of all parameters that vary: the most important first, if that is known.

    Seeds of one config are no independent sample of a level, so configs are the unit: equally
    weighted, and the bootstrap draws configs.
    """
    rates = np.array([result.outcome.rate for result in results])
    given = [result.point.as_dict() for result in results]
    effects = []
    for name in names:
        column = _column(given, name)
        if len(column.values) < 2:
            continue
        groups, binned = _groups(column)
        levels = [_level(label, rates[rows]) for label, rows in groups]
        if not binned:
            levels.sort(key=lambda level: (-level.rate, level.label))
        effects.append(ParameterEffect(name, tuple(levels), (importance or {}).get(name)))
    return tuple(sorted(effects, key=lambda effect: -(effect.importance or 0.0)))


def _groups(column: _Column) -> tuple[list[tuple[str, NDArray[np.intp]]], bool]:
    """Labels and rows of each level, and whether numbers were put in bins."""
    reals = np.array([_real(given) for _, (_, given) in column.values])
    binned = np.unique(reals[~np.isnan(reals)]).size > MAX_LEVELS
    numbers = reals[column.codes]
    groups: list[tuple[str, NDArray[np.intp]]] = []
    if binned:
        numeric = np.flatnonzero(~np.isnan(numbers))
        edges = np.unique(np.quantile(numbers[numeric], [0, 0.25, 0.5, 0.75, 1]))
        bins = np.clip(np.searchsorted(edges, numbers[numeric]) - 1, 0, len(edges) - 2)
        for index in np.unique(bins):
            left = "[" if index == 0 else "("
            label = f"{left}{number(edges[index])}, {number(edges[index + 1])}]"
            groups.append((label, numeric[bins == index]))
    rest = [code for code in range(len(column.values)) if not binned or np.isnan(reals[code])]
    labels = [
        value(column.values[code][1][1]) if column.values[code][0] else "(not active)"
        for code in rest
    ]
    for label, code in zip(labels, rest, strict=True):
        present, (_, given) = column.values[code]
        # 0.1231 and 0.1232 look the same in three digits, and so do the text "1" and the number.
        exact = present and labels.count(label) > 1
        rows = np.flatnonzero(column.codes == code)
        groups.append((plain(repr(given)) if exact else label, rows))
    return groups, binned


def _level(label: str, rates: NDArray[np.float64]) -> Level:
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


def _real(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return float("nan")
    try:
        return float(given)
    except OverflowError:
        return float("inf") if given > 0 else float("-inf")


def _comparable(given: Any) -> tuple[str, Any]:
    # True == 1 in Python, and they are different values of a parameter.
    return ("number" if type(given) in (int, float) else type(given).__name__, given)
