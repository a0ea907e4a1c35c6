"""The verbs that draw: each takes a run or a comparison and returns a Plotly figure, or Axes.

Where Optuna has the same figure it has the same name.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from xortune.comparisons.reference import Comparison
from xortune.comparisons.runs import RunComparison
from xortune.core.errors import InputError, nearest
from xortune.reports.drawing.matplotlib import matplotlib_axes
from xortune.reports.drawing.plotly import plotly_figure
from xortune.reports.figures.comparisons import (
    agreement,
    cell_differences,
    differences,
    numbers_profile,
    profile,
    wins,
)
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
from xortune.runs.run import Run, load_run

if TYPE_CHECKING:
    from xortune.reports.plot import Plot


Backend = Literal["plotly", "matplotlib"]
Runlike = Run | str | os.PathLike[str]

BACKENDS = ("plotly", "matplotlib")

SAME = "no parameter differs between the configs that are finished"


def plot_ranking(run: Runlike, *, top: int = 20, backend: Backend = "plotly") -> Any:
    """The best configs with k/n and intervals; the tied ones shaded, certified rates beside them.

    Args:
        run: with one finished config at least, or its directory.
        top: how many configs.
        backend: what draws.

    Returns:
        A `plotly.graph_objects.Figure`; with matplotlib the Axes, an array of them if the figure
        has several panels. So do all verbs that plot.

    Raises:
        InputError: no config is finished, `top` is below 1, the backend is unknown.
    """
    return _drawn(backend, lambda: ranking(_loaded(run), _checked(top)))


def plot_success_by_epoch(
    run: Runlike, *, keys: Sequence[str] | None = None, backend: Backend = "plotly"
) -> Any:
    """The share of seeds solved by each epoch, with bands that hold for all epochs at once.

    Args:
        run: with one finished config at least, or its directory.
        keys: of configs to show beside the best and the median one.
        backend: what draws.

    Raises:
        InputError: no config is finished, a key is unknown, the backend is unknown.
    """
    return _drawn(backend, lambda: success_by_epoch(_loaded(run), keys))


def plot_seeds_spent(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """How many seeds each config got in the race, and why it got no more.

    Args:
        run: with one finished config at least, or its directory.
        backend: what draws.

    Raises:
        InputError: no config is finished, the backend is unknown.
    """
    return _drawn(backend, lambda: seeds_spent(_loaded(run)))


def plot_failures(run: Runlike, *, top: int = 20, backend: Backend = "plotly") -> Any:
    """What the unsolved seeds ended as: which pattern of outputs, diverged, crashed.

    Args:
        run: with one finished config at least, or its directory.
        top: how many configs have a bar of their own.
        backend: what draws.

    Raises:
        InputError: no config is finished, `top` is below 1, the backend is unknown.
    """
    return _drawn(backend, lambda: failures(_loaded(run), _checked(top)))


def plot_optimization_history(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The best so far, by the lower end of its interval, over what the search had spent.

    Args:
        run: with one finished config at least, or its directory.
        backend: what draws.

    Raises:
        InputError: no config is finished, the backend is unknown.
    """
    return _drawn(backend, lambda: optimization_history(_loaded(run)))


def plot_pareto_front(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The configs that no other beats in all objectives, among all others.

    Args:
        run: with one finished config at least, or its directory.
        backend: what draws.

    Raises:
        InputError: the run has one objective only, no config is finished, the backend is unknown.
    """
    lacking = "no config with the full seeds, or one objective only, which has no front"
    return _drawn(backend, lambda: pareto_front(_loaded(run)), lacking)


def plot_param_importances(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """Which parameters separate the better configs from the rest, with intervals over configs.

    Args:
        run: with one finished config at least, or its directory.
        backend: what draws.

    Raises:
        InputError: the run has noted no importance, the backend is unknown.
    """
    lacking = (
        "the run has noted no importance: it is computed when a search ends, from 10 configs or "
        "more with 5 in their better tenth"
    )
    return _drawn(backend, lambda: param_importances(_loaded(run)), lacking)


def plot_slice(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """The success rate over each parameter, with configs as the unit.

    Args:
        run: with one finished config at least, or its directory.
        backend: what draws.

    Raises:
        InputError: no parameter differs between the configs, the backend is unknown.
    """
    return _drawn(backend, lambda: slices(_loaded(run)), SAME)


def plot_contour(
    run: Runlike, *, parameters: Sequence[str] | None = None, backend: Backend = "plotly"
) -> Any:
    """The mean success rate over two parameters, with configs as the unit.

    Args:
        run: with one finished config at least, or its directory.
        parameters: the names of two; the two that matter most if not given.
        backend: what draws.

    Raises:
        InputError: fewer than two parameters differ, one is unknown, the backend is unknown.
    """
    lacking = "fewer than two parameters differ between the configs that are finished"
    return _drawn(backend, lambda: contour(_loaded(run), parameters), lacking)


def plot_parallel_coordinate(run: Runlike, *, top: int = 200, backend: Backend = "plotly") -> Any:
    """Each config as a line over its parameters, coloured by its success rate.

    Args:
        run: with one finished config at least, or its directory.
        top: so many of the best are shown, and at most as many of the others.
        backend: what draws.

    Raises:
        InputError: no parameter differs between the configs, the backend is unknown.
    """
    return _drawn(backend, lambda: parallel_coordinate(_loaded(run), _checked(top)), SAME)


def plot_decision_surface(run: Runlike, *, backend: Backend = "plotly") -> Any:
    """What a solved and an unsolved seed of the best config learned of a task with two inputs.

    Both seeds are trained once more, in milliseconds.

    Args:
        run: with one finished config at least, or its directory.
        backend: what draws.

    Raises:
        InputError: the run is not of the built-in network on a task with two inputs, or the
            backend is unknown.
    """
    lacking = (
        "no decision surface: it needs the built-in network, the fused engine, a task with two "
        "inputs and a training of less than two seconds"
    )
    return _drawn(backend, lambda: decision_surface(_loaded(run)), lacking)


def plot_differences(comparison: RunComparison | Comparison, *, backend: Backend = "plotly") -> Any:
    """The difference of success rates of every two that are compared, with its interval.

    Of a run beside a published table the cells of the smallest p are shown.

    Args:
        comparison: what `compare` returns.
        backend: what draws.

    Raises:
        InputError: it is no comparison, the backend is unknown.
    """
    if isinstance(comparison, Comparison):
        published = comparison
        return _drawn(backend, lambda: cell_differences(published))

    runs = comparison
    return _drawn(backend, lambda: differences(_of_runs(runs)))


def plot_wins(comparison: RunComparison, *, backend: Backend = "plotly") -> Any:
    """Who solves more seeds than whom, after Holm's correction.

    Args:
        comparison: what `compare` returns.
        backend: what draws.

    Raises:
        InputError: it is no comparison of runs, the backend is unknown.
    """
    return _drawn(backend, lambda: wins(_of_runs(comparison)))


def plot_profile(comparison: RunComparison, *, backend: Backend = "plotly") -> Any:
    """How soon seeds are solved: performance profiles, probability of improvement, middles.

    Args:
        comparison: what `compare` returns.
        backend: what draws.

    Raises:
        InputError: it is no comparison of runs, the backend is unknown.
    """
    return _drawn(backend, lambda: profile(_of_runs(comparison)))


def plot_numbers(
    comparison: RunComparison, *, number: str | None = None, backend: Backend = "plotly"
) -> Any:
    """The numbers that trainers told of their seeds: profiles, whose are better, their middles.

    Args:
        comparison: of runs of your own trainer, or of its outcomes.
        number: its name; the one that the rule for success judges if not given.
        backend: what draws.

    Raises:
        InputError: it is no comparison of runs, nobody told such a number, the backend is unknown.
    """
    return _drawn(backend, lambda: numbers_profile(_of_runs(comparison), number))


def plot_agreement(comparison: Comparison, *, backend: Backend = "plotly") -> Any:
    """The success rates of a run over those of a published table, one point for each cell.

    Args:
        comparison: what `compare` returns.
        backend: what draws.

    Raises:
        InputError: it is no comparison of a run with a table, the backend is unknown.
    """
    if not isinstance(comparison, Comparison):
        raise InputError(
            f"a {type(comparison).__name__}",
            field="comparison",
            allowed="what xortune.compare returns for a run with reference=TABLE",
        )
    return _drawn(backend, lambda: agreement(comparison))


def _loaded(run: Runlike) -> Run:
    return run if isinstance(run, Run) else load_run(run)


def _of_runs(comparison: RunComparison) -> RunComparison:

    if not isinstance(comparison, RunComparison):
        raise InputError(
            f"a {type(comparison).__name__}",
            field="comparison",
            allowed="what xortune.compare returns for two or more runs",
        )
    return comparison


def _checked(top: int) -> int:
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"{top!r}", field="top", allowed="a whole number, 1 or more")
    return top


def _drawn(backend: str, figure: Callable[[], Plot | None], lacking: str = "") -> Any:
    """The figure, made only where it can be drawn; `lacking` says why there may be none."""
    if backend not in BACKENDS:
        raise InputError(
            f"there is no backend {backend!r}",
            field="backend",
            allowed=", ".join(BACKENDS),
            fix=nearest(str(backend), BACKENDS),
        )
    if importlib.util.find_spec(backend) is None:
        raise InputError(
            f"{backend} is not installed", field="backend", fix=f"pip install {backend}"
        )
    plot = figure()
    if plot is None:
        raise InputError(f"there is nothing to draw: {lacking}", field="run")
    if backend == "plotly":
        return plotly_figure(plot)
    import numpy as np

    axes = matplotlib_axes(plot)
    return axes[0] if len(axes) == 1 else np.array(axes, dtype=object)
