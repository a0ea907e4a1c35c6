"""The parameters that differ between a run's configs, as the figures of parameters see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError, nearest
from xortune.report.columns import Column, column_of
from xortune.report.figures.labels import clipped
from xortune.report.format import plain
from xortune.report.levels import MAX_LEVELS, MIN_CONFIGS
from xortune.report.once import once_for_each_run
from xortune.report.tables import report_of
from xortune.run import Run
from xortune.space import Range

__all__ = ["Parameter", "chosen", "even_sample", "levels_shown", "parameters_of", "rates_of"]

MOST_LEVELS = 12
"""Levels that are shown of one parameter; beyond them the most frequent."""

LONGEST_NAME, LONGEST_LEVEL = 32, 20

WIDE = 100.0
"""Positive numbers whose largest is so many times the smallest are shown on a log axis."""

TINY, HUGE = 1e-300, 1e300
"""Numbers beyond them are no place on an axis: a difference of two would not be finite."""


@dataclass(frozen=True, eq=False)
class Parameter:
    """One parameter over C configs, in the order of `Run.results`.

    Attributes:
        name: as in the space file.
        label: as it is shown.
        column: its distinct values, and which of them each config has.
        numbers: float64, shape (C,): NaN where a config has no number that an axis can show.
        is_number: whether it is shown on an axis of numbers, and not as levels.
        is_log: whether that axis is logarithmic.
        is_whole: whether all its numbers are whole.
        importance: its share, if the run knows it.
    """

    name: str
    label: str
    column: Column
    numbers: NDArray[np.float64]
    is_number: bool
    is_log: bool
    is_whole: bool
    importance: float | None

    def scaled(self) -> NDArray[np.float64]:
        """Shape (C,): the numbers as they lie on their axis, from 0 to 1; NaN for none."""
        places = np.log(self.numbers) if self.is_log else self.numbers
        low, high = np.nanmin(places), np.nanmax(places)
        found: NDArray[np.float64] = (places - low) / ((high - low) or 1.0)
        return found


@once_for_each_run  # several figures look at the same ones
def parameters_of(run: Run) -> tuple[Parameter, ...]:
    """The parameters that vary, the most important first; see `levels.parameter_effects`."""
    given = [result.point.as_dict() for result in run.results]
    return tuple(
        _parameter(run, effect.name, column_of(given, effect.name), effect.importance)
        for effect in report_of(run).effects
    )


def rates_of(run: Run) -> NDArray[np.float64]:
    """Shape (C,): the success rate of each config, in the order of `Run.results`."""
    return np.array([result.outcome.rate for result in run.results])


def even_sample(total: int, most: int) -> NDArray[np.intp]:
    """Places of at most so many of a ranking, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.intp))


def levels_shown(
    parameter: Parameter, rates: NDArray[np.float64]
) -> tuple[tuple[str, ...], tuple[NDArray[np.intp], ...], int]:
    """Labels and configs of each level of a parameter, and how many levels are left out.

    Numbers ascend and come first, what is no number follows from the highest mean rate to the
    lowest. Of more than `MOST_LEVELS` the most frequent stay.

    Args:
        parameter: which is shown as levels.
        rates: float64, shape (C,).
    """
    column = parameter.column
    counts = np.bincount(column.codes, minlength=len(column.values))
    often = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
    sums = np.bincount(column.codes, weights=rates, minlength=len(column.values))
    means, reals = sums / counts, column.reals

    def place(code: int) -> tuple[bool, float, int]:
        real = float(reals[code])
        return (True, -float(means[code]), code) if np.isnan(real) else (False, real, code)

    codes = sorted(often.tolist(), key=place)
    labels = tuple(clipped(label, LONGEST_LEVEL) for label in column.labels(codes))
    rows = tuple(np.flatnonzero(column.codes == code) for code in codes)
    return labels, rows, len(column.values) - len(codes)


def chosen(run: Run, names: Sequence[str]) -> tuple[Parameter, ...]:
    """The named ones among `parameters_of`.

    Raises:
        InputError: a name that is none of them.
    """
    known = {parameter.name: parameter for parameter in parameters_of(run)}
    for name in names:
        if name not in known:
            same = name in run.parameters
            raise InputError(
                "is the same in all configurations" if same else f"no parameter {name!r}",
                field=str(name) if same else "parameters",
                allowed=", ".join(known) or "none: no parameter differs between configurations",
                fix=nearest(str(name), known) if known and not same else None,
            )
    return tuple(known[name] for name in names)


def _parameter(run: Run, name: str, column: Column, importance: float | None) -> Parameter:
    numbers = np.where(np.abs(column.numbers) < HUGE, column.numbers, np.nan)
    finite = numbers[~np.isnan(numbers)]
    return Parameter(
        name,
        clipped(plain(name), LONGEST_NAME),
        column,
        numbers,
        is_number=_is_dense(np.unique(finite).size, finite.size),
        is_log=_is_log(run, name, finite),
        is_whole=bool((finite == np.floor(finite)).all()),
        importance=importance,
    )


def _is_dense(distinct: int, configs: int) -> bool:
    """Whether numbers are too many for levels: of a grid each has enough configs by itself."""
    if configs < 2 * distinct:
        return distinct > 1
    return distinct > (MOST_LEVELS if configs >= distinct * MIN_CONFIGS else MAX_LEVELS)


def _is_log(run: Run, name: str, numbers: NDArray[np.float64]) -> bool:
    if not numbers.size or numbers.min() < TINY:
        return False
    try:
        asked = {parameter.name: parameter for parameter in run.asked.parameters}
    except InputError:  # the copy of the space file is gone, or a file that it names
        asked = {}
    given = asked.get(name)
    if isinstance(given, Range):
        return given.log
    return bool(numbers.max() >= WIDE * numbers.min())
