"""The front as a figure: whom it shows, and that its line is what can be had."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hand_made import CONFIG, done, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from success_runs import EPOCHS, HIDDEN, RATE, ROWS, in_front, keeps_to_the_rules, layers

from xortune.reports.figures import front
from xortune.reports.figures.front import pareto_front
from xortune.reports.plot import Line, Points
from xortune.runs.run import Run

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

WIDE = {**HIDDEN, "direction": "maximize"}
CONFIGS = st.lists(
    st.tuples(st.integers(2, 9), st.integers(0, 16), st.just(16), st.integers(1, 900)),
    min_size=1,
    max_size=9,
)


def run_of(path, rows, objectives):
    lines = [
        done(i, CONFIG | {"hidden_dim": h, "lr": 0.01 * (1 + i)}, solved(0, k, n, epoch=epoch))
        for i, (h, k, n, epoch) in enumerate(rows)
    ]
    manifest = {"trainer": "network", "objectives": list(objectives), "ladder": [16]}
    return Run(path, manifest, tuple(lines))


@ANY
@given(CONFIGS, st.sampled_from([(RATE, HIDDEN), (HIDDEN, RATE), (WIDE, RATE), (RATE, WIDE)]))
def test_who_is_on_it_and_what_can_be_had(tmp_path, rows, objectives):
    run = run_of(tmp_path, rows, objectives)
    plot = pareto_front(run)
    keeps_to_the_rules(plot)
    [panel] = plot.panels
    assert panel.y.kind == "rate"
    others, on_it = (
        [p for p in layers(plot, Points) if p.role == role] for role in ("muted", "best")
    )
    keys = {r.key for r, on in zip(run.results, run.front, strict=True) if on}
    assert set(on_it[0].keys) == keys
    assert {key for points in others for key in points.keys} == {
        r.key for r in run.results if r.key not in keys
    }
    table = run.table.set_index("key")
    assert on_it[0].y_low == pytest.approx([table["low"][key] for key in on_it[0].keys])
    assert on_it[0].y_high == pytest.approx([table["high"][key] for key in on_it[0].keys])
    # The line runs through all of the front, and nobody is beyond it.
    [line] = layers(plot, Line)
    corners = list(zip(line.x, line.y, strict=True))
    assert set(zip(on_it[0].x, on_it[0].y, strict=True)) <= set(corners)
    more = WIDE in objectives
    for x, y in ((x, y) for p in layers(plot, Points) for x, y in zip(p.x, p.y, strict=True)):
        reach = [b for a, b in corners if (a >= x if more else a <= x)]
        assert y <= max(reach)
    for (a, b), (c, d) in pairwise(corners):
        assert a == c or b == d  # stairs
    measured = list(zip(on_it[0].x, on_it[0].y, strict=True))
    for c, d in corners:  # none is better than what was measured
        assert any((x >= c if more else x <= c) and y >= d for x, y in measured)


def test_intervals_only_for_the_front_and_only_of_rates(tmp_path):
    run = in_front(tmp_path / "run", ROWS, (RATE, HIDDEN, EPOCHS))
    plot = pareto_front(run)
    keeps_to_the_rules(plot)
    assert [panel.title for panel in plot.panels] == [
        "success rate and hidden_dim",
        "success rate and epochs to solve",
        "hidden_dim and epochs to solve",
    ]
    assert layers(plot, Line) == []  # what is a front of three is no stair of two
    for points in layers(plot, Points):
        assert points.x_low == points.x_high == ()
        assert not points.y_low or points.role == "best"
    assert [bool(p.y_low) for p in layers(plot, Points) if p.role == "best"] == [True, True, False]


def test_those_with_fewer_seeds_are_counted_and_not_shown(tmp_path):
    plot = pareto_front(in_front(tmp_path / "run", ROWS))
    assert sum(len(points.x) for points in layers(plot, Points)) == 4
    assert "Not shown: 1 with fewer seeds" in plot.note


def test_what_has_no_epochs_to_solve_is_counted_and_not_shown(tmp_path):
    rows = [(3, 0, 16, 1), (4, 8, 16, 50), (5, 16, 16, 5000)]
    plot = pareto_front(in_front(tmp_path / "run", rows, (RATE, EPOCHS)))
    assert sum(len(points.x) for points in layers(plot, Points)) == 2
    assert "1 without a success" in plot.note


@pytest.mark.parametrize("objectives", [(RATE,), None])
def test_with_one_objective_there_is_none(tmp_path, objectives):
    run = in_front(tmp_path / "run", ROWS)
    manifest = {name: value for name, value in run.manifest.items() if name != "objectives"}
    manifest |= {"objectives": list(objectives)} if objectives else {}
    assert pareto_front(replace(run, manifest=manifest)) is None


def test_without_the_full_seeds_there_is_none(tmp_path):
    assert pareto_front(in_front(tmp_path / "run", ROWS, ladder=(32,))) is None
    noted = {"objectives": [RATE, HIDDEN], "trainer": "network"}
    assert pareto_front(write_run(tmp_path / "empty", [], **noted)) is None


def test_many_others_are_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr(front, "MOST", 8)
    rows = [(2, 16, 16, 10), *((3 + i % 5, i % 14, 16, 10) for i in range(30))]
    plot = pareto_front(in_front(tmp_path / "run", rows))
    [others] = [points for points in layers(plot, Points) if points.role == "muted"]
    assert len(others.x) <= 8
    assert max(others.y) == 13 / 16
    assert min(others.y) == 0
    assert f"of 30 others {len(others.x)} are drawn" in plot.note
