"""Which parameters matter: the mean success rate at each level, among the configs visited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.point import Point
from xortune.report.format import number, plain, value
from xortune.run import ConfigResult

__all__ = ["Level", "ParameterEffect", "parameter_effects", "varied"]

MIN_CONFIGS = 5  # a bootstrap over fewer configs says nothing
MAX_LEVELS = 6  # a number with more distinct values is shown in quartile bins
RESAMPLES = 1000


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


def varied(points: Sequence[Point], names: Sequence[str]) -> tuple[str, ...]:
    """The parameters that do not have one and the same value everywhere, in the given order."""
    return tuple(
        name
        for name in names
        if len({(name in point, _comparable(point.get(name))) for point in points}) > 1
    )


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
    effects = []
    for name in varied([result.point for result in results], names):
        groups = _groups(name, [result.point for result in results])
        levels = [_level(label, rates[rows]) for label, rows in groups]
        if not _binned(name, results):
            levels.sort(key=lambda level: (-level.rate, level.label))
        effects.append(ParameterEffect(name, tuple(levels), (importance or {}).get(name)))
    return tuple(sorted(effects, key=lambda effect: -(effect.importance or 0.0)))


def _groups(name: str, points: Sequence[Point]) -> list[tuple[str, NDArray[np.intp]]]:
    numbers = np.array([_real(point.get(name)) for point in points])
    numeric = np.flatnonzero(~np.isnan(numbers))
    groups: list[tuple[str, NDArray[np.intp]]] = []
    if np.unique(numbers[numeric]).size > MAX_LEVELS:
        edges = np.unique(np.quantile(numbers[numeric], [0, 0.25, 0.5, 0.75, 1]))
        bins = np.clip(np.searchsorted(edges, numbers[numeric]) - 1, 0, len(edges) - 2)
        for index in np.unique(bins):
            left = "[" if index == 0 else "("
            label = f"{left}{number(edges[index])}, {number(edges[index + 1])}]"
            groups.append((label, numeric[bins == index]))
    else:
        numeric = numeric[:0]
    rest: dict[tuple[bool, tuple[str, Any]], list[int]] = {}
    for row in sorted(set(range(len(points))) - set(numeric.tolist())):
        given = (name in points[row], _comparable(points[row].get(name)))
        rest.setdefault(given, []).append(row)
    labels = [value(given) if present else "(not active)" for present, (_, given) in rest]
    for label, ((present, (_, given)), rows) in zip(labels, rest.items(), strict=True):
        # 0.1231 and 0.1232 look the same in three digits, and so do the text "1" and the number.
        exact = present and labels.count(label) > 1
        groups.append((plain(repr(given)) if exact else label, np.array(rows)))
    return groups


def _binned(name: str, results: Sequence[ConfigResult]) -> bool:
    numbers = {_real(result.point.get(name)) for result in results}
    return len({n for n in numbers if n == n}) > MAX_LEVELS  # noqa: PLR0124  # NaN


def _level(label: str, rates: NDArray[np.float64]) -> Level:
    found = None
    if rates.size >= MIN_CONFIGS:
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
