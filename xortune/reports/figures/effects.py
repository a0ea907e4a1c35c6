"""How the number that is looked for depends on each parameter, where success rates say nothing."""

from __future__ import annotations

import numpy as np

from xortune.core.formats import count, number, plain, span
from xortune.core.success import has_rule
from xortune.racing.objectives import numbers_in, statistic_value
from xortune.reports.analysis import report_of
from xortune.reports.document import cached_per_run
from xortune.reports.drawing.model import Axis, Mark, Panel, Plot, Series, shortened
from xortune.reports.figures.common import HUGE, plot_of
from xortune.reports.parameters import (
    ParameterColumn,
    ParameterEffect,
    columns_of,
    parameter_effects,
)
from xortune.runs.run import Run

MOST_CONFIGS = 2_000  # the best; the number of each is computed from all its seeds
MOST_PANELS, LONGEST_NAME = 6, 32


@cached_per_run
def number_effects(run: Run) -> tuple[str, tuple[ParameterEffect, ...]]:
    """The name of the number, and the effect of each parameter on its mean over configs.

    The number is the objective of a run without a rule, or the median of the judged number where no
    seed is solved. Without either the name is empty.
    """
    report, results = report_of(run), run.results[:MOST_CONFIGS]
    objective, score = report.looked_for, report.score
    if objective is not None and not has_rule(run.manifest.get("success")):
        name = objective.name
        amounts = [
            statistic_value(objective, numbers_in(one.outcome, objective.number or ""))
            for one in results
        ]
    elif score is not None and not report.totals.solved:
        name = f"{score.name}_median"
        amounts = [score.of(one.outcome)[0] for one in results]
    else:
        return "", ()
    values = np.array(amounts, np.float64)
    known = np.flatnonzero(np.abs(values) < HUGE)  # NaN is not
    if known.size < 2 or not np.ptp(values[known]):
        return "", ()
    columns = {
        parameter: ParameterColumn(column.values, column.codes[: len(results)][known])
        for parameter, column in columns_of(run).items()
    }
    varying = {one: c for one, c in columns.items() if np.unique(c.codes).size > 1}
    return name, parameter_effects(varying, values[known], {})


def number_slices(run: Run) -> Plot | None:
    """The mean of the number over configs at each level of each parameter; None without one."""
    name, effects = number_effects(run)
    shown = effects[:MOST_PANELS]
    if not shown:
        return None
    levels = [level for effect in shown for level in effect.levels]
    ends = [end for level in levels for end in (level.interval or (level.rate,))]
    room = 0.05 * (max(ends) - min(ends))
    axis = Axis(plain(name), limits=(min(ends) - room, max(ends) + room))  # the same in all panels
    panels = []
    for effect in shown:
        marks = tuple(
            Mark(
                float(place),
                level.rate,
                y_ends=level.interval,
                text=f"mean {number(level.rate)} of {count(level.configs, 'configuration')}"
                + (f", 95 % interval {span(*level.interval)}" if level.interval else ""),
            )
            for place, level in enumerate(effect.levels)
        )
        labels = tuple(shortened(level.label, LONGEST_NAME) for level in effect.levels)
        panels.append(
            Panel(
                Axis(shortened(effect.name, LONGEST_NAME), "category", categories=labels),
                axis,
                (Series("mean, with its 95 % interval", marks, marker="diamond"),),
                shortened(effect.name, LONGEST_NAME),
            )
        )
    return plot_of(
        "number-slices",
        *panels,
        columns=min(2 if len(shown) in (2, 4) else 3, len(shown)),
        name=plain(name),
        configs=sum(level.configs for level in shown[0].levels) + shown[0].left_out,
        first=shown[0],
        more=len(effects) - len(shown),
    )
