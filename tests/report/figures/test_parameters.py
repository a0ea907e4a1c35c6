"""Figures of parameters: the mean and its band, levels, two at once, all at once, importance."""

import re

import numpy as np
import pytest
from figure_runs import HOSTILE, column, keeps_to_the_rules, made, searched, series
from hand_made import done, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.reports.analysis import varying
from xortune.reports.drawing.model import Cells
from xortune.reports.figures.parameters import (
    BANDWIDTH,
    GRID,
    contour,
    parallel_coordinate,
    param_importances,
    slices,
    smooth,
)


def only(plot, kind):
    [panel] = plot.panels
    [layer] = (layer for layer in panel.layers if isinstance(layer, kind))
    return panel, layer


# The success rate over one parameter.


def test_the_mean_is_weighted_by_nearness_and_the_band_is_its_error():
    """Cochran (1977), Sampling Techniques, 6.4: variance sum w^2 (r - mean)^2 / (sum w)^2."""
    draw = np.random.default_rng(1)
    places, rates = draw.integers(0, 1001, 300) / 1000, draw.uniform(size=300)
    mean, low, high = smooth(places, rates)
    for at, x in enumerate(np.linspace(0, 1, GRID)):
        weights = np.exp(-((places - x) ** 2) / (2 * BANDWIDTH**2))
        assert mean[at] == pytest.approx(np.average(rates, weights=weights), abs=2e-6)
        error = np.sqrt((weights**2 * (rates - mean[at]) ** 2).sum()) / weights.sum()
        assert (low[at], high[at]) == pytest.approx(
            (mean[at] - 1.96 * error, mean[at] + 1.96 * error), abs=2e-6
        )


def test_nothing_is_said_where_fewer_than_five_configs_are_near():
    near_the_ends = [*np.linspace(0, 0.1, 20), 0.5, *np.linspace(0.9, 1, 20)]
    mean, *_ = smooth(np.array(near_the_ends), np.full(41, 0.5))
    assert np.isfinite(mean[[0, 60]]).all()
    assert np.isnan(mean[25:36]).all()
    assert np.isnan(smooth(np.array([0, 0.5, 1.0, 0.25]), np.array([0, 1.0, 0, 1]))[0]).all()
    left, right = series(slices(made([({"x": at}, 1, 2) for at in near_the_ends])), "line")
    assert max(column(left, "x")) < 0.4
    assert min(column(right, "x")) > 0.6
    assert [bool(line.label) for line in (left, right)] == [True, False], "one entry in the legend"


@pytest.mark.parametrize(
    ("space", "numbers", "kind"),
    [
        ("{low: 1, high: 1000, log: true}", [900, 1000], "log"),
        ("{choice: [1, 1000]}", [1, 1000], "log"),
        ("{choice: [0, 1000]}", [0, 1000], "number"),
    ],
)
def test_an_axis_is_logarithmic_where_the_search_was_or_numbers_span_much(
    tmp_path, space, numbers, kind
):
    text = f"name: a\nparameters: {{x: {space}}}\nsearch: {{sampler: random, trials: 2}}\n"
    numbers = np.linspace(*numbers, 14)
    lines = [done(i, {"x": float(x)}, solved(0, i % 3, 4)) for i, x in enumerate(numbers)]
    assert slices(write_run(tmp_path / "r", lines, space_text=text)).panels[0].x.kind == kind


# Two parameters at once.


def test_levels_that_are_numbers_and_none_have_a_place_too():
    rows = [({"a": i % 7 / 10, "b": i % 2, "of": f"c{i}"}, i % 3, 2) for i in range(49)]
    panel, cells = only(contour(made([*rows, ({"b": 1}, 1, 2)]), ("b", "a")), Cells)
    assert panel.y.categories == ("(not active)", *(str(i / 10) for i in (6, 5, 4, 3, 2, 1)), "0")
    assert cells.texts[0] == ("", "1")


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (("lr", "hiden_dim"), "did you mean 'hidden_dim'"),
        ("lr", "two parameters"),
        (("lr", "epochs"), "the same in all"),
    ],
)
def test_a_pair_that_is_none_is_refused(tmp_path, given_, said):
    with pytest.raises(InputError, match=said):
        contour(searched(tmp_path / "r"), given_)


# All of them.


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**30, 1e305, -1e305, 5e-324, 1e-3, HOSTILE, "", "1", "(1)"]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)
POINTS = st.dictionaries(st.sampled_from(["a", "lr", HOSTILE]), VALUES, max_size=3)


@given(st.lists(st.tuples(POINTS, st.integers(0, 3)), max_size=25), st.booleans())
@settings(max_examples=15)
def test_any_values_make_figures_or_none(rows, known):
    rows = [(point, k, 3) for point, k in rows]
    noted = {"importance": {HOSTILE: 0.25, "lr": 0.75}} if known else {}
    run = made(rows, **noted)
    for figure in (slices, contour, parallel_coordinate, param_importances):
        plot = figure(run)
        assert figure(made(rows, **noted)) == plot
        if plot is not None:
            keeps_to_the_rules(plot)
    if (plot := slices(run)) is None:
        assert not varying(run)
    for panel in plot.panels if plot else ():
        if panel.x.kind == "category" and "not shown" not in panel.x.label:
            counts = [int(label.rpartition("(")[2][:-1]) for label in panel.x.categories]
            assert sum(counts) == len(run.results) == len(panel.layers[0].marks)
    if plot := contour(run):
        _, cells = only(plot, Cells)
        configs = [[int(text.replace(",", "") or 0) for text in row] for row in cells.texts]
        shown = int(re.match(r"n = ([\d,]+)", plot.note)[1].replace(",", ""))
        assert sum(map(sum, configs)) == shown
        if shown == len(run.results):
            means = np.nan_to_num(np.array(cells.values))
            solved_ = sum(result.outcome.rate for result in run.results)
            assert (means * configs).sum() == pytest.approx(solved_)
