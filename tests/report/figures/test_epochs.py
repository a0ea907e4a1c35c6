"""Success by epoch: the shares are counted, and the band holds for all of a line."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hand_made import CONFIG, RIGHT, WRONG, done, outcome, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from success_runs import fixed, keeps_to_the_rules, layers

from xortune.core.errors import InputError
from xortune.reports.figures.epochs import MOST_STEPS, success_by_epoch
from xortune.reports.plot import Line
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_half_width

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)


def solved_at(epochs, budget):
    """An outcome of one seed for each of these epochs, 0 where it is not solved."""
    rows = [RIGHT if epoch else WRONG for epoch in epochs]
    made = outcome(0, rows, epochs=budget)
    return replace(made, solved_epoch=np.array(epochs, np.int32))


def run_of(path, *outcomes, **manifest):
    found = [done(i, CONFIG | {"lr": 0.01 * (1 + i)}, one) for i, one in enumerate(outcomes)]
    return Run(path, {"trainer": "network", **manifest}, tuple(found))


@ANY
@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(60, 900))
def test_the_line_is_the_share_solved_by_each_epoch(tmp_path, epochs, budget):
    plot = success_by_epoch(run_of(tmp_path, solved_at(epochs, budget)))
    keeps_to_the_rules(plot)
    [line] = layers(plot, Line)
    n = len(epochs)
    assert line.step
    assert (line.x[0], line.x[-1]) == (1, budget)
    assert set(line.x) == {1, budget, *(e for e in epochs if e)}  # a step wherever there is one
    shares = [sum(0 < e <= x for e in epochs) / n for x in line.x]
    assert line.y == pytest.approx(shares)
    half = dkw_half_width(n)
    assert line.low == pytest.approx([max(0, y - half) for y in shares])
    assert line.high == pytest.approx([min(1, y + half) for y in shares])
    for rising in (line.x, line.y, line.low, line.high):
        assert all(a <= b for a, b in itertools.pairwise(rising))


def test_the_best_the_median_and_the_chosen(tmp_path):
    run = run_of(tmp_path, *(solved(0, 8 - i, 8, epoch=10 * (1 + i)) for i in range(5)))
    keys = [result.key for result in run.results]
    plot = success_by_epoch(run, [keys[4], keys[3][:8], keys[0]])
    # From the bottom to the top; the best is there once, though it was chosen.
    roles = [line.role for line in layers(plot, Line)]
    assert roles == ["b", "a", "muted", "best"]
    assert [line.y[-1] for line in layers(plot, Line)] == [5 / 8, 4 / 8, 6 / 8, 1.0]
    for result in (run.results[2], run.results[0]):
        assert f"({result.key})" in plot.alt


def test_the_best_on_its_fresh_seeds(tmp_path):
    run = fixed(tmp_path / "run")
    [line] = [line for line in layers(success_by_epoch(run), Line) if line.dashed]
    assert (line.role, line.x, line.y) == ("best", (1, 70, 1000), (0.0, 0.98, 0.98))
    assert "49 of 50" in line.texts[-1]


def test_where_nothing_is_solved(tmp_path):
    plot = success_by_epoch(run_of(tmp_path, solved(0, 0, 8)))
    [line] = layers(plot, Line)
    assert line.y == (0.0, 0.0)
    assert line.high == pytest.approx((dkw_half_width(8),) * 2)
    assert plot.title == "No seed is solved within 1,000 epochs"


@pytest.mark.parametrize(("epoch", "kind"), [(20, "log"), (900, "number")])
def test_the_axis_is_logarithmic_where_seeds_are_solved_early(tmp_path, epoch, kind):
    plot = success_by_epoch(run_of(tmp_path, solved(0, 8, 8, epoch=epoch)))
    assert plot.panels[0].x.kind == kind


def test_very_many_steps_are_thinned_to_true_ones(tmp_path):
    epochs = list(range(1, 3001))
    [line] = layers(success_by_epoch(run_of(tmp_path, solved_at(epochs, 3000))), Line)
    assert len(line.x) == MOST_STEPS
    assert (line.x[0], line.x[-1]) == (1, 3000)
    assert line.y == pytest.approx([x / 3000 for x in line.x])


def test_an_unknown_key_names_the_nearest(tmp_path):
    run = run_of(tmp_path, solved(0, 8, 8), solved(0, 7, 8))
    key = run.results[1].key
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    with pytest.raises(InputError, match=f"no configuration has the key.*did you mean '{key}'"):
        success_by_epoch(run, [wrong])


def test_an_ambiguous_or_empty_key_and_too_many(tmp_path):
    run = run_of(tmp_path, *(solved(0, 8, 8) for _ in range(40)))
    first = [result.key[0] for result in run.results]
    twice = next(sign for sign in first if first.count(sign) > 1)
    with pytest.raises(InputError, match=f"keys begin with '{twice}'"):
        success_by_epoch(run, [twice])
    with pytest.raises(InputError, match="no configuration has the key ''"):
        success_by_epoch(run, [""])
    with pytest.raises(InputError, match="at most 6"):
        success_by_epoch(run, [result.key for result in run.results[:7]])


def test_a_run_without_results(tmp_path):
    with pytest.raises(InputError, match="no configuration is finished"):
        success_by_epoch(write_run(tmp_path / "run", []))
