"""The functions `xt.plot_*`: each draws a run or a comparison with Plotly or matplotlib.

A figure that Optuna has, too, has the same name.
"""

# ruff: noqa: ARG001  # `_verb` reads `backend`

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

from xortune.comparisons.comparison import Comparison
from xortune.core.errors import InputError, check_type, refuse_unknown
from xortune.reports.drawing.matplotlib import matplotlib_axes
from xortune.reports.drawing.plotly import plotly_figure
from xortune.reports.figures import (
    comparisons,
    distributions,
    frontier,
    history,
    ranking,
    seeds,
    surface,
)
from xortune.reports.figures import parameters as over_parameters
from xortune.reports.figures.comparisons import Numbered
from xortune.runs.run import Run, load_run

if TYPE_CHECKING:
    from xortune.reports.drawing.model import Plot


Backend = Literal["plotly", "matplotlib"]
Runlike = Run | str | os.PathLike[str]
P = ParamSpec("P")

BACKENDS = ("plotly", "matplotlib")

ARGUMENTS = {
    "run": "with at least one finished config, or its directory.",
    "comparison": "what `compare` returns.",
    "outcomes": "what `compare` returns, an outcome of `evaluate`, or several by their names.",
    "top": "the number of configs that are shown.",
    "keys": "(beginnings of) keys of configs to show beside the best and the median one.",
    "parameters": "the names of two parameters; by default the two most important ones.",
    "number": "the name of the number; by default the one that the rule for success judges.",
    "backend": "`plotly` or `matplotlib`.",
}

DOC = """{summary}

Args:
{arguments}

Returns:
    A `plotly.graph_objects.Figure`; with matplotlib the Axes, as an array if the figure has several
    panels.

Raises:
    InputError: there is nothing to draw{lacking}; or an argument is not valid.
"""


def _verb(lacking: str = "") -> Callable[[Callable[P, Plot | None]], Callable[P, Any]]:
    """Make a function that draws from one that returns a `Plot`, or None, because of `lacking`."""

    def drawing(figure: Callable[P, Plot | None]) -> Callable[P, Any]:
        @functools.wraps(figure)
        def draw(*args: P.args, **kwargs: P.kwargs) -> Any:
            backend = kwargs.get("backend", "plotly")
            problem = f"there is no backend {backend!r}"
            refuse_unknown(backend, BACKENDS, problem, field="backend")
            plot = figure(*args, **kwargs)
            if plot is None:
                raise InputError(f"there is nothing to draw: {lacking}", field="run")
            if backend == "plotly":
                return plotly_figure(plot)
            import numpy as np

            axes = matplotlib_axes(plot)
            return axes[0] if len(axes) == 1 else np.array(axes, dtype=object)

        names = inspect.signature(figure).parameters
        draw.__doc__ = DOC.format(
            summary=inspect.getdoc(figure),
            arguments="\n".join(f"    {name}: {ARGUMENTS[name]}" for name in names),
            lacking=f": {lacking}" if lacking else "",
        )
        return draw

    return drawing


@_verb()
def plot_ranking(run: Runlike, *, top: int = 12, backend: Backend = "plotly") -> Any:
    """The best configs with k/n, intervals and certified rates; the best subset is shaded."""
    return ranking.ranking(_loaded(run), _checked(top))


@_verb()
def plot_success_by_epoch(
    run: Runlike, *, keys: Sequence[str] | None = None, backend: Backend = "plotly"
) -> Any:
    """The share of seeds solved by each epoch, with bands that hold for all epochs at once."""
    return distributions.success_by_epoch(_loaded(run), keys)


@_verb("no seed has a number of its own, or all have the same")
def plot_scores(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The share of seeds whose number is at least as good as x, with the limit of the rule."""
    return distributions.scores(_loaded(run))


@_verb("no seed yielded or reported a number twice")
def plot_intermediate_values(
    run: Runlike, *, keys: Sequence[str] | None = None, backend: Backend = "plotly"
) -> Any:
    """A trainer's own number during training: the median and the middle 80 % of the seeds."""
    return distributions.learning_curves(_loaded(run), keys)


@_verb("fewer than two configurations with many seeds have one that failed, or they share no seeds")
def plot_same_seeds(run: Runlike, *, top: int = 10, backend: Backend = "plotly") -> Any:
    """Seeds by configs: whether the same seeds fail."""
    return seeds.same_seeds(_loaded(run), _checked(top))


@_verb("the journal does not note when results came, or the search took less than a minute")
def plot_timeline(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """Which worker trained what and when, and where it was idle."""
    return history.timeline(_loaded(run))


@_verb()
def plot_seeds_spent(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """How many seeds each config got in the race, and why it got no more."""
    return seeds.seeds_spent(_loaded(run))


@_verb()
def plot_failures(run: Runlike, *, top: int = 10, backend: Backend = "plotly") -> Any:
    """How the unsolved seeds ended: with a wrong pattern of outputs, diverged, crashed."""
    return seeds.failures(_loaded(run), _checked(top))


@_verb()
def plot_optimization_history(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The best so far, by the lower end of its interval, over the cost of the search."""
    return history.optimization_history(_loaded(run))


@_verb("no rate is required")
def plot_frontier(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The objective against the success rate, where a rate is required."""
    return frontier.frontier(_loaded(run))


@_verb("no config with the full seeds, or one objective only, which has no front")
def plot_pareto_front(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The configs on the Pareto front of the objectives, among all others."""
    return ranking.pareto_front(_loaded(run))


@_verb(
    "the run has noted no importance: it is computed when a search ends, from 10 configs or more, "
    "5 of them in the better tenth or as good as its last, unless too many are equally good"
)
def plot_param_importances(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """Which parameters separate the better configs from the rest, with intervals over configs."""
    return over_parameters.param_importances(_loaded(run))


@_verb("no parameter differs between the configs that are finished")
def plot_slice(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The success rate of configs over each parameter."""
    return over_parameters.slices(_loaded(run))


@_verb("fewer than two parameters differ between the configs that are finished")
def plot_contour(
    run: Runlike, *, parameters: Sequence[str] | None = None, backend: Backend = "plotly"
) -> Any:
    """The mean success rate of configs over two parameters."""
    return over_parameters.contour(_loaded(run), parameters)


@_verb("no parameter differs between the configs that are finished")
def plot_parallel_coordinate(run: Runlike, *, top: int = 200, backend: Backend = "plotly") -> Any:
    """The best configs, and as many others, as lines over their parameters, coloured by rate."""
    return over_parameters.parallel_coordinate(_loaded(run), _checked(top))


@_verb(
    "no decision surface: it needs the built-in network, the fused engine, a task with two inputs "
    "and a training of less than two seconds"
)
def plot_decision_surface(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The outputs of a solved and an unsolved seed of the best config, for a task with two inputs.

    Both seeds are trained again, in milliseconds.
    """
    return surface.decision_surface(_loaded(run))


@_verb()
def plot_differences(comparison: Comparison, *, backend: Backend = "plotly") -> Any:
    """The difference of success rates of every two contestants, with its interval."""
    return comparisons.differences(_of_runs(comparison))


@_verb()
def plot_wins(comparison: Comparison, *, backend: Backend = "plotly") -> Any:
    """Which contestant solves more seeds than which, after Holm's correction."""
    return comparisons.wins(_of_runs(comparison))


@_verb()
def plot_profile(comparison: Comparison, *, backend: Backend = "plotly") -> Any:
    """Epochs to solve: performance profiles, probability of improvement, interquartile means."""
    return comparisons.profile(_of_runs(comparison))


@_verb()
def plot_numbers(
    comparison: Comparison, *, number: str | None = None, backend: Backend = "plotly"
) -> Any:
    """A number of the seeds: profiles, probability of improvement, interquartile means."""
    return comparisons.numbers_profile(_of_runs(comparison), number)


@_verb("fewer than two configurations have seeds with a number, or all have the same")
def plot_strips(
    outcomes: Numbered | Runlike, *, number: str | None = None, backend: Backend = "plotly"
) -> Any:
    """A number of each seed, side by side: of outcomes or a comparison, or of a run's best configs.

    Of outcomes with interquartile means and their intervals.
    """
    if isinstance(outcomes, Run | str | os.PathLike):
        return distributions.strips(_loaded(outcomes))
    return comparisons.strips(outcomes, number)


@_verb()
def plot_intervals(
    outcomes: Numbered, *, number: str | None = None, backend: Backend = "plotly"
) -> Any:
    """Median, interquartile mean and mean of a number, with 95 % intervals."""
    return comparisons.intervals(outcomes, number)


@_verb()
def plot_improvement(
    outcomes: Numbered, *, number: str | None = None, backend: Backend = "plotly"
) -> Any:
    """How probable it is that a seed of one has a better number than a seed of another."""
    return comparisons.improvement(outcomes, number)


@_verb()
def plot_number_profile(
    outcomes: Numbered, *, number: str | None = None, backend: Backend = "plotly"
) -> Any:
    """The share of seeds with a number at least as good as x: performance profiles."""
    return comparisons.number_profile(outcomes, number)


def _loaded(run: Runlike) -> Run:
    return run if isinstance(run, Run) else load_run(run)


def _of_runs(comparison: Comparison) -> Comparison:
    check_type(
        "comparison", comparison, Comparison, "what xortune.compare returns for two or more runs"
    )
    return comparison


def _checked(top: int) -> int:
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"{top!r}", field="top", allowed="a whole number, 1 or more")
    return top
