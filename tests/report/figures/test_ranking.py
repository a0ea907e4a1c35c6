"""The ranking: the run's values, the tied set as its shade, the certificate's bounds."""

from __future__ import annotations

import pytest
from hand_made import CONFIG, RIGHT, WRONG, done, outcome, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from success_runs import fixed, keeps_to_the_rules, layers

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.reports.figures.ranking import ranking
from xortune.reports.plot import Points, Span
from xortune.reports.tables import best_subset as tied_set
from xortune.runs.run import Run

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def run_of(path, outcomes, **manifest):
    found = [done(i, CONFIG | {"lr": 0.01 * (1 + i)}, one) for i, one in enumerate(outcomes)]
    return Run(path, {"trainer": "network", **manifest}, tuple(found))


def counts(most):
    return st.integers(1, most).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@ANY
@given(st.lists(counts(20), min_size=1, max_size=8), st.integers(1, 9))
def test_the_values_are_those_of_the_table(tmp_path, kn, top):
    run = run_of(tmp_path, [solved(0, k, n) for k, n in kn])
    plot = ranking(run, top)
    keeps_to_the_rules(plot)
    [points] = layers(plot, Points)
    table = run.table.head(top)
    assert points.keys == tuple(table["key"])
    assert points.x == tuple(table["rate"])
    assert points.x_low == pytest.approx(tuple(table["low"]))
    assert points.x_high == pytest.approx(tuple(table["high"]))
    rows = zip(points.x_low, points.x, points.x_high, strict=True)
    assert all(low <= x <= high for low, x, high in rows)
    low, high = plot.panels[0].x.limits
    assert low <= min(points.x_low)
    assert max(points.x_high) <= high
    assert len(plot.panels[0].y.categories) == len(table)


@ANY
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([8, 30])), min_size=2, max_size=9))
def test_the_shade_is_the_tied_set(tmp_path, kn):
    run = run_of(tmp_path, [solved(0, min(k, n), n) for k, n in kn], ladder=[8, 30])
    members = {member.key for member in tied_set(run.results, 30).members}
    plot = ranking(run)
    shaded = {
        row
        for span in layers(plot, Span)
        for row in range(len(run.results))
        if span.low < row < span.high
    }
    best = run.results[0].outcome.successes
    tied = {row for row, r in enumerate(run.results) if r.key in members}
    assert shaded == (tied if len(tied) > 1 and best else set())
    assert sum(bool(span.label) for span in layers(plot, Span)) == bool(shaded)


def test_one_with_fewer_seeds_between_two_that_are_tied_is_not_shaded(tmp_path):
    # By their lower ends: 40 of 40, then 20 of 20, then 33 of 40.
    others = [solved(0, 20, 20), outcome(0, [RIGHT] * 36 + [WRONG] * 4)]
    run = run_of(tmp_path, [solved(0, 40, 40), *others], ladder=[20, 40])
    assert [r.outcome.n for r in run.results] == [40, 20, 40]
    spans = layers(ranking(run), Span)
    assert [(span.low, span.high) for span in spans] == [(-0.5, 0.5), (1.5, 2.5)]


def test_search_and_certificate_are_side_by_side(tmp_path):
    run = fixed(tmp_path / "run")
    searched, certified = layers(ranking(run), Points)
    finalists = run.certificate.finalists
    assert certified.keys == tuple(found.key for found in finalists)
    assert certified.x == (49 / 50, 45 / 50)
    assert certified.x_low == tuple(found.lower_bound for found in finalists)
    assert certified.x_high == certified.x
    assert searched.keys[:2] == certified.keys
    for row in (0, 1):  # in one row, and apart
        assert round(searched.y[row]) == round(certified.y[row]) == row
        assert searched.y[row] < certified.y[row]
    assert searched.y[2:] == (2.0, 3.0, 4.0, 5.0)


def test_a_finalist_that_is_not_among_the_first_is_not_shown(tmp_path):
    plot = ranking(fixed(tmp_path / "run"), top=1)
    assert [len(points.x) for points in layers(plot, Points)] == [1, 1]


def test_without_a_success_nothing_is_tied(tmp_path):
    plot = ranking(run_of(tmp_path, [solved(0, 0, 8)] * 3))
    assert layers(plot, Span) == []
    assert plot.title == "All 3 configurations: no seed was solved"
    assert "winner" not in plot.note


def test_the_labels_have_the_important_parameters_that_find_room(tmp_path):
    wide = {f"a{i}": f"value-{i}" for i in range(5)}
    lines = [
        done(i, wide | {"a3": f"value-{i}", "lr": 0.1 + i, "n": i}, solved(0, 8 - i, 8))
        for i in range(3)
    ]
    importance = {"n": 0.1, "a3": 0.7, "lr": 0.2}
    run = write_run(tmp_path / "run", lines, importance=importance)
    axis = ranking(run).panels[0].y
    assert axis.label == "solved · a3, lr, n · key"
    keys = [Point(line.block.point).key[:6] for line in lines]
    assert axis.categories[1] == f"7/8 · value-1, 1.1, 1 · {keys[1]}"
    longer = [done(i, {"x" * 60: "y" * 60 + str(i), "n": i}, solved(0, 8, 8)) for i in range(3)]
    axis = ranking(write_run(tmp_path / "longer", longer)).panels[0].y
    assert axis.label == f"solved · {'x' * 15}…, n · key"
    assert max(map(len, axis.categories)) <= 40


def test_a_run_without_results(tmp_path):
    with pytest.raises(InputError, match="no configuration is finished"):
        ranking(write_run(tmp_path / "run", []))
