"""Success over two parameters at once, among the configs visited: a heat map of mean rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.formats import count, percent
from xortune.reports.figures.labels import Parameter, chosen, levels_shown, parameters_of, rates_of
from xortune.reports.plot import Axis, Cells, Panel, Plot
from xortune.reports.tables import MIN_CONFIGS, quantile_bins
from xortune.runs.run import Run

FEWEST_BINS, MOST_BINS, IN_A_CELL = 3, 8, 10
"""Numbers are cut into as many bins as leave so many configs to a cell, within the two."""


def contour(run: Run, parameters: Sequence[str] | None = None) -> Plot | None:
    """The mean success rate of the configs at each pair of values of two parameters.

    Each config counts once, however many seeds it had; in each cell stands how many there are.

    Args:
        run: whose configs.
        parameters: two names, along and upwards. By default the two that matter most: of the
            largest importance, or whose levels lie furthest apart where the run knows none.

    Returns:
        None if fewer than two parameters differ between configs, and none are named.

    Raises:
        InputError: not two names, one name twice, or one that no config differs in.
    """
    if parameters is None:
        pair = parameters_of(run)[:2]
        if len(pair) < 2:
            return None
    else:
        if isinstance(parameters, str) or len(set(parameters)) != 2 or len(parameters) != 2:
            raise InputError(
                f"{parameters!r}", field="parameters", allowed="the names of two parameters"
            )
        pair = chosen(run, parameters)
    rates = rates_of(run)
    along, upwards = (_side(parameter, rates) for parameter in pair)
    upwards = upwards.reversed() if np.isfinite(pair[1].numbers).any() else upwards
    return _plot(run, pair, (along, upwards), rates)


@dataclass(frozen=True, eq=False)
class _ContourAxis:
    """One side of the map.

    Attributes:
        labels: of its rows or columns.
        which: intp, shape (C,): the one of each config; -1 for none.
        left_out: how many values have none.
    """

    labels: tuple[str, ...]
    which: NDArray[np.intp]
    left_out: int

    def reversed(self) -> _ContourAxis:
        """The last one first: on an axis of labels the first is at the top."""
        last = len(self.labels) - 1
        which = np.where(self.which < 0, -1, last - self.which)
        return _ContourAxis(self.labels[::-1], which, self.left_out)


def _side(parameter: Parameter, rates: NDArray[np.float64]) -> _ContourAxis:
    which = np.full(len(rates), -1, dtype=np.intp)
    if not parameter.is_number:
        labels, rows, left_out = levels_shown(parameter, rates)
        for place, of in enumerate(rows):
            which[of] = place
        return _ContourAxis(labels, which, left_out)
    numeric = np.flatnonzero(np.isfinite(parameter.numbers))
    wanted = int((len(rates) / IN_A_CELL) ** 0.5)
    bins = quantile_bins(parameter.numbers[numeric], min(MOST_BINS, max(FEWEST_BINS, wanted)))
    which[numeric] = bins.which
    labels = bins.labels
    rest = np.flatnonzero(which < 0)
    if rest.size:  # not active, or no number
        which[rest] = len(labels)
        labels = (*labels, "(no number)")
    return _ContourAxis(labels, which, 0)


def _plot(
    run: Run,
    pair: Sequence[Parameter],
    sides: tuple[_ContourAxis, _ContourAxis],
    rates: NDArray[np.float64],
) -> Plot:
    x, y = sides
    shape = (len(y.labels), len(x.labels))
    both = np.flatnonzero((x.which >= 0) & (y.which >= 0))
    places = y.which[both] * shape[1] + x.which[both]
    configs = np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(places, weights=rates[both], minlength=shape[0] * shape[1]).reshape(shape)
    means = np.divide(sums, configs, out=np.full(shape, np.nan), where=configs > 0)
    names = tuple(parameter.label for parameter in pair)
    cells = Cells(
        x=tuple(column - 0.5 for column in range(shape[1] + 1)),
        y=tuple(row - 0.5 for row in range(shape[0] + 1)),
        # The one NaN, so that equal figures are equal.
        values=tuple(
            tuple(math.nan if math.isnan(mean) else mean for mean in row) for row in means.tolist()
        ),
        value_label="mean success rate",
        texts=tuple(tuple(f"{n:,}" if n else "" for n in row) for row in configs.tolist()),
        notes=tuple(
            tuple(
                f"{names[1]} {up}, {names[0]} {right}: {_told(means[i, j], configs[i, j])}"
                for j, right in enumerate(x.labels)
            )
            for i, up in enumerate(y.labels)
        ),
    )
    known = _known(run, pair)
    if any(parameter.is_number for parameter in pair):
        known += "; numbers in bins with about as many configurations each"
    return Plot(
        name="contour",
        title=f"Success by {names[0]} and {names[1]}, among the configurations visited",
        alt=_finding(names, sides, means, configs),
        note=_note(both.size, len(rates), sides, known),
        panels=(
            Panel(
                Axis(names[0], "category", categories=x.labels),
                Axis(names[1], "category", categories=y.labels),
                (cells,),
            ),
        ),
    )


def _told(mean: float, configs: int) -> str:
    if not configs:
        return "no configuration"
    return f"mean {percent(float(mean))} of {count(int(configs), 'configuration')}"


def _finding(
    names: tuple[str, ...],
    sides: tuple[_ContourAxis, _ContourAxis],
    means: NDArray[np.float64],
    configs: NDArray[np.intp],
) -> str:
    without = int((configs == 0).sum())
    empty = f" {count(without, 'cell')} of {configs.size:,} without one." if without else ""
    least = MIN_CONFIGS if (configs >= MIN_CONFIGS).any() else 1
    which = (
        f"Of the cells with at least {MIN_CONFIGS} configurations, the mean rate is"
        if least > 1
        else f"No cell has {MIN_CONFIGS} configurations; the mean rate is"
    )
    enough = np.where(configs >= least, means, np.nan)
    if np.nanmax(enough) == np.nanmin(enough):
        return f"{which} {percent(float(np.nanmax(enough)))} in each.{empty}"
    parts = []
    for word, place in (("highest", np.nanargmax(enough)), ("lowest", np.nanargmin(enough))):
        row, column = divmod(int(place), configs.shape[1])
        parts.append(
            f"{word} at {names[0]} {sides[0].labels[column]} and {names[1]} "
            f"{sides[1].labels[row]} ({_told(means[row, column], configs[row, column])})"
        )
    return f"{which} {parts[0]}, {parts[1]}.{empty}"


def _known(run: Run, pair: Sequence[Parameter]) -> str:
    most = [parameter.name for parameter in parameters_of(run)[:2]]
    if [parameter.name for parameter in pair] != most:
        return "the two that were asked for"
    if all(parameter.importance is not None for parameter in pair):
        return "the two of the largest importance"
    return "the two whose levels lie furthest apart, by what importance there is first"


def _note(shown: int, total: int, sides: tuple[_ContourAxis, _ContourAxis], known: str) -> str:
    some = "" if shown == total else f" of {total:,}"
    left_out = sum(side.left_out for side in sides)
    others = f" {count(left_out, 'other value')} not shown." if left_out else ""
    return (
        f"n = {shown:,}{some} configurations, each counted once; in each cell stands how many it "
        f"has, and cells are empty where none was visited. Shown: {known}.{others} A cell has no "
        "interval here: few configurations in it say little, and they differ in all other "
        "parameters too."
    )
