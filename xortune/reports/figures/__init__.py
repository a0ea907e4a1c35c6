"""The figures of a run: each is a function that takes the run and returns a `Plot`.

They draw nothing. Each raises `InputError` where no config is finished, or a file of the run is
damaged. `FIGURES` lists those of a report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from xortune.core.success import has_rule
from xortune.reports.document import cached_per_run, without_rule
from xortune.reports.drawing.model import Plot
from xortune.reports.figures import (
    distributions,
    effects,
    frontier,
    history,
    numbers,
    parameters,
    ranking,
    seeds,
    surface,
)
from xortune.runs.manifest import is_imported
from xortune.runs.results import Counts
from xortune.runs.run import Run


def _has_rule(run: Run) -> bool:
    return has_rule(run.manifest.get("success"))


FIGURES: tuple[tuple[Callable[[Run], Plot | None], Callable[[Run, Counts], Any]], ...] = (
    # Where nothing was solved, all rates are alike; without a rule they say little.
    (ranking.ranking, lambda run, counts: counts.k.any() and _has_rule(run)),
    (numbers.intervals_of_best, lambda run, _: not _has_rule(run)),
    (frontier.frontier, lambda *_: True),
    (distributions.success_by_epoch, lambda _, counts: counts.k.any() and counts.epochs.any()),
    (distributions.scores, lambda *_: True),
    (distributions.learning_curves, lambda *_: True),
    # How the search of imported results went is unknown.
    (seeds.seeds_spent, lambda run, counts: not is_imported(run.manifest) and np.ptp(counts.n)),
    (seeds.failures, lambda run, _: seeds.ends_known(run)),
    (
        history.optimization_history,
        lambda run, counts: (
            _has_rule(run)
            and not is_imported(run.manifest)
            and len(counts.k) > 1
            and counts.k.any()
        ),
    ),
    (
        history.number_history,
        lambda run, counts: (
            not _has_rule(run) and not is_imported(run.manifest) and len(counts.k) > 1
        ),
    ),
    (ranking.pareto_front, lambda *_: True),
    (distributions.strips, lambda *_: True),
    (seeds.same_seeds, lambda *_: True),
    (history.timeline, lambda *_: True),
    (parameters.param_importances, lambda *_: True),
    (effects.number_slices, lambda *_: True),
    (parameters.slices, lambda run, counts: _has_rule(run) and np.ptp(counts.rate)),
    (parameters.contour, lambda run, counts: _has_rule(run) and np.ptp(counts.rate)),
    (parameters.parallel_coordinate, lambda run, counts: _has_rule(run) and np.ptp(counts.rate)),
    (surface.decision_surface, lambda *_: True),
)
"""Each figure in the order of a report, and whether it has anything to show of a run's counts."""


@cached_per_run  # the report, its page and its files ask for them
def figures_of(run: Run) -> tuple[Plot, ...]:
    """The figures that have something to show; none if no config is finished."""
    if not run.results:
        return ()
    counts = run.results.counts
    plots = (figure(run) for figure, is_shown in FIGURES if is_shown(run, counts))
    drawn = tuple(plot for plot in plots if plot is not None)
    return drawn if _has_rule(run) else _without_rule(drawn)


def _without_rule(thing: Any) -> Any:
    """The same with all texts as of a run in which seeds only finish."""
    if isinstance(thing, str):
        return without_rule(thing)
    if isinstance(thing, tuple):
        parts = map(_without_rule, thing)
        return type(thing)(*parts) if hasattr(thing, "_fields") else tuple(parts)
    if is_dataclass(thing) and not isinstance(thing, type):
        # A role is no text: it decides the colour.
        names = [one.name for one in fields(thing) if one.init and one.name != "role"]
        return replace(thing, **{name: _without_rule(getattr(thing, name)) for name in names})
    return thing
