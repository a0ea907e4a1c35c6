"""All figures of a run: those for which it has data, in the order of a report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xortune.reports.figures.contour import contour
from xortune.reports.figures.epochs import success_by_epoch
from xortune.reports.figures.failures import failures
from xortune.reports.figures.front import pareto_front
from xortune.reports.figures.history import optimization_history
from xortune.reports.figures.importances import param_importances
from xortune.reports.figures.parallel import parallel_coordinate
from xortune.reports.figures.ranking import ranking
from xortune.reports.figures.seeds import seeds_spent
from xortune.reports.figures.slices import slices
from xortune.reports.figures.surface import decision_surface
from xortune.reports.plot import Plot
from xortune.runs.manifest import is_imported
from xortune.runs.run import Run


def _searched(run: Run) -> bool:
    """Whether order and number of seeds are a search's; of what was imported nobody knows."""
    return not is_imported(run.manifest)


def _rates_differ(run: Run) -> bool:
    return np.unique(run.results.counts.rate).size > 1


FIGURES: tuple[tuple[Callable[[Run], Plot | None], Callable[[Run], bool]], ...] = (
    (ranking, lambda _: True),
    (success_by_epoch, lambda run: _solved(run) > 0 and _counts_epochs(run)),
    (seeds_spent, lambda run: _searched(run) and np.unique(run.results.counts.n).size > 1),
    (failures, lambda run: _solved(run) < run.results.counts.n.sum()),
    (
        optimization_history,
        lambda run: _searched(run) and _solved(run) > 0 and len(run.results) > 1,
    ),
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
        InputError: the run's blocks contradict each other, or its manifest or certificate is
            damaged.
    """
    if not run.results:
        return ()
    found = (figure(run) for figure, says_something in FIGURES if says_something(run))
    return tuple(plot for plot in found if plot is not None)


def _counts_epochs(run: Run) -> bool:
    return bool(run.results.counts.epochs.any())


def _solved(run: Run) -> int:
    return int(run.results.counts.k.sum())
