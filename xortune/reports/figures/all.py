"""All figures of a run: those for which it has data, in the order of a report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xortune.reports.figures.epochs import success_by_epoch
from xortune.reports.figures.failures import failures
from xortune.reports.figures.front import pareto_front
from xortune.reports.figures.history import optimization_history
from xortune.reports.figures.parameters import (
    contour,
    parallel_coordinate,
    param_importances,
    slices,
)
from xortune.reports.figures.ranking import ranking
from xortune.reports.figures.seeds import seeds_spent
from xortune.reports.figures.surface import decision_surface
from xortune.reports.plot import Plot
from xortune.runs.manifest import is_imported
from xortune.runs.run import Run


def _rates_differ(run: Run) -> bool:
    return bool(np.ptp(run.results.counts.rate))


def _epochs_counted(run: Run) -> bool:
    counts = run.results.counts
    return bool(counts.k.any() and counts.epochs.any())


def _seeds_differ(run: Run) -> bool:
    """Whether the search gave some configs more seeds; of what was imported nobody knows."""
    return not is_imported(run.manifest) and bool(np.ptp(run.results.counts.n))


def _has_history(run: Run) -> bool:
    some = len(run.results) > 1 and bool(run.results.counts.k.any())
    return some and not is_imported(run.manifest)


FIGURES: tuple[tuple[Callable[[Run], Plot | None], Callable[[Run], bool]], ...] = (
    (ranking, lambda _: True),
    (success_by_epoch, _epochs_counted),
    (seeds_spent, _seeds_differ),
    (failures, lambda run: bool((run.results.counts.k < run.results.counts.n).any())),
    (optimization_history, _has_history),
    (pareto_front, lambda _: True),
    (param_importances, lambda _: True),
    (slices, _rates_differ),
    (contour, _rates_differ),
    (parallel_coordinate, _rates_differ),
    (decision_surface, lambda _: True),
)
"""Each figure, and whether a run has anything that it would show."""


def figures_of(run: Run) -> tuple[Plot, ...]:
    """Every figure that says something of this run; none if no config is finished.

    Raises:
        InputError: the run's blocks contradict each other, or its certificate is damaged.
    """
    if not run.results:
        return ()
    found = (figure(run) for figure, says_something in FIGURES if says_something(run))
    return tuple(plot for plot in found if plot is not None)
