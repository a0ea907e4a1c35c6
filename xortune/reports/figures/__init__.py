"""The figures of a run: each is a function that takes the run and returns a `Plot`.

They draw nothing. Each raises `InputError` where no config is finished, or a file of the run is
damaged. `known_figures` lists those of a report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from xortune.core.plugins import installed
from xortune.core.success import has_rule
from xortune.reports.document import cached_per_run, without_rule
from xortune.reports.drawing.model import Plot
from xortune.reports.figures import (
    comparisons,
    distributions,
    frontier,
    history,
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


@dataclass(frozen=True)
class Figure:
    """A figure of a report. A package adds one as an entry point of `xortune.figures`.

    Attributes:
        name: of its `Plot`, and of its files.
        section: of run.md.jinja, where it stands; `folded`: the template places it by its name;
            `more`: at the end.
        make: draws nothing: makes the `Plot` of a run, or None if it has nothing to show.
        is_shown: whether it has something to show, of a run and its counts.
    """

    name: str
    section: str
    make: Callable[[Run], Plot | None]
    is_shown: Callable[[Run, Counts], Any] = lambda *_: True


# Where nothing was solved, all rates are alike; without a rule they say little.
def _solved(run: Run, counts: Counts) -> bool:
    return _has_rule(run) and bool(counts.k.any())


# How the search of imported results went is unknown.
def _searched(run: Run, counts: Counts) -> bool:
    return not is_imported(run.manifest) and len(counts.k) > 1


def _rates_differ(run: Run, counts: Counts) -> bool:
    return _has_rule(run) and bool(np.ptp(counts.rate))


FIGURES = (
    Figure("ranking", "finalists", ranking.ranking, _solved),
    Figure(
        "intervals", "finalists", comparisons.intervals_of_best, lambda run, _: not _has_rule(run)
    ),
    Figure("frontier", "required", frontier.frontier),
    Figure(
        "success-by-epoch",
        "epochs",
        distributions.success_by_epoch,
        lambda _, counts: counts.k.any() and counts.epochs.any(),
    ),
    Figure("scores", "folded", distributions.scores),
    Figure("learning-curves", "curves", distributions.learning_curves),
    Figure(
        "seeds-spent",
        "seeds",
        seeds.seeds_spent,
        lambda run, counts: not is_imported(run.manifest) and np.ptp(counts.n),
    ),
    Figure("failures", "failures", seeds.failures, lambda run, _: seeds.ends_known(run)),
    Figure(
        "history",
        "seeds",
        history.optimization_history,
        lambda run, counts: _searched(run, counts) and _solved(run, counts),
    ),
    Figure(
        "number-history",
        "seeds",
        history.number_history,
        lambda run, counts: _searched(run, counts) and not _has_rule(run),
    ),
    Figure("front", "front", ranking.pareto_front),
    Figure("strips", "numbers", distributions.strips),
    Figure("same-seeds", "failures", seeds.same_seeds),
    Figure("timeline", "seeds", history.timeline),
    Figure("importance", "parameters", parameters.param_importances),
    Figure("number-slices", "parameters", parameters.number_slices),
    Figure("slices", "parameters", parameters.slices, _rates_differ),
    Figure("contour", "folded", parameters.contour, _rates_differ),
    Figure("parallel-coordinate", "folded", parameters.parallel_coordinate, _rates_differ),
    Figure("decision-surface", "folded", surface.decision_surface),
)
"""xortune's own figures, in the order of a report."""


def known_figures() -> tuple[Figure, ...]:
    """The figures that a report may have; those of installed packages last."""
    return installed("xortune.figures", Figure, FIGURES)


@cached_per_run  # the report, its page and its files ask for them
def figures_of(run: Run) -> tuple[Plot, ...]:
    """The figures that have something to show; none if no config is finished."""
    if not run.results:
        return ()
    counts = run.results.counts
    plots = (figure.make(run) for figure in known_figures() if figure.is_shown(run, counts))
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
