"""The functions `xt.plot_*`: each draws runs, comparisons or outcomes with Plotly or matplotlib.

A figure that Optuna has, too, has the same name.
"""

# ruff: noqa: ARG001  # `_verb` reads `look`

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypedDict, Unpack

from xortune.comparisons.comparison import Comparison
from xortune.comparisons.samples import Numbered, SampleEfficiency, steps_until
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
from xortune.runs.run import Run, load_run

if TYPE_CHECKING:
    from xortune.reports.drawing.model import Plot


Backend = Literal["plotly", "matplotlib"]
Runlike = Run | str | os.PathLike[str]
P = ParamSpec("P")

BACKENDS = ("plotly", "matplotlib")


class Look(TypedDict, total=False):
    """How a figure is drawn: what all these functions take."""

    backend: Backend
    plain: bool


LOOK = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
    for name, default, kind in (("backend", "plotly", "Backend"), ("plain", False, "bool"))
)
"""The parameters of `Look`, with their defaults."""

ARGUMENTS = {
    "run": "with at least one finished config, or its directory.",
    "comparison": "what `compare` returns.",
    "outcomes": "what `compare` returns, an outcome of `evaluate`, or several by their names.",
    "top": "the number of configs that are shown.",
    "keys": "(beginnings of) keys of configs to show beside the best and the median one.",
    "parameters": "the names of two parameters; by default the two most important ones.",
    "number": "the name of the number; by default the one that the rule for success judges.",
    "statistic": "of the seeds: mean, iqm, median, q01 to q99.",
    "over": "what counts the steps: a number that seeds report, or `report`; by default the first of "
    "step, env_steps, timesteps, epoch and their like that all report.",
    "level": "that the number has to reach.",
    "backend": "`plotly` or `matplotlib`.",
    "plain": "draw no title and no note, for a paper that has its own caption.",
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
        own = inspect.signature(figure)
        names = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
        signature = own.replace(parameters=[*names, *LOOK])

        @functools.wraps(figure)
        def draw(*args: P.args, **kwargs: P.kwargs) -> Any:
            asked = signature.bind(*args, **kwargs)
            asked.apply_defaults()
            backend, plain = (asked.arguments.pop(one.name) for one in LOOK)
            problem = f"there is no backend {backend!r}"
            refuse_unknown(backend, BACKENDS, problem, field="backend")
            plot = figure(*asked.args, **asked.kwargs)  # type: ignore[arg-type]
            if plot is None:
                raise InputError(f"there is nothing to draw: {lacking}", field="run")
            plot = replace(plot, is_plain=bool(plain))
            if backend == "plotly":
                return plotly_figure(plot)
            import numpy as np

            axes = matplotlib_axes(plot)
            return axes[0] if len(axes) == 1 else np.array(axes, dtype=object)

        draw.__signature__ = signature  # type: ignore[attr-defined]
        draw.__doc__ = DOC.format(
            summary=inspect.getdoc(figure),
            arguments="\n".join(f"    {name}: {ARGUMENTS[name]}" for name in signature.parameters),
            lacking=f": {lacking}" if lacking else "",
        )
        return draw

    return drawing


@_verb()
def plot_ranking(run: Runlike, *, top: int = 12, **look: Unpack[Look]) -> Any:
    """The best configs with k/n, intervals and certified rates; the best subset is shaded."""
    return ranking.ranking(_loaded(run), _checked(top))


@_verb()
def plot_success_by_epoch(
    run: Runlike, *, keys: Sequence[str] | None = None, **look: Unpack[Look]
) -> Any:
    """The share of seeds solved by each epoch, with bands that hold for all epochs at once."""
    return distributions.success_by_epoch(_loaded(run), keys)


@_verb("no seed has a number of its own, or all have the same")
def plot_scores(run: Runlike, **look: Unpack[Look]) -> Any:
    """The share of seeds whose number is at least as good as x, with the limit of the rule."""
    return distributions.scores(_loaded(run))


@_verb("no seed yielded or reported the number twice")
def plot_learning_curves(
    outcomes: Numbered | Runlike,
    *,
    number: str | None = None,
    statistic: str | None = None,
    over: str | None = None,
    keys: Sequence[str] | None = None,
    **look: Unpack[Look],
) -> Any:
    """A number that seeds report during training: a statistic of them at each step, with a band.

    The band is the 95 % confidence interval of the statistic at each step by itself (pointwise), not
    the spread of the seeds. From its last report on a failed seed is worse than any number; a seed
    that ended sooner than others keeps its last number; the note counts both. The statistic is the
    one that is searched for or compared; else the IQM.
    """
    return distributions.learning_curves(
        _numbered(outcomes), number, statistic=statistic, over=over, keys=keys
    )


@_verb("no seed yielded or reported a number twice")
def plot_intermediate_values(
    run: Runlike, *, keys: Sequence[str] | None = None, **look: Unpack[Look]
) -> Any:
    """As `plot_learning_curves` of a run, under the name that Optuna gives it."""
    return distributions.learning_curves(_loaded(run), keys=keys)


@_verb()
def plot_sample_efficiency(
    outcomes: Numbered | Runlike,
    level: float,
    *,
    number: str | None = None,
    over: str | None = None,
    keys: Sequence[str] | None = None,
    **look: Unpack[Look],
) -> Any:
    """The share of seeds whose number has reached a level by each step, with a band for all steps."""
    efficiency = sample_efficiency(outcomes, level, number=number, over=over, keys=keys)
    told = distributions.told_by(_numbered(outcomes), number, keys or ())
    return distributions.steps_to_level(told[0] if told else (), efficiency)


def sample_efficiency(
    outcomes: Numbered | Runlike,
    level: float,
    *,
    number: str | None = None,
    statistic: str = "median",
    over: str | None = None,
    keys: Sequence[str] | None = None,
) -> SampleEfficiency:
    """How many steps seeds take until a number that they report reaches a level.

    Args:
        outcomes: what `compare` returns, an outcome of `evaluate`, several by their names, or a run:
            its best config and its median one.
        level: at least so much, or at most, where less is better.
        number: its name; by default the one that is compared or judged.
        statistic: of the steps over the seeds: mean, iqm, median, q01 to q99.
        over: what counts the steps, as of `plot_learning_curves`.
        keys: of a run (beginnings of) keys of further configs.

    Returns:
        The steps of each seed, infinite where it never reached the level (censored); a statistic of
        them with its 95 % interval; a table.

    Raises:
        InputError: no seed reported the number, or an argument is not valid.
    """
    told = distributions.told_by(_numbered(outcomes), number, keys or ())
    if told is None:
        raise InputError("no seed has a number", field="outcomes")
    return steps_until(told[1], level, over=over, statistic=statistic)


@_verb("fewer than two configurations with many seeds have one that failed, or they share no seeds")
def plot_same_seeds(run: Runlike, *, top: int = 10, **look: Unpack[Look]) -> Any:
    """Seeds by configs: whether the same seeds fail."""
    return seeds.same_seeds(_loaded(run), _checked(top))


@_verb("the journal does not note when results came, or the search took less than a minute")
def plot_timeline(run: Runlike, **look: Unpack[Look]) -> Any:
    """Which worker trained what and when, and where it was idle."""
    return history.timeline(_loaded(run))


@_verb()
def plot_seeds_spent(run: Runlike, **look: Unpack[Look]) -> Any:
    """How many seeds each config got in the race, and why it got no more."""
    return seeds.seeds_spent(_loaded(run))


@_verb()
def plot_failures(run: Runlike, *, top: int = 10, **look: Unpack[Look]) -> Any:
    """How the unsolved seeds ended: with a wrong pattern of outputs, diverged, crashed."""
    return seeds.failures(_loaded(run), _checked(top))


@_verb()
def plot_optimization_history(run: Runlike, **look: Unpack[Look]) -> Any:
    """The best so far, by the lower end of its interval, over the cost of the search."""
    return history.optimization_history(_loaded(run))


@_verb("no rate is required")
def plot_frontier(run: Runlike, **look: Unpack[Look]) -> Any:
    """The objective against the success rate, where a rate is required."""
    return frontier.frontier(_loaded(run))


@_verb("no config with the full seeds, or one objective only, which has no front")
def plot_pareto_front(run: Runlike, **look: Unpack[Look]) -> Any:
    """The configs on the Pareto front of the objectives, among all others."""
    return ranking.pareto_front(_loaded(run))


@_verb(
    "the run has noted no importance: it is computed when a search ends, from 10 configs or more, "
    "5 of them in the better tenth or as good as its last, unless too many are equally good"
)
def plot_param_importances(run: Runlike, **look: Unpack[Look]) -> Any:
    """Which parameters separate the better configs from the rest, with intervals over configs."""
    return over_parameters.param_importances(_loaded(run))


@_verb("no parameter differs between the configs that are finished")
def plot_slice(run: Runlike, **look: Unpack[Look]) -> Any:
    """The success rate of configs over each parameter."""
    return over_parameters.slices(_loaded(run))


@_verb("fewer than two parameters differ between the configs that are finished")
def plot_contour(
    run: Runlike, *, parameters: Sequence[str] | None = None, **look: Unpack[Look]
) -> Any:
    """The mean success rate of configs over two parameters."""
    return over_parameters.contour(_loaded(run), parameters)


@_verb("no parameter differs between the configs that are finished")
def plot_parallel_coordinate(run: Runlike, *, top: int = 200, **look: Unpack[Look]) -> Any:
    """The best configs, and as many others, as lines over their parameters, coloured by rate."""
    return over_parameters.parallel_coordinate(_loaded(run), _checked(top))


@_verb(
    "no decision surface: it needs the built-in network, the fused engine, a task with two inputs "
    "and a training of less than two seconds"
)
def plot_decision_surface(run: Runlike, **look: Unpack[Look]) -> Any:
    """The outputs of a solved and an unsolved seed of the best config, for a task with two inputs.

    Both seeds are trained again, in milliseconds.
    """
    return surface.decision_surface(_loaded(run))


@_verb()
def plot_differences(comparison: Comparison, **look: Unpack[Look]) -> Any:
    """The difference of success rates of every two contestants, with its interval."""
    return comparisons.differences(_of_runs(comparison))


@_verb()
def plot_wins(comparison: Comparison, **look: Unpack[Look]) -> Any:
    """Which contestant solves more seeds than which, after Holm's correction."""
    return comparisons.wins(_of_runs(comparison))


@_verb()
def plot_profile(comparison: Comparison, **look: Unpack[Look]) -> Any:
    """Epochs to solve: performance profiles, probability of improvement, interquartile means."""
    return comparisons.profile(_of_runs(comparison))


@_verb()
def plot_numbers(comparison: Comparison, *, number: str | None = None, **look: Unpack[Look]) -> Any:
    """A number of the seeds: profiles, probability of improvement, interquartile means."""
    return comparisons.numbers_profile(_of_runs(comparison), number)


@_verb("fewer than two configurations have seeds with a number, or all have the same")
def plot_strips(
    outcomes: Numbered | Runlike, *, number: str | None = None, **look: Unpack[Look]
) -> Any:
    """A number of each seed, side by side: of outcomes or a comparison, or of a run's best configs.

    Of outcomes with interquartile means and their intervals.
    """
    what = _numbered(outcomes)
    return distributions.strips(what) if isinstance(what, Run) else comparisons.strips(what, number)


@_verb()
def plot_intervals(outcomes: Numbered, *, number: str | None = None, **look: Unpack[Look]) -> Any:
    """Median, interquartile mean and mean of a number, with 95 % intervals."""
    return comparisons.intervals(outcomes, number)


@_verb()
def plot_improvement(outcomes: Numbered, *, number: str | None = None, **look: Unpack[Look]) -> Any:
    """How probable it is that a seed of one has a better number than a seed of another."""
    return comparisons.improvement(outcomes, number)


@_verb()
def plot_number_profile(
    outcomes: Numbered, *, number: str | None = None, **look: Unpack[Look]
) -> Any:
    """The share of seeds with a number at least as good as x: performance profiles."""
    return comparisons.number_profile(outcomes, number)


def _numbered(outcomes: Numbered | Runlike) -> Numbered | Run:
    return _loaded(outcomes) if isinstance(outcomes, Run | str | os.PathLike) else outcomes


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
