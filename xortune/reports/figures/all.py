"""All figures of a run: those for which it has data, in the order of a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xortune.reports.figures import distributions, history, parameters, ranking, seeds, surface
from xortune.reports.plot import Plot
from xortune.reports.tables import cached_per_run
from xortune.runs.manifest import is_imported
from xortune.runs.results import Counts
from xortune.runs.run import Run

FIGURES: tuple[tuple[Callable[[Run], Plot | None], Callable[[Run, Counts], Any]], ...] = (
    (ranking.ranking, lambda *_: True),
    (distributions.success_by_epoch, lambda _, counts: counts.k.any() and counts.epochs.any()),
    (distributions.scores, lambda *_: True),
    (distributions.learning_curves, lambda *_: True),
    # Of what was imported nobody knows what the search did.
    (seeds.seeds_spent, lambda run, counts: not is_imported(run.manifest) and np.ptp(counts.n)),
    (seeds.failures, lambda run, _: seeds.ends_known(run)),
    (
        history.optimization_history,
        lambda run, counts: not is_imported(run.manifest) and len(counts.k) > 1 and counts.k.any(),
    ),
    (ranking.pareto_front, lambda *_: True),
    (parameters.param_importances, lambda *_: True),
    (parameters.slices, lambda _, counts: np.ptp(counts.rate)),
    (parameters.contour, lambda _, counts: np.ptp(counts.rate)),
    (parameters.parallel_coordinate, lambda _, counts: np.ptp(counts.rate)),
    (surface.decision_surface, lambda *_: True),
)
"""Each figure, and whether a run with these counts has anything that it would show."""


@cached_per_run  # another process may draw them
def figures_of(run: Run) -> tuple[Plot, ...]:
    """Every figure that says something of this run; none if no config is finished."""
    if not run.results:
        return ()
    counts = run.results.counts
    found = (figure(run) for figure, says_something in FIGURES if says_something(run, counts))
    return tuple(plot for plot in found if plot is not None)
