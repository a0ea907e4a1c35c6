"""Success per parameter: the smooth, its band, levels, and which is shown how."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hand_made import done, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from parameter_runs import HOSTILE, fixed, keeps_to_the_rules, made

from xortune.reports.figures.slices import BANDWIDTH, resamples, slices, smooth
from xortune.reports.plot import Line, Points
from xortune.reports.tables import differing


def panels(plot):
    """Each panel by its parameter."""
    return {panel.title.split(" (")[0]: panel for panel in plot.panels}


def lines(panel):
    return [layer for layer in panel.layers if isinstance(layer, Line)]


def along(numbers, rates):
    return smooth(np.array(numbers, float), np.array(rates, float), resamples(len(rates)))


def test_the_smooth_is_the_weighted_mean_of_the_rates_near():
    draw = np.random.default_rng(1)
    places, rates = draw.integers(0, 1001, 300) / 1000, draw.uniform(size=300)
    found = along(places, rates)
    for place in (0, 17, 60):
        weights = [math.exp(-((p - found.x[place]) ** 2) / (2 * BANDWIDTH**2)) for p in places]
        assert found.mean[place] == pytest.approx(np.average(rates, weights=weights), abs=2e-6)


def test_the_band_is_as_wide_as_the_error_of_a_weighted_mean():
    """Cochran (1977), Sampling Techniques, 6.4: variance sum w^2 (r - mean)^2 / (sum w)^2."""
    draw = np.random.default_rng(2)
    places, rates = draw.integers(0, 1001, 800) / 1000, draw.uniform(size=800)
    found = along(places, rates)
    weights = np.exp(-0.5 * ((places[:, None] - found.x) / BANDWIDTH) ** 2)
    spread = np.sqrt((weights**2 * (rates[:, None] - found.mean) ** 2).sum(axis=0))
    np.testing.assert_allclose(
        found.high - found.low, 2 * 1.96 * spread / weights.sum(axis=0), rtol=0.12
    )


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 8)), min_size=1, max_size=60),
)
@settings(max_examples=30)
def test_a_band_holds_its_smooth_and_both_are_rates(rows):
    found = along([place / 1000 for place, _ in rows], [k / 8 for _, k in rows])
    known = np.isfinite(found.mean)
    assert (np.isfinite(found.low) == known).all()
    low, mean, high = (row[known] for row in (found.low, found.mean, found.high))
    assert (low >= 0).all()
    assert (low <= mean).all()
    assert (mean <= high).all()
    assert (high <= 1).all()
    rates = [k / 8 for _, k in rows]
    assert not mean.size or min(rates) - 1e-6 <= mean.min() <= mean.max() <= max(rates) + 1e-6


def test_equal_rates_have_a_band_without_width():
    found = along(np.linspace(0, 1, 40), [0.3] * 40)
    for row in (found.mean, found.low, found.high):
        assert row == pytest.approx(np.full(len(row), 0.3))


def test_nothing_is_said_where_fewer_than_five_configs_are_near():
    near_the_ends = [*np.linspace(0, 0.1, 20), 0.5, *np.linspace(0.9, 1, 20)]
    mean = along(near_the_ends, [0.5] * 41).mean
    assert np.isfinite(mean[[0, 60]]).all()
    assert np.isnan(mean[25:36]).all()
    assert np.isnan(along([0, 0.5, 1.0, 0.25], [0, 1, 0, 1]).mean).all()
    rows = [({"x": place}, 1, 2) for place in near_the_ends]
    (panel,) = slices(made(rows)).panels
    left, right = lines(panel)
    assert max(left.x) < 0.4
    assert min(right.x) > 0.6
    assert [bool(line.label) for line in (left, right)] == [True, False], "one entry in the legend"


def test_resamples_draw_all_configs_and_stay_few_for_many():
    drawn = resamples(200)
    assert drawn.shape == (200, 1000)
    assert (drawn.sum(axis=0) == 200).all()
    assert drawn.mean(axis=1) == pytest.approx(np.ones(200), abs=0.2)
    assert resamples(30_000).shape == (30_000, 100)


def test_what_is_drawn_how(tmp_path):
    plot = slices(fixed(tmp_path))
    assert [panel.title for panel in plot.panels] == [
        *("hidden_dim (50.0 %)", "lr (30.0 %)", "activation (15.0 %)", "optimizer (5.0 %)"),
        "momentum",
    ]
    found = panels(plot)
    kinds = {name: panel.x.kind for name, panel in found.items()}
    assert kinds == {
        "hidden_dim": "number",
        "lr": "log",
        "activation": "category",
        "optimizer": "category",
        "momentum": "number",
    }
    assert found["hidden_dim"].x.whole
    assert found["momentum"].x.label == "momentum, 15 of 30 have one"
    assert "n = 30 configurations" in plot.note
    assert "among the configurations visited" in plot.note


def test_levels_are_those_of_the_table(tmp_path):
    from xortune.reports.tables import report_of

    run = fixed(tmp_path)
    effects = {effect.name: effect for effect in report_of(run).effects}
    for name in ("activation", "optimizer"):
        panel = panels(slices(run))[name]
        (means,) = (la for la in panel.layers if isinstance(la, Points) and la.role == "a")
        levels = effects[name].levels
        assert means.y == tuple(level.rate for level in levels)
        assert list(zip(means.y_low, means.y_high, strict=True)) == [lv.interval for lv in levels]
        assert panel.x.categories == tuple(f"{lv.label} ({lv.configs})" for lv in levels)


def test_few_numbers_are_levels_in_their_order_and_the_rest_follows():
    values = [0.1, 0.3, 0.03]
    rows = [({"lr": values[i % 3]}, i % 3 + 1, 4) for i in range(30)] + [({}, 4, 4)] * 1
    (panel,) = slices(made(rows)).panels
    assert panel.x.categories == ("0.03 (10)", "0.1 (10)", "0.3 (10)", "(not active) (1)")
    means = panel.layers[-1]
    assert means.y == (0.75, 0.25, 0.5, 1.0)
    assert means.y_low[-1] == means.y_high[-1] == 1.0, "one config has no interval"


@pytest.mark.parametrize(
    ("space", "numbers", "kind"),
    [
        ("{low: 1, high: 1000, log: true}", [900, 1000], "log"),
        ("{low: 1, high: 1000}", [1, 1000], "number"),
        ("{choice: [1, 1000]}", [1, 1000], "log"),
        ("{choice: [1, 90]}", [1, 90], "number"),
        ("{choice: [0, 1000]}", [0, 1000], "number"),
    ],
)
def test_an_axis_is_logarithmic_where_the_search_was_or_numbers_span_much(
    tmp_path, space, numbers, kind
):
    text = f"name: a\nparameters: {{x: {space}}}\nsearch: {{sampler: random, trials: 2}}\n"
    numbers = np.linspace(*numbers, 14)
    lines = [done(i, {"x": float(x)}, solved(0, i % 3, 4)) for i, x in enumerate(numbers)]
    run = write_run(tmp_path / "r", lines, space_text=text)
    assert run.asked.parameters[0].name == "x"
    assert slices(run).panels[0].x.kind == kind


def test_of_many_configs_an_even_sample_is_drawn():
    rows = [({"x": i}, min(i, 1200), 1200) for i in range(1203)]
    plot = slices(made(rows))
    dots = plot.panels[0].layers[0]
    assert len(dots.x) == 500
    assert (dots.x[0], dots.x[-1]) == (1200.0, 0.0), "the first and the last of the order"
    ordered = [r.point["x"] for r in made(rows).results]
    gaps = np.diff([ordered.index(x) for x in dots.x])
    assert set(gaps.tolist()) == {2, 3}
    assert "dots: 500 of them, evenly spaced" in plot.note


def test_the_most_important_eight_are_shown():
    names = [f"p{i}" for i in range(11)]
    rows = [({name: (i >> j % 4) % 2 for j, name in enumerate(names)}, i % 5, 4) for i in range(16)]
    plot = slices(made([(p, min(k, 4), n) for p, k, n in rows], importance={"p9": 0.6, "p3": 0.4}))
    titles = [panel.title for panel in plot.panels]
    assert titles[:2] == ["p9 (60.0 %)", "p3 (40.0 %)"]
    assert len(titles) == 8
    assert "3 less important parameters not shown" in plot.alt


def test_nothing_differs_nothing_is_shown():
    assert slices(made([])) is None
    assert slices(made([({"x": 1}, 1, 2)])) is None


@pytest.mark.parametrize("k", [0, 4])
def test_all_or_nothing(k):
    plot = slices(made([({"x": i, "a": i % 2}, k, 4) for i in range(20)]))
    keeps_to_the_rules(plot)
    for panel in plot.panels:
        for layer in panel.layers:
            assert set(layer.y) == {k / 4}


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**400, -(10**400), 1e308, -1e308, 5e-324, 1e-3, HOSTILE, "", "1", "(1)"]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)
POINTS = st.dictionaries(st.sampled_from(["a", "lr", HOSTILE]), VALUES, max_size=3)


@given(st.lists(st.tuples(POINTS, st.integers(0, 3)), max_size=25))
@settings(max_examples=30)
def test_any_values_make_a_figure_or_none(rows):
    rows = [(point, k, 3) for point, k in rows]
    run = made(rows)
    plot = slices(run)
    if plot is None:
        assert not differing(run.results, run.parameters)
        return
    keeps_to_the_rules(plot)
    assert slices(made(rows)) == plot
    for panel in plot.panels:
        if panel.x.kind == "category" and "not shown" not in panel.x.label:
            counts = [int(label.rpartition("(")[2][:-1]) for label in panel.x.categories]
            assert sum(counts) == len(run.results) == len(panel.layers[0].x)


def test_values_that_are_left_out_are_not_called_rarer_and_the_label_fits_its_panel():
    """Each of 15 values has as many configs as any other."""
    [plot] = [slices(made([({"activation": f"A{i:02}"}, i % 3, 3) for i in range(15)]))]
    [panel] = plot.panels
    assert panel.x.label == "activation (configurations), 3 other values not shown"
    assert len(panel.x.categories) == 12
    assert len(panel.x.label) < 55
