"""All figures of a run: those for which it has data, in the order of a report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xortune.core.outcome import Status
from xortune.reports.figures import (
    distributions,
    front,
    history,
    parameters,
    ranking,
    seeds,
    surface,
)
from xortune.reports.plot import Plot
from xortune.reports.tables import report_of
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


def _failures_known(run: Run) -> bool:
    """Whether it is known how a seed failed: else there would be a bar of one colour."""
    found = report_of(run).failures
    ended = {status for status, n in found.counts.items() if n}
    return bool(found.patterns or ended - {Status.SOLVED, Status.WRONG_PATTERN})


FIGURES: tuple[tuple[Callable[[Run], Plot | None], Callable[[Run], bool]], ...] = (
    (ranking.ranking, lambda _: True),
    (distributions.success_by_epoch, _epochs_counted),
    (distributions.scores, lambda _: True),
    (distributions.learning_curves, lambda _: True),
    (seeds.seeds_spent, _seeds_differ),
    (seeds.failures, _failures_known),
    (history.optimization_history, _has_history),
    (front.pareto_front, lambda _: True),
    (parameters.param_importances, lambda _: True),
    (parameters.slices, _rates_differ),
    (parameters.contour, _rates_differ),
    (parameters.parallel_coordinate, _rates_differ),
    (surface.decision_surface, lambda _: True),
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
