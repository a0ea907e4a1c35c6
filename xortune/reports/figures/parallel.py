"""Parallel coordinates: a line for each config, over one axis for each parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, number, percent
from xortune.reports.figures.labels import (
    Parameter,
    described,
    even_sample,
    levels_shown,
    parameters_of,
    rates_of,
)
from xortune.reports.plot import Axis, Lines, Panel, Plot, Points, Rule
from xortune.reports.tables import varying
from xortune.runs.run import Run

MOST_AXES = 10

NOWHERE = -0.12
"""Where a line passes an axis of which its config has no value."""


def parallel_coordinate(run: Run, top: int = 200) -> Plot | None:
    """The parameters of many configs at once, each a line coloured by its success rate.

    Args:
        run: whose configs.
        top: so many of the best are shown, and at most as many of the others, evenly spaced in the
            order; 1 or more.

    Returns:
        None if no parameter differs between configs.
    """
    parameters = parameters_of(run)
    axes = parameters[:MOST_AXES]
    if not axes:
        return None
    rates = rates_of(run)
    shown = _shown(len(rates), top)
    sides = [*(_side(parameter, rates) for parameter in axes)]
    sides.append(_ParallelAxis("success rate", ((0.0, "0 %"), (1.0, "100 %")), rates))
    heights = np.stack([side.heights for side in sides], axis=1)[shown]
    absent = bool(np.isnan(heights).any())
    heights[np.isnan(heights)] = NOWHERE
    names = varying(run)
    results = [run.results[place] for place in shown]
    lines = Lines(
        x=tuple(float(place) for place in range(len(axes) + 1)),
        ys=tuple(tuple(row) for row in heights.round(6).tolist()),
        values=tuple(rates[shown].tolist()),
        value_label="success rate",
        texts=tuple(
            f"{described(r, names)}: {r.outcome.successes:,} of {r.outcome.n:,} seeds solved"
            for r in results
        ),
        keys=tuple(result.key for result in results),
    )
    rules = [Rule("x", float(place)) for place in range(len(axes) + 1)]
    rules += [Rule("y", NOWHERE, "no value here")] if absent else []
    return Plot(
        name="parallel-coordinate",
        title=_title(len(shown), len(rates)),
        alt=_alt(axes, rates),
        note=_note(parameters, len(shown), len(rates), top),
        panels=(
            Panel(
                Axis("parameter", "category", categories=tuple(side.name for side in sides)),
                Axis(
                    "lowest to highest value",
                    "number",
                    (NOWHERE - 0.05 if absent else -0.05, 1.05),
                ),
                (*rules, lines, _names(sides)),
            ),
        ),
    )


def _shown(total: int, top: int) -> NDArray[np.intp]:
    """Places in the order, the best last: what is drawn last lies on top."""
    best = np.arange(min(top, total))
    others = np.arange(total)[top:]
    if others.size:
        others = others[even_sample(others.size, top)]
    return np.concatenate([best, others])[::-1]


@dataclass(frozen=True, eq=False)
class _ParallelAxis:
    """One axis among the others.

    Attributes:
        name: below it.
        marks: (place from 0 to 1, what it means there).
        heights: shape (C,): where on it each config is; NaN: nowhere.
    """

    name: str
    marks: tuple[tuple[float, str], ...]
    heights: NDArray[np.float64]


def _side(parameter: Parameter, rates: NDArray[np.float64]) -> _ParallelAxis:
    if parameter.is_number:
        finite = parameter.numbers[np.isfinite(parameter.numbers)]
        name = f"{parameter.label} (log)" if parameter.is_log else parameter.label
        ends = ((0.0, number(float(finite.min()))), (1.0, number(float(finite.max()))))
        return _ParallelAxis(name, ends, parameter.scaled())
    labels, rows, _ = levels_shown(parameter, rates)
    if not np.isfinite(parameter.numbers).any():  # the one of the highest mean rate at the top
        labels, rows = labels[::-1], rows[::-1]
    marks = tuple((_height(place, len(labels)), label) for place, label in enumerate(labels))
    heights = np.full(len(rates), np.nan)
    for (height, _), of in zip(marks, rows, strict=True):
        heights[of] = height
    return _ParallelAxis(parameter.label, marks, heights)


def _height(place: int, levels: int) -> float:
    return place / (levels - 1) if levels > 1 else 0.5


def _names(sides: Sequence[_ParallelAxis]) -> Points:
    """What the places on each axis mean."""
    marks = [(column, *mark) for column, side in enumerate(sides) for mark in side.marks]
    return Points(
        "",
        x=tuple(float(column) for column, _, _ in marks),
        y=tuple(height for _, height, _ in marks),
        role="muted",
        marker="ring",
        texts=tuple(text for *_, text in marks),
        written=True,
    )


def _title(shown: int, total: int) -> str:
    if shown == total:
        return f"All {count(total, 'configuration')}, over their parameters"
    return f"{shown:,} of {total:,} configurations, over their parameters"


def _alt(axes: tuple[Parameter, ...], rates: NDArray[np.float64]) -> str:
    """Where the best tenth lies on each axis of numbers, and which values it has of the others."""
    best = min(len(rates), max(3, len(rates) // 10))
    parts = []
    for parameter in axes[:4]:
        if parameter.is_number:
            numbers = parameter.numbers[:best]
            numbers = numbers[np.isfinite(numbers)]
            if numbers.size:
                low, high = number(float(numbers.min())), number(float(numbers.max()))
                parts.append(f"{parameter.label} {low} to {high}")
        else:
            labels, rows, _ = levels_shown(parameter, rates)
            often = [int((of < best).sum()) for of in rows]
            most = int(np.argmax(often))
            parts.append(f"{parameter.label} {labels[most]} in {often[most]:,} of {best:,}")
    worst = percent(float(rates[:best].min()))
    return (
        f"The best {count(best, 'configuration')} of {len(rates):,} (rates from {worst}) have "
        f"{'; '.join(parts)}."
    )


def _note(parameters: tuple[Parameter, ...], shown: int, total: int, top: int) -> str:
    if shown == total:
        which = f"n = {count(total, 'configuration')}, all that were visited"
    else:
        others = shown - min(top, total)
        which = (
            f"n = {total:,} configurations visited; shown are the best {min(top, total):,} and "
            f"{others:,} of the others, evenly spaced in the order"
        )
    more = len(parameters) - MOST_AXES
    axes = f" {count(more, 'less important parameter')} not shown." if more > 0 else ""
    return (
        f"{which}; a line's colour is its success rate, which has no interval here. Axes of "
        "numbers run from the lowest value visited to the highest; others have a ring for each "
        f"value, by its mean rate.{axes} Where lines are dense, the search has often been: that "
        "is no evidence that it is better there."
    )
