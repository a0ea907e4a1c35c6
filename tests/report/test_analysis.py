"""What a report works out of a run: levels, the best subset, the front, how to do it again."""

import contextlib
import io
import json
import time

import numpy as np
import pytest
from figure_runs import EPOCHS, HIDDEN, RATE, in_front
from hand_made import RIGHT, WRONG, done, outcome, solved
from rich.console import Console
from scipy.stats import bootstrap

from xortune.core.config import ACTIVATIONS, LOSSES
from xortune.core.task import Task
from xortune.reports import analysis
from xortune.reports.analysis import MOST_LEVELS, evaluate_command, plain_script
from xortune.reports.document import markdown_text
from xortune.reports.run import run_document
from xortune.reports.terminal import render_best
from xortune.runs.results import column_names
from xortune.runs.run import Run

# What the levels of parameters have in common.


def results(tmp_path, rows):
    """Of a run of (point, k, n), or of (point, outcome)."""
    lines = []
    for i, (point, *found) in enumerate(rows):
        lines.append(done(i, point | {"id": i}, solved(0, *found) if found[1:] else found[0]))
    return Run(tmp_path, {}, tuple(lines)).results


def effects(found, names, importance=None):
    columns = {name: analysis.column_of(found.values(name, analysis.MISSING)) for name in names}
    return analysis.parameter_effects(columns, found.counts.rate, importance or {})


def effect(tmp_path, rows):
    return effects(results(tmp_path, rows), ["p"])[0]


def test_configs_are_equally_weighted(tmp_path):
    # 1/1 and 0/99: the mean over configs is a half, over seeds it would be a hundredth.
    found = effect(tmp_path, [({"p": "a"}, 1, 1), ({"p": "a"}, 0, 99), ({"p": "b"}, 1, 4)])
    levels = [(one.label, one.configs, one.rate, one.interval) for one in found.levels]
    assert levels == [("a", 2, 0.5, None), ("b", 1, 0.25, None)]


def test_numbers_come_in_quartile_bins(tmp_path):
    rows = [({"p": float(i)}, i, 10) for i in range(9)] + [({}, 3, 10), ({"p": None}, 3, 10)]
    found = effect(tmp_path, rows).levels
    bins = {"[0, 2]": 3, "(2, 4]": 2, "(4, 6]": 2, "(6, 8]": 2, "(not active)": 1, "null": 1}
    assert [(level.label, level.configs) for level in found] == [*bins.items()]
    assert [round(level.rate, 9) for level in found[:4]] == [0.1, 0.35, 0.55, 0.75]


def test_values_that_look_alike_stay_apart(tmp_path):
    values = [0.12301, 0.12302, True, "true", None, "null"]
    found = effect(tmp_path, [({"p": given}, 1, 2) for given in values]).levels
    assert sorted(level.label for level in found) == sorted(map(repr, values))


def test_without_an_importance_the_one_whose_levels_differ_most_comes_first(tmp_path):
    # Only q separates the configs; p's levels have one config each, r's levels the same mean.
    rates = [2, 4, 8, 6]
    rows = [({"p": i, "q": i // 2, "r": (0, 1, 0, 1)[i]}, k, 10) for i, k in enumerate(rates)]
    found = effects(results(tmp_path, rows), ["p", "r", "q"])
    assert [effect.name for effect in found] == ["q", "p", "r"]
    assert [effect.spread for effect in found] == pytest.approx([0.2, 0, 0])
    known = effects(results(tmp_path, rows), ["p", "r", "q"], {"r": 0.1})
    assert [effect.name for effect in known] == ["r", "q", "p"]


def test_the_bootstrap_is_scipys(tmp_path):
    rates = [0, 0, 0, 1, 3, 3, 4, 7, 9, 10] * 8
    rows = [*(({"p": "a"}, k, 10) for k in rates), ({"p": "b"}, 5, 10)]
    found = next(level for level in effect(tmp_path, rows).levels if level.label == "a")
    drawn = bootstrap((np.array(rates) / 10,), np.mean, method="percentile", n_resamples=20_000)
    np.testing.assert_allclose(found.interval, drawn.confidence_interval, atol=0.01)


def test_of_very_many_levels_the_most_frequent_are_shown(tmp_path):
    often = [({"p": f"often {i:02d}"}, i, 24) for i in range(MOST_LEVELS) for _ in range(5)]
    once = [({"p": f"text {i}"}, i % 5, 4) for i in range(400)]
    found = effect(tmp_path, [*once, *often])
    best_first = [f"often {i:02d}" for i in reversed(range(MOST_LEVELS))]
    assert [level.label for level in found.levels] == best_first
    assert found.left_out == 400
    # One config alone says nothing.
    assert found.spread == pytest.approx(np.std(np.arange(25) / 24))
    assert effect(tmp_path, often).left_out == 0


def test_a_text_that_is_another_in_each_config_costs_little(tmp_path):
    found = results(tmp_path, [({"p": f"text {i}"}, i % 5, 4) for i in range(2_000)])
    began = time.process_time()
    [one] = effects(found, ["p"])
    assert time.process_time() - began < 2  # 0.02 on an idle core; a bootstrap each takes 8
    assert one.left_out == 2_000 - MOST_LEVELS


def subset(tmp_path, rows, seeds):
    """Of the best: how many were compared, how many had stopped, and which ones are in it."""
    found = analysis.best_subset(results(tmp_path, rows), seeds)
    return found.compared, found.stopped, sorted(member.point["id"] for member in found.members)


def test_stopped_early_is_not_tied(tmp_path):
    assert subset(tmp_path, [({}, 100, 128), ({}, 8, 8)], 128) == (1, 1, [0])


@pytest.mark.parametrize(
    ("others", "lost", "stay"), [(1, 4, True), (1, 5, False), (5, 6, True), (5, 7, False)]
)
def test_the_level_is_divided_among_the_others(tmp_path, others, lost, stay):
    """The best wins every discordant seed, so p = 2**-lost, held against 0.05 / others."""
    rows = [({}, 32, 32), *[({}, 32 - lost, 32)] * others]
    assert subset(tmp_path, rows, 32)[2] == ([*range(1 + others)] if stay else [0])


def test_only_shared_seeds_count(tmp_path):
    # The second failed only where the first was never trained.
    rows = [({}, 32, 32), ({}, outcome(16, [RIGHT] * 16 + [WRONG] * 16))]
    assert subset(tmp_path, rows, 32)[2] == [0, 1]


# The front.

ROWS = [(5, 16, 16, 300), (5, 16, 16, 200), (3, 12, 16, 100), (4, 11, 16, 900), (2, 4, 4, 10)]


@pytest.mark.parametrize(
    ("rows", "objectives", "front"),
    [
        # Equal in both objectives: both. The one with fewer seeds is not compared.
        (ROWS, (RATE, HIDDEN), [True, True, True, False, False]),
        (ROWS, (RATE, EPOCHS), [False, True, False, False, False]),
        # Without a success the epochs are infinite.
        ([(5, 3, 16, 1), (3, 0, 16, 1), (2, 0, 16, 1)], (EPOCHS, HIDDEN), [True, False, True]),
    ],
)
def test_the_column(tmp_path, rows, objectives, front):
    table = in_front(tmp_path / "r", rows, objectives, ladder=[4, 16]).table
    assert table.columns[-1] == "front"
    assert table.sort_values("lr")["front"].tolist() == front


@pytest.mark.parametrize(
    ("objectives", "place", "sizes"),
    [
        (({"name": "hidden_dim", "direction": "maximize"}, RATE), 2, ["5", "4", "3"]),
        ((HIDDEN, EPOCHS), 2, ["3", "4"]),
        ((EPOCHS, HIDDEN), 3, ["4 |", "3 |"]),
    ],
)
def test_the_first_objective_sorts(tmp_path, objectives, place, sizes):
    rows = [(3, 13, 16, 500), (4, 12, 16, 200), (5, 11, 16, 100)]
    text = markdown_text(run_document(in_front(tmp_path / "r", rows, objectives)))
    section = text.split("## The Pareto front")[1]
    cells = [line.split(" | ") for line in section.split("\n## ")[0].splitlines()]
    assert [row[place] for row in cells if row[0].startswith("| lr")] == sizes


def test_column_names_never_collide():
    names = column_names(["k", "param_k", "lr", "key", "crashed"])
    assert list(names.values()) == ["param_param_k", "param_k", "lr", "param_key", "param_crashed"]
    assert column_names(["front"]) == {"front": "front"}
    both = {"front": "param_param_front", "param_front": "param_front"}
    assert column_names([*both], ["front"]) == both


def test_a_long_front_is_cut(tmp_path):
    run = in_front(tmp_path / "r", [(2 + i, i, 40, 100) for i in range(40)], ladder=[40])
    console = Console(file=io.StringIO(), width=100)
    render_best(run, console)
    assert "... and 10 more" in markdown_text(run_document(run))
    assert "... and 10 more" in console.file.getvalue()


# How to do it again.


def printed(script):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(script, "script", "exec"), {})
    return json.loads(out.getvalue())


def test_the_script_trains_xor(make_config):
    script = plain_script(make_config(lr=0.1, epochs=300), Task.xor(), 0)
    assert printed(script) == [0, 1, 1, 0]
    assert script.count("\n") <= 14


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # torch on KLDivLoss
@pytest.mark.parametrize(
    "changes",
    [{"activation": one} for one in (None, *ACTIVATIONS)] + [{"loss": one} for one in LOSSES],
)
def test_every_activation_and_loss_runs(make_config, changes):
    momentum = {"optimizer": "SGD", "momentum": 0.9, "zero_grad": False}
    script = plain_script(make_config(epochs=2, **momentum, **changes), Task.parity(3), 5)
    assert "zero_grad" not in script
    assert "momentum=0.9" in script
    assert len(printed(script)) == 8


def test_no_script_for_a_task_too_large_or_judged_elsewhere(make_config):
    x, y = np.eye(3), np.eye(3)[:, :1]
    assert plain_script(make_config(), Task.parity(6), 0) is None
    assert plain_script(make_config(), Task("t", x, y, x, y, 0.5), 0) is None
    assert "[0.0, 1.0, 0.0]" in plain_script(make_config(), Task("t", x, y), 0)


def test_the_command_says_all_that_is_not_the_default(make_config):
    config = make_config(optimizer="SGD", momentum=0.5, zero_grad=False)
    assert evaluate_command(config, "parity-3", first=9, seeds=5) == (
        "xortune evaluate --activation Tanh --loss MSELoss --optimizer SGD --lr 0.03 "
        "--momentum 0.5 --hidden-dim 5 --epochs 1000 --no-zero-grad --task parity-3 "
        "--seeds 5 --first-seed 9"
    )
    assert evaluate_command(make_config(), "a b.csv", first=9, seeds=5).count("'a b.csv'") == 1
