"""Every verb that plots draws a small run of real trainings, by both libraries."""

import importlib.util
import inspect
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from figure_runs import HIDDEN, RATE
from hand_made import CONFIG, done, write_run
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

import xortune as xt
from xortune.core.outcome import Curves, Details

VERBS = [name for name in xt.__all__ if name.startswith("plot_")]
OF_COMPARISONS = ("plot_differences", "plot_numbers", "plot_profile", "plot_wins")
OF_TABLES = ("plot_agreement",)
SEEDS = range(16)


@pytest.fixture(autouse=True)
def _leaves_no_figure_open():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Some solve all seeds, some a few, so that there is something in every figure."""
    evaluations = []
    few = [("Tanh", 0.03, 4), ("Tanh", 0.01, 2), ("ReLU", 0.03, 2), ("ReLU", 0.1, 3)]
    for place, (activation, lr, hidden) in enumerate([*few, ("ELU", 0.05, 5)]):
        changes = {"activation": activation, "lr": lr, "hidden_dim": hidden, "epochs": 200}
        config = xt.Config(**CONFIG | changes)
        outcome = xt.evaluate(config, SEEDS)
        loss = outcome.final_loss.astype(float)
        way = np.concatenate([4 * loss, 2 * loss, loss]).astype(np.float32)
        curves = Curves(
            ("loss",), np.tile(outcome.seeds, 3), np.repeat([1, 2, 3], len(loss)), way[:, None]
        )
        outcome = replace(outcome, details=Details({"loss": loss}, curves=(curves,)))
        evaluations.append(done(place, config.point, outcome))
    return write_run(
        tmp_path_factory.mktemp("plots") / "run",
        evaluations,
        trainer="network",
        task="xor",
        importance={"activation": 0.5, "lr": 0.3, "hidden_dim": 0.2},
        objectives=[RATE, HIDDEN],
    )


@pytest.fixture(scope="module")
def comparison(run):
    """Of three outcomes, each of which has a number for its seeds too."""
    outcomes = [
        replace(one.outcome, details=Details({"loss": one.outcome.final_loss.astype(float)}))
        for one in run.results[:3]
    ]
    return xt.compare(outcomes, labels=["first", "second", "third"])


@pytest.fixture(scope="module")
def published(run, tmp_path_factory):
    table = tmp_path_factory.mktemp("published") / "table.csv"
    table.write_text("activation,lr,hidden_dim,k,n\nTanh,0.03,4,9,16\nReLU,0.1,3,1,16\n")
    return xt.compare(run, reference=table)


@pytest.fixture
def drawn(run, comparison, published):
    def draw(verb, **more):
        of = comparison if verb in OF_COMPARISONS else published if verb in OF_TABLES else run
        return getattr(xt, verb)(of, **more)

    return draw


@pytest.mark.parametrize("verb", VERBS)
def test_both_libraries_draw_it_and_an_unknown_one_is_told(drawn, verb):
    figure = drawn(verb)
    assert isinstance(figure, go.Figure)
    assert figure.data
    assert len(figure.layout.title.text) > 10
    assert len(figure.layout.title.subtitle.text) > 20, "n, interval and confidence"
    assert figure == drawn(verb, backend="plotly")
    found = drawn(verb, backend="matplotlib")
    axes = found.tolist() if isinstance(found, np.ndarray) else [found]
    assert all(isinstance(one, Axes) for one in axes)
    assert all(one.has_data() for one in axes)
    assert len(axes) == len({trace.xaxis for trace in figure.data})
    assert axes[0].figure.get_suptitle()
    axes[0].figure.draw_without_rendering()
    with pytest.raises(xt.InputError, match="did you mean 'plotly'") as caught:
        drawn(verb, backend="plotli")
    assert "plotly, matplotlib" in str(caught.value)
    assert inspect.signature(getattr(xt, verb)).parameters["backend"].default == "plotly"


@pytest.mark.parametrize("backend", ["plotly", "matplotlib"])
def test_what_is_not_installed_is_told_with_the_fix(run, backend, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(xt.InputError, match=f"{backend} is not installed.*pip install {backend}"):
        xt.plot_ranking(run, backend=backend)


def test_arguments_reach_the_figure(run):
    assert len(xt.plot_ranking(run, top=2).layout.yaxis.tickvals) == 2
    figure = xt.plot_contour(run, parameters=["lr", "activation"])
    assert [figure.layout[axis].title.text for axis in ("xaxis", "yaxis")] == ["lr", "activation"]
    chosen = xt.plot_success_by_epoch(run, keys=[run.results[-1].key])
    assert len(chosen.data) > len(xt.plot_success_by_epoch(run).data)


@pytest.mark.parametrize("top", [0, -3, 1.5, True])
@pytest.mark.parametrize("verb", ["plot_ranking", "plot_failures", "plot_parallel_coordinate"])
def test_top_is_a_whole_number(run, verb, top):
    with pytest.raises(xt.InputError, match=r"top.*1 or more"):
        getattr(xt, verb)(run, top=top)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        *(("plot_slice", "no parameter differs"), ("plot_contour", "fewer than two parameters")),
        ("plot_parallel_coordinate", "no parameter differs"),
        *(("plot_param_importances", "no importance"), ("plot_pareto_front", "one objective")),
        ("plot_decision_surface", "two inputs"),
    ],
)
def test_where_there_is_nothing_to_draw_it_is_told(run, tmp_path, verb, words):
    one = write_run(tmp_path / "one", run.evaluations[:1], trainer="custom")
    with pytest.raises(xt.InputError, match=words):
        getattr(xt, verb)(one)


def test_a_number_is_chosen_by_its_name(comparison):
    assert xt.plot_numbers(comparison, number="loss") == xt.plot_numbers(comparison)
    with pytest.raises(xt.InputError, match="loss"):
        xt.plot_numbers(comparison, number="accuracy")


@pytest.mark.parametrize("verb", [*OF_COMPARISONS, *OF_TABLES])
def test_a_run_is_no_comparison(run, verb):
    with pytest.raises(xt.InputError, match=r"a Run.*xortune\.compare"):
        getattr(xt, verb)(run)
