"""The other figures of parameters: two at once, all at once, and how much each matters."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest
from hand_made import done, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from parameter_runs import (
    ALL,
    GOLDEN,
    HOSTILE,
    IMPORTANCE,
    RESAMPLED,
    figures,
    fixed,
    keeps_to_the_rules,
    made,
)
from success_runs import as_golden
from test_slices import POINTS

from xortune.core.errors import InputError
from xortune.reports.figures.all import figures_of
from xortune.reports.figures.contour import contour
from xortune.reports.figures.importances import param_importances
from xortune.reports.figures.parallel import NOWHERE, parallel_coordinate
from xortune.reports.plot import Cells, Lines, Points


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return fixed(tmp_path_factory.mktemp("fixed"))


def close(found, kept):
    """Equal, floats as far as libraries agree."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(close(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(close, found, kept))
    return found == (pytest.approx(kept, abs=2e-6, rel=1e-6) if type(kept) is float else kept)


def test_golden(tmp_path):
    # To renew it after a wanted change: run parameter_runs.py, and read the diff.
    found, kept = as_golden(figures(tmp_path)), json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(found) == list(kept)
    for name, plot in found.items():
        assert close(plot, kept[name]), name


def test_they_keep_to_the_rules_and_are_among_all_of_a_run(run):
    names = [plot.name for plot in figures_of(run)]
    for figure in ALL:
        plot = figure(run)
        keeps_to_the_rules(plot)
        assert names.count(plot.name) == 1
        assert "n = 30 configurations" in plot.note


def test_equal_rates_have_no_figures_of_parameters(tmp_path):
    lines = [done(i, {"x": f"p{i}", "y": i}, solved(0, 2, 4)) for i in range(12)]
    names = {plot.name for plot in figures_of(write_run(tmp_path / "r", lines))}
    assert names.isdisjoint({"slices", "contour", "importance", "parallel-coordinate"})
    assert "ranking" in names


def only(plot, kind):
    (panel,) = plot.panels
    (layer,) = (layer for layer in panel.layers if isinstance(layer, kind))
    return panel, layer


# Two parameters at once.


def test_each_cell_has_the_mean_of_its_configs(run):
    panel, cells = only(contour(run, ["activation", "optimizer"]), Cells)
    expected = {}
    for result in run.results:
        pair = result.point["optimizer"], result.point["activation"]
        expected.setdefault(pair, []).append(result.outcome.rate)
    assert sorted(panel.x.categories) == ["ELU", "ReLU", "Tanh"]
    for row, optimizer in enumerate(panel.y.categories):
        for column, activation in enumerate(panel.x.categories):
            rates = expected[optimizer, activation]
            assert cells.texts[row][column] == str(len(rates))
            assert cells.values[row][column] == pytest.approx(np.mean(rates))


def test_numbers_are_cut_where_as_many_configs_lie_and_grow_upwards(run):
    panel, cells = only(contour(run), Cells)
    assert (panel.x.label, panel.y.label) == ("hidden_dim", "lr")
    assert panel.x.categories == ("[2, 7]", "(7, 14]", "(14, 20]")
    highs = [float(label.rstrip("]").split(", ")[1]) for label in panel.y.categories]
    assert highs == sorted(highs, reverse=True), "the first category is at the top"
    assert [sum(int(text or 0) for text in row) for row in cells.texts] == [10, 10, 10]
    by_column = np.array(cells.values)
    assert (by_column[:, 2] > by_column[:, 0]).all(), "more hidden units solve more"


def test_a_pair_without_a_config_is_empty():
    rows = [
        ({"a": "x", "b": "u"}, 1, 2),
        ({"a": "y", "b": "v"}, 2, 2),
        ({"a": "x", "b": "v"}, 0, 2),
    ]
    plot = contour(made(rows), ("a", "b"))
    panel, cells = only(plot, Cells)
    at = panel.y.categories.index("u"), panel.x.categories.index("y")
    assert math.isnan(cells.values[at[0]][at[1]])
    assert cells.texts[at[0]][at[1]] == ""
    assert "1 cell of 4 without one" in plot.alt


def test_levels_that_are_numbers_and_none_have_a_place_too():
    rows = [({"a": i % 7 / 10, "b": i % 2}, i % 3, 2) for i in range(49)]
    rows = [*[(p, min(k, 2), n) for p, k, n in rows], ({"b": 1}, 1, 2)]
    panel, cells = only(contour(made(rows), ("b", "a")), Cells)
    assert panel.y.categories == ("(not active)", *(str(i / 10) for i in (6, 5, 4, 3, 2, 1)), "0")
    assert cells.texts[0] == ("", "1")


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (("lr", "hiden_dim"), "did you mean 'hidden_dim'"),
        (("lr", "lr"), "two parameters"),
        (("lr",), "two parameters"),
        ("lr", "two parameters"),
        (("lr", "epochs"), "the same in all"),
    ],
)
def test_a_pair_that_is_none_is_refused(run, given_, said):
    with pytest.raises(InputError, match=said):
        contour(run, given_)


def test_without_two_parameters_there_is_no_map():
    assert contour(made([({"x": i}, 1, 2) for i in range(3)])) is None
    assert contour(made([])) is None


# All at once.


def test_each_config_is_a_line_over_all_axes(run):
    plot = parallel_coordinate(run)
    panel, lines = only(plot, Lines)
    assert panel.x.categories == (
        *("hidden_dim", "lr (log)", "activation", "optimizer", "momentum", "success rate"),
    )
    results = {result.key: result for result in run.results}
    assert len(lines.ys) == 30
    assert lines.keys[-1] == run.results[0].key, "the best lies on top"
    for key, ys, value in zip(lines.keys, lines.ys, lines.values, strict=True):
        point, outcome = results[key].point, results[key].outcome
        assert ys[0] == pytest.approx((point["hidden_dim"] - 2) / 18, abs=1e-6)
        assert ys[1] == pytest.approx(math.log10(point["lr"] / 0.01), abs=1e-6)
        assert ys[-1] == value == outcome.rate
        assert (ys[4] == NOWHERE) == ("momentum" not in point)
    _, names = only(plot, Points)
    marks = dict(zip(zip(names.x, names.y, strict=True), names.texts, strict=True))
    assert (marks[0.0, 0.0], marks[0.0, 1.0], marks[5.0, 1.0]) == ("2", "20", "100 %")
    assert names.written
    heights = {name: y for (x, y), name in marks.items() if x == 3.0}
    for key, ys in zip(lines.keys, lines.ys, strict=True):
        assert ys[3] == heights[results[key].point["optimizer"]]


def test_of_many_configs_the_best_and_some_of_the_others_are_shown():
    run = made([({"x": i}, i, 999) for i in range(1000)])
    plot = parallel_coordinate(run, top=50)
    _, lines = only(plot, Lines)
    rates = [round(999 * value) for value in lines.values]
    assert rates[-50:] == list(range(950, 1000))
    others = rates[:-50]
    assert (len(others), others[0], others[-1]) == (50, 0, 949)
    assert set(np.diff(others).tolist()) == {19, 20}
    assert "the best 50 and 50 of the others" in plot.note
    assert plot.title == "100 of 1,000 configurations, over their parameters"


# How much each matters.


def test_shares_with_their_intervals_the_largest_first(run):
    panel, points = only(param_importances(run), Points)
    assert panel.y.categories == tuple(IMPORTANCE)
    assert points.x == tuple(IMPORTANCE.values())
    assert sum(points.x) == pytest.approx(1)
    ends = [list(pair) for pair in zip(points.x_low, points.x_high, strict=True)]
    assert ends == list(RESAMPLED["intervals"].values())
    assert panel.x.limits == (0.0, 0.7)


ROWS = [({"a": i, "b": i % 3}, i, 20) for i in range(20)]


def test_a_manifest_of_an_older_version_has_shares_only():
    plot = param_importances(made(ROWS, importance={"a": 0.9, "b": 0.1}))
    keeps_to_the_rules(plot)
    _, points = only(plot, Points)
    assert (points.x, points.x_low, points.x_high) == ((0.9, 0.1), (), ())
    assert "no intervals" in plot.note
    assert "interval" not in plot.alt


@pytest.mark.parametrize(
    "damaged",
    [3, {"intervals": 3}, {"intervals": {"a": "x"}}, {"intervals": {"a": [0.2, 0.4]}},
     {"intervals": {"a": [0.8, None]}}, {"intervals": {"a": [0.8, 1.5], "b": [0.0, 0.2]}}],
)  # fmt: skip
def test_an_interval_that_is_none_is_not_shown(damaged):
    noted = {"importance": {"a": 0.9, "b": 0.1}, "importance_resampled": damaged}
    plot = param_importances(made(ROWS, **noted))
    keeps_to_the_rules(plot)
    _, points = only(plot, Points)
    assert points.x_low[:1] in ((), (0.9,))


@pytest.mark.parametrize("noted", [{}, {"importance": {}}, {"importance": 3}])
def test_without_importance_there_is_no_figure(noted):
    assert param_importances(made(ROWS, **noted)) is None


@given(st.lists(st.tuples(POINTS, st.integers(0, 3)), max_size=25), st.booleans())
@settings(max_examples=40)
def test_any_values_make_figures_or_none(rows, known):
    rows = [(point, k, 3) for point, k in rows]
    noted = {"importance": {HOSTILE: 0.25, "lr": 0.75}} if known else {}
    run = made(rows, **noted)
    for figure in (contour, parallel_coordinate, param_importances):
        plot = figure(run)
        assert figure(made(rows, **noted)) == plot
        if plot is not None:
            keeps_to_the_rules(plot)
            if plot.name == "contour":
                _, cells = only(plot, Cells)
                _sums_agree(run, plot, cells)


def _sums_agree(run, plot, cells):
    configs = [[int(text.replace(",", "") or 0) for text in row] for row in cells.texts]
    shown = int(re.match(r"n = ([\d,]+)", plot.note)[1].replace(",", ""))
    assert sum(map(sum, configs)) == shown
    if shown == len(run.results):
        means = np.nan_to_num(np.array(cells.values))
        solved = sum(result.outcome.rate for result in run.results)
        assert (means * configs).sum() == pytest.approx(solved)
