"""The parameters of a run: their values over many configs, and which of them matter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import number, plain, value
from xortune.core.point import as_float
from xortune.reports.document import cached_per_run
from xortune.runs.certificate import CertifiedResult
from xortune.runs.columns import MISSING
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run


@dataclass(frozen=True, eq=False)
class ParameterColumn:
    """A parameter over C configs.

    Attributes:
        values: the V distinct values; `MISSING` if it is inactive in a config.
        codes: int32, shape (C,): indices into `values`.
    """

    values: tuple[Any, ...]
    codes: NDArray[np.int32]

    @cached_property
    def reals(self) -> NDArray[np.float64]:
        """Shape (V,): each distinct value, NaN if it is not a number."""
        real = (as_float(v) if type(v) in (int, float) else math.nan for v in self.values)
        return np.fromiter(real, np.float64, len(self.values))

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Shape (C,): the value of each config, NaN if it is not a number."""
        return self.reals[self.codes]

    def labels(self, codes: Sequence[int]) -> list[str]:
        """A distinct label for each of these values."""
        values = [self.values[code] for code in codes]
        short = ["(not active)" if one is MISSING else value(one) for one in values]
        # 0.1231 and 0.1232 look the same in three digits, and so do the text "1" and the number.
        uses = Counter(short)
        return [
            plain(repr(one)) if uses[label] > 1 and one is not MISSING else label
            for one, label in zip(values, short, strict=True)
        ]


def column_of(values: Sequence[Any]) -> ParameterColumn:
    """The column of a parameter that has these values in C configs."""
    if bool in (types := set(map(type, values))) and len(types) > 1:
        # True == 1 in Python, but they are different values of a parameter.
        pairs = column_of([(type(one) is bool, one) for one in values])
        return ParameterColumn(tuple(one for _, one in pairs.values), pairs.codes)
    code_of = {one: code for code, one in enumerate(dict.fromkeys(values))}
    codes = np.fromiter(map(code_of.__getitem__, values), np.int32, len(values))
    return ParameterColumn(tuple(code_of), codes)


def quantile_bins(
    numbers: NDArray[np.float64], count: int
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Sort N numbers into at most `count` bins of about equal size, none of them empty.

    Returns:
        Labels in ascending order, `[low, high]` for the first bin and `(low, high]` for the others;
        and the bin of each number, shape (N,).
    """
    cuts = np.quantile(numbers, np.linspace(0, 1, count + 1))
    if (numbers == np.floor(numbers)).all():
        cuts = np.floor(cuts)  # for whole numbers, up to 7.67 means up to 7
    cuts = np.unique(cuts)
    bins = np.clip(np.searchsorted(cuts, numbers) - 1, 0, max(len(cuts) - 2, 0))
    kept, which = np.unique(bins, return_inverse=True)
    lows, highs = cuts[kept].tolist(), cuts[np.minimum(kept + 1, len(cuts) - 1)].tolist()
    labels = tuple(
        f"{'(' if index else '['}{number(low)}, {number(high)}]"
        for index, low, high in zip(kept.tolist(), lows, highs, strict=True)
    )
    return labels, which


@cached_per_run
def columns_of(run: Run) -> dict[str, ParameterColumn]:
    """The column of each parameter; configs are in the order of `Run.results`."""
    return {name: column_of(run.results.values(name, MISSING)) for name in run.parameters}


def varying(run: Run) -> tuple[str, ...]:
    """The parameters that differ between the configs of a run."""
    return tuple(name for name, column in columns_of(run).items() if len(column.values) > 1)


def differing(
    results: Sequence[ConfigResult | CertifiedResult], names: Sequence[str]
) -> tuple[str, ...]:
    """The parameters that differ between these few configs."""
    columns = {name: column_of([r.point.get(name, MISSING) for r in results]) for name in names}
    return tuple(name for name, column in columns.items() if len(column.values) > 1)


# -------------------------------------------------------------------------------------------------
# How much a config says of the levels that it has.


def seed_weights(k: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """The weight of each config in a mean of success rates, shape (C,); the largest is 1.

    The rate of n seeds of a config varies with its true rate and by chance, so its variance is
    proportional to rho + (1 - rho) / n, where rho is the correlation of two seeds of a config. The
    weight is its inverse: n configs of one seed each weigh more than one config of n seeds, and one
    of many seeds at most 1 / rho times one of one seed.

    Source: Kleinman (1973), JASA 68, 46-54, weights of correlated proportions; rho by analysis of
    variance, as in Ridout, Demetrio and Firth (1999), Biometrics 55, 137-148.
    """
    total, configs = int(n.sum()), len(n)
    rates = k / n
    if configs < 2 or total == configs or not np.ptp(n):
        return np.ones(configs)
    mean = k.sum() / total
    between = float((n * (rates - mean) ** 2).sum()) / (configs - 1)
    within = float((n * rates * (1 - rates)).sum()) / (total - configs)
    size = (total - float((n.astype(np.float64) ** 2).sum()) / total) / (configs - 1)
    spread = between + (size - 1) * within
    rho = min(max((between - within) / spread, 0.0), 1.0) if spread > 0 else 1.0
    weights = n / (1 + (n - 1) * rho)
    scaled: NDArray[np.float64] = weights / weights.max()
    return scaled


@cached_per_run
def weights_of(run: Run) -> NDArray[np.float64]:
    """`seed_weights` of the configs of a run, in the order of `Run.results`."""
    return seed_weights(run.results.counts.k, run.results.counts.n)


MIN_CONFIGS = 5  # for a bootstrap interval
MAX_LEVELS = 6  # a number with more distinct values is shown in quartile bins
RESAMPLES = 1000
MOST_LEVELS = 25  # of a table that can still be read; the bootstrap of each level takes time


@dataclass(frozen=True)
class Level:
    """One value, or one bin of values, of a parameter.

    Attributes:
        label: the value, or the bin as `(low, high]`.
        configs: how many configs have it.
        rate: the mean of their success rates, weighted by `seed_weights`.
        interval: its 95 % bootstrap interval over configs; None below 5 configs, or if all have
            the same rate.
    """

    label: str
    configs: int
    rate: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ParameterEffect:
    """One parameter that differs between configs.

    Attributes:
        levels: the bins, and at most the `MOST_LEVELS` most frequent values.
        importance: Optuna's, as a share of one; None if the manifest has none.
        by_chance: whether so large a share comes about by chance, where no parameter matters.
        spread: the standard deviation of the rates of all levels. The weight of a level is its
            number of configs minus one, because a single config says nothing about its level.
        left_out: the number of levels that are not in `levels`.
    """

    name: str
    levels: tuple[Level, ...]
    importance: float | None
    spread: float
    left_out: int = 0
    by_chance: bool = False


def parameter_effects(
    columns: Mapping[str, ParameterColumn],
    rates: NDArray[np.float64],
    importance: Mapping[str, float],
    by_chance: Collection[str] = (),
    weights: NDArray[np.float64] | None = None,
) -> tuple[ParameterEffect, ...]:
    """The effects of all parameters that vary, ordered by importance, then by spread.

    The unit is the config, because the seeds of one config are not an independent sample of a
    level: the bootstrap resamples configs. Without weights all have the same.
    """
    weights = np.ones(len(rates)) if weights is None else weights
    effects = [
        replace(
            _effect(name, column, rates, weights, importance.get(name)),
            by_chance=name in importance and name in by_chance,
        )
        for name, column in columns.items()
        if len(column.values) > 1
    ]
    return tuple(sorted(effects, key=lambda e: (-(e.importance or 0.0), -e.spread)))


def _effect(
    name: str,
    column: ParameterColumn,
    rates: NDArray[np.float64],
    weights: NDArray[np.float64],
    importance: float | None,
) -> ParameterEffect:
    bins, grouped = _grouped(column)
    ids, which, configs = np.unique(grouped, return_inverse=True, return_counts=True)
    means = np.bincount(which, weights=weights * rates) / np.bincount(which, weights=weights)
    # A text may have a different value in each config: keep the bins and the most frequent values.
    most_frequent = np.lexsort((-configs, ids >= len(bins)))[: len(bins) + MOST_LEVELS]
    kept = sorted(most_frequent.tolist())
    codes = [int(ids[at]) - len(bins) for at in kept if ids[at] >= len(bins)]
    labels = [*bins, *column.labels(codes)]
    with ThreadPoolExecutor() as pool:  # NumPy's random draws release the GIL
        of_level = [which == at for at in kept]
        levels = list(
            pool.map(
                level_of, labels, [rates[at] for at in of_level], [weights[at] for at in of_level]
            )
        )
    if not bins:
        levels.sort(key=lambda level: (-level.rate, level.label))
    spread, sizes = 0.0, configs - 1
    if sizes.any():
        mean = np.average(means, weights=sizes)
        spread = float(np.sqrt(np.average((means - mean) ** 2, weights=sizes)))
    return ParameterEffect(name, tuple(levels), importance, spread, len(ids) - len(kept))


def _grouped(column: ParameterColumn) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Group the numbers of a column into bins if it has too many distinct ones.

    Returns:
        The labels of B bins, none without bins; and for each config, shape (C,), its bin if below
        B, otherwise B plus the code of its value.
    """
    reals, numbers = column.reals, column.numbers
    if np.unique(reals[~np.isnan(reals)]).size <= MAX_LEVELS:
        return (), column.codes
    numeric = ~np.isnan(numbers)
    labels, bins = quantile_bins(numbers[numeric], 4)
    which = column.codes + len(labels)
    which[numeric] = bins
    return labels, which


def level_of(label: str, rates: NDArray[np.float64], weights: NDArray[np.float64]) -> Level:
    """The level of C >= 1 configs with these success rates and weights, shape (C,)."""
    interval = None
    if rates.size >= MIN_CONFIGS and np.ptp(rates):
        pairs, configs = np.unique(np.stack([rates, weights]), axis=1, return_counts=True)
        interval = _bootstrap_interval(
            tuple(pairs[0].tolist()), tuple(pairs[1].tolist()), tuple(configs.tolist())
        )
    return Level(label, int(rates.size), float(np.average(rates, weights=weights)), interval)


@lru_cache(maxsize=256)  # tables and figures ask for the same levels
def _bootstrap_interval(
    rates: tuple[float, ...], weights: tuple[float, ...], configs: tuple[int, ...]
) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of these distinct rates, by their configs."""
    # To resample configs is to draw the count of each distinct pair from a multinomial.
    size = sum(configs)
    draws = np.random.default_rng(0).multinomial(size, np.array(configs) / size, size=RESAMPLES)
    means = draws @ (np.array(rates) * np.array(weights)) / (draws @ np.array(weights))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
