"""The history of a search, held against one that looks at all configs after each block."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made import CONFIG, done, failed, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from success_runs import FRESH, fixed, keeps_to_the_rules, layers

from xortune.core.counts import wilson
from xortune.core.errors import InputError
from xortune.reports.figures import history
from xortune.reports.figures.history import optimization_history
from xortune.reports.figures.labels import thinned
from xortune.reports.plot import Line, Points, Rule
from xortune.runs.run import Run, load_run

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)

# Each block: of which config, and how many of its four seeds are solved.
BLOCKS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=25)


def point(config, **more):
    return CONFIG | {"lr": 0.01 * (1 + config)} | more


def journal(blocks):
    had, lines = {}, []
    for config, k in blocks:
        first = had.get(config, 0)
        had[config] = first + 4
        lines.append(done(config, point(config), solved(first, k, 4)))
    return lines


@ANY
@given(BLOCKS)
def test_the_best_so_far(tmp_path, blocks):
    run = Run(tmp_path, {"trainer": "network"}, tuple(journal(blocks)))
    plot = optimization_history(run)
    keeps_to_the_rules(plot)
    [line] = layers(plot, Line)
    counts, best = {}, []
    for config, k in blocks:
        before = counts.get(config, (0, 0))
        counts[config] = before[0] + k, before[1] + 4
        best.append(max(float(wilson(*found)[0]) for found in counts.values()))
    seeds = [4 * (1 + at) for at in range(len(blocks))]
    # As a step function the line is the best after every block.
    drawn = [line.y[np.searchsorted(line.x, x, side="right") - 1] for x in seeds]
    assert drawn == pytest.approx(best)
    assert line.x[-1] == seeds[-1] == sum(result.outcome.n for result in run.results)


@ANY
@given(BLOCKS)
def test_each_config_is_one_dot_where_it_began(tmp_path, blocks):
    run = Run(tmp_path, {"trainer": "network"}, tuple(journal(blocks)))
    dots = {
        key: (x, y)
        for points in layers(optimization_history(run), Points)
        for key, x, y in zip(points.keys, points.x, points.y, strict=True)
    }
    began = {}
    for at, line in enumerate(run.evaluations):
        began.setdefault(line.block.point.key, 4.0 * (1 + at))
    assert dots == {r.key: (began[r.key], r.outcome.rate) for r in run.results}


def test_where_configs_have_other_epochs_the_cost_is_seed_epochs(tmp_path):
    lines = [
        done(0, point(0), solved(0, 4, 4)),
        done(1, point(1, epochs=10), solved(0, 2, 4, epochs=10, epoch=5)),
        failed(2, point(2, epochs=100), 0, 4),
        failed(3, point(3), 0, 4, final=False),  # it has no result
    ]
    plot = optimization_history(write_run(tmp_path / "run", lines))
    assert plot.panels[0].x.label == "seed-epochs spent"
    assert layers(plot, Line)[0].x[-1] == 4 * 1000 + 4 * 10 + 4 * 100


def certified(run):
    plot = optimization_history(run)
    return layers(plot, Rule), layers(plot, Points, f"certified, on {FRESH} fresh seeds")


def test_the_certificate_of_one_search_is_at_its_end(tmp_path):
    rules, points = certified(fixed(tmp_path / "run"))
    assert [(rule.at, rule.label) for rule in rules] == [(52.0, "certificate")]
    [found] = points
    assert (found.x, found.y, found.y_high) == ((52.0,), (0.98,), (0.98,))
    assert found.y_low == pytest.approx((0.879037,))


def test_of_several_searches_it_is_no_sooner_than_its_counts(tmp_path):
    run = fixed(tmp_path / "run").noted(sessions=[{"made": "a"}, {"made": "a"}])
    rules, _ = certified(load_run(run.path))
    # The second finalist has had its 16 seeds after 48 of 52.
    assert [(rule.at, rule.label) for rule in rules] == [(48.0, "certificate, not before")]
    beside = run.noted(sessions=[{"made": "a"}, {"made": "a", "what": "certify"}])
    assert [rule.at for rule in certified(load_run(beside.path))[0]] == [52.0]


def test_a_certificate_of_other_counts_has_no_place(tmp_path):
    run = fixed(tmp_path / "run").noted(sessions=[{"made": "a"}, {"made": "a"}])
    fewer = Run(run.path, run.manifest, run.evaluations[:10])
    assert certified(fewer) == ([], [])


def test_very_many_configs_are_thinned_but_for_those_that_led(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "MOST", 8)
    monkeypatch.setattr(
        history, "thinned", lambda values, always: thinned(values, always, history.MOST)
    )
    blocks = [(i, k) for i, k in enumerate([1, 1, 1, 2, 1, 1, 1, 1, 3, 0, 1, 1, 1, 4, 1, 1, 1, 1])]
    plot = optimization_history(Run(tmp_path, {"trainer": "network"}, tuple(journal(blocks))))
    drawn = [x for points in layers(plot, Points) for x in points.x]
    assert {4.0, 16.0, 36.0, 56.0} <= set(drawn)  # led
    assert 40.0 in drawn  # the lowest
    assert len(drawn) < len(blocks)
    assert f"Of 18 configurations {len(drawn)} are drawn: all that ever led" in plot.note


@given(st.lists(st.floats(0, 1), max_size=90), st.sets(st.integers(0, 8)))
def test_thinned_keeps_the_extremes_and_what_it_is_told_to(values, always):
    always = {place for place in always if place < len(values)}
    kept = thinned(values, always, most=12).tolist()
    assert kept == sorted(set(kept))
    if len(values) <= 12:
        assert kept == list(range(len(values)))
        return
    assert always <= set(kept)
    assert len(kept) <= 12 + len(always)
    seen = [values[place] for place in kept]
    assert max(seen) == max(values)
    assert min(seen) == min(values)


def test_a_run_without_results(tmp_path):
    with pytest.raises(InputError, match="no configuration is finished"):
        optimization_history(write_run(tmp_path / "run", []))
