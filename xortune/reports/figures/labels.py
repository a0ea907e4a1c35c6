"""What figures share: labels of configs, varied parameters, which of many points are drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.errors import InputError, nearest
from xortune.core.formats import config_text, interval, measured, plain, value
from xortune.reports.tables import (
    MAX_LEVELS,
    MIN_CONFIGS,
    ParameterColumn,
    cached_per_run,
    column_of,
    differing,
    noted_importance,
    report_of,
    values_of,
)
from xortune.runs.results import ConfigResult, ConfigResults, counts_of
from xortune.runs.run import Run
from xortune.spaces.model import Range

# -------------------------------------------------------------------------------------------------
# What configs are called in figures: short beside an axis, in full where one points at them.

LONGEST, LONGEST_PART = 34, 16
"""Characters of a label, as many as find room beside a figure, and of one value in it."""

LONGEST_BESIDE = 40
"""Characters of a label in which counts stand too; the most that are drawn up a side."""

LONGEST_TEXT = 300
"""Characters of a config in a sentence, or where one points at it."""

KEY = 6
"""Digits of a key that tell configs apart to the eye; whoever can point sees all of it."""


def finished(run: Run) -> ConfigResults:
    """The results of a run that has some, best first.

    Raises:
        InputError: no config is finished yet.
    """
    if not run.results:
        raise InputError(
            "no configuration is finished yet",
            place=str(run.path),
            fix="let the search run for longer, or continue it with --resume",
        )
    return run.results


def clipped(text: str, most: int) -> str:
    """The text, or its beginning where it is longer."""
    return text if len(text) <= most else text[: most - 1] + "…"


def short_key(key: str) -> str:
    """The beginning of a key."""
    return key[:KEY]


def listed(
    run: Run, results: Sequence[ConfigResult], most: int = LONGEST
) -> tuple[str, tuple[str, ...]]:
    """What stands beside an axis of configs: its label, and a label for each of them.

    A config's label has the values of parameters in which these configs differ, a dash where it has
    none, and the key's beginning; the axis says which parameters they are. Of those that find no
    room the least important ones are left out, as far as the run's manifest knows, or the last.

    Args:
        run: whose configs they are.
        results: these.
        most: characters of a label.
    """
    differ = differing(results, run.parameters)
    importance = noted_importance(run.manifest) or {}
    rows = [_values(result, differ) for result in results]
    kept: list[int] = []
    for column in sorted(range(len(differ)), key=lambda at: -importance.get(differ[at], 0.0)):
        wanted = sorted([*kept, column])
        if all(len(_joined(row, wanted)) <= most - KEY - 3 for row in rows):
            kept = wanted
    named = [clipped(plain(differ[column]), LONGEST_PART) for column in kept]
    axis = " · ".join([*([", ".join(named)] if named else []), "key"])
    labels = [
        " · ".join(part for part in (_joined(row, kept), short_key(result.key)) if part)
        for row, result in zip(rows, results, strict=True)
    ]
    return axis, tuple(labels)


def _values(result: ConfigResult, names: Sequence[str]) -> list[str]:
    point = result.point
    return [clipped(value(point[n]), LONGEST_PART) if n in point else "–" for n in names]


def _joined(values: Sequence[str], columns: Sequence[int]) -> str:
    return ", ".join(values[column] for column in columns)


def same_in_all(results: Sequence[ConfigResult], names: Sequence[str]) -> str:
    """A sentence with what these configs have in common, and a blank before it; or nothing."""
    if len(results) < 2:
        return ""
    differ = differing(results, names)
    text = config_text(results[0].point, [name for name in names if name not in differ])
    return f" The same in all shown: {clipped(text, 160)}." if text else ""


def described(result: ConfigResult, names: Sequence[str]) -> str:
    """A config with all of these parameters and its key."""
    text = clipped(config_text(result.point, names), LONGEST_TEXT)
    return f"{text} ({result.key})" if text else result.key


def counted(k: int, n: int, low: float, high: float) -> str:
    """A rate as it is told: `63 of 64 seeds solved: 98.4 %, 95 % interval 91.7–99.8 %`."""
    shown = f"{measured(k / n, low, high)}, 95 % interval {interval(low, high)}"
    return f"{k:,} of {n:,} seeds solved: {shown}"


def shown_n(results: Sequence[ConfigResult]) -> str:
    """How many seeds these configs have: `512`, or `8 to 512`."""
    return shown_range(counts_of(results).n.tolist())


def shown_range(sizes: Sequence[int]) -> str:
    """`512`, or `8 to 512`."""
    low, high = f"{min(sizes):,}", f"{max(sizes):,}"
    return low if low == high else f"{low} to {high}"


# -------------------------------------------------------------------------------------------------
# The parameters that differ between a run's configs, as the figures of parameters see them.

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
    column: ParameterColumn
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


@cached_per_run  # several figures look at the same ones
def parameters_of(run: Run) -> tuple[Parameter, ...]:
    """The parameters that vary, the most important first; see `tables.parameter_effects`."""
    return tuple(
        _parameter(
            run, effect.name, column_of(values_of(run.results, effect.name)), effect.importance
        )
        for effect in report_of(run).effects
    )


def rates_of(run: Run) -> NDArray[np.float64]:
    """Shape (C,): the success rate of each config, in the order of `Run.results`."""
    return run.results.counts.rate


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


def _parameter(run: Run, name: str, column: ParameterColumn, importance: float | None) -> Parameter:
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


# -------------------------------------------------------------------------------------------------
# Which of very many points are drawn: few enough to be seen, and never without the extremes.

MOST = 1000
"""More points than these are not told apart."""

RULE = "the highest, the lowest and two in between of each of {parts:,} equal parts of the order"
"""What `thinned` keeps, for the note of a figure."""


def thinned(values: ArrayLike, always: Collection[int] = (), most: int = MOST) -> NDArray[np.intp]:
    """The places of those points that are drawn, ascending; all of them if there are few.

    Args:
        values: shape (m,), in the order in which they are drawn.
        always: places that are kept in any case.
        most: how many are all right, `always` aside; four at least.

    Returns:
        Of each of most / 4 equal parts of the order the first highest, the first lowest, the first
        point and the middle one, where these are different points.
    """
    given = np.asarray(values, np.float64)
    if given.size <= most:
        return np.arange(given.size)
    kept = set(always)
    for part in np.array_split(np.arange(given.size), most // 4):
        seen = given[part]
        kept |= {int(part[i]) for i in (seen.argmax(), seen.argmin(), 0, len(part) // 2)}
    return np.array(sorted(kept), np.intp)
