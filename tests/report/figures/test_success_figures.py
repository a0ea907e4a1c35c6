"""Figures of success: ranking, epochs, history, seeds, failures and front show the run's values."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from figure_runs import (
    FRESH,
    HIDDEN,
    RATE,
    column,
    in_front,
    keeps_to_the_rules,
    raced,
    rules,
    series,
)
from hand_made import CONFIG, RIGHT, WRONG, done, failed, outcome, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.outcome import wilson
from xortune.core.point import Point
from xortune.core.trainer import PROVEN_WORSE
from xortune.reports.analysis import best_subset
from xortune.reports.figures.distributions import success_by_epoch
from xortune.reports.figures.history import optimization_history
from xortune.reports.figures.ranking import pareto_front, ranking
from xortune.reports.figures.seeds import MOST_ROWS, Stop, seeds_spent, stops_of
from xortune.runs.run import Run, load_run
from xortune.stats.numbers import dkw_band

ANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)


def point(config, **more):
    return CONFIG | {"lr": 0.01 * (1 + config)} | more


def run_of(path, *outcomes, **manifest):
    found = [done(i, point(i), one) for i, one in enumerate(outcomes)]
    return Run(path, {"trainer": "network", **manifest}, tuple(found))


# The ranking.


@ANY
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([8, 30])), min_size=2, max_size=9))
def test_those_are_shaded_that_nothing_tells_from_the_best(tmp_path, kn):
    run = run_of(tmp_path, *(solved(0, min(k, n), n) for k, n in kn), ladder=[8, 30])
    members = {member.key for member in best_subset(run.results, 30).members}
    keeps_to_the_rules(ranking(run))
    spans = rules(ranking(run))
    rows = range(len(run.results))
    shaded = {row for span in spans for row in rows if span.at < row < span.to}
    best = run.results[0].outcome.successes
    tied = {row for row, r in enumerate(run.results) if r.key in members}
    assert shaded == (tied if len(tied) > 1 and best else set())
    assert sum(bool(span.label) for span in spans) == bool(shaded)


# Success by epoch.


def solved_at(epochs, budget):
    """An outcome of one seed for each of these epochs, 0 where it is not solved."""
    rows = [RIGHT if epoch else WRONG for epoch in epochs]
    made = outcome(0, rows, epochs=budget)
    return replace(made, solved_epoch=np.array(epochs, np.int32))


@ANY
@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(60, 900))
def test_the_line_is_the_share_solved_by_each_epoch(tmp_path, epochs, budget):
    plot = success_by_epoch(run_of(tmp_path, solved_at(epochs, budget)))
    keeps_to_the_rules(plot)
    [line] = series(plot, kind="steps")
    n, x = len(epochs), column(line, "x")
    assert (x[0], x[-1]) == (1, budget)
    assert set(x) == {1, budget, *(e for e in epochs if e)}  # a step wherever there is one
    shares = [sum(0 < e <= at for e in epochs) / n for at in x]
    assert column(line, "y") == pytest.approx(shares)
    half = dkw_band(0, n)[1]
    for y, ends in zip(shares, column(line, "y_ends"), strict=True):
        assert ends == pytest.approx((max(0, y - half), min(1, y + half)))
    for rising in (x, column(line, "y")):
        assert all(a <= b for a, b in itertools.pairwise(rising))


def test_a_key_that_is_unknown_ambiguous_or_one_too_many_is_refused(tmp_path):
    run = run_of(tmp_path, *(solved(0, 8, 8) for _ in range(40)))
    key = run.results[1].key
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    with pytest.raises(InputError, match=f"no configuration has the key.*did you mean '{key}'"):
        success_by_epoch(run, [wrong])
    first = [result.key[0] for result in run.results]
    twice = next(sign for sign in first if first.count(sign) > 1)
    with pytest.raises(InputError, match=f"keys begin with '{twice}'"):
        success_by_epoch(run, [twice])
    with pytest.raises(InputError, match="no configuration has the key ''"):
        success_by_epoch(run, [""])
    with pytest.raises(InputError, match="at most 6"):
        success_by_epoch(run, [result.key for result in run.results[:7]])


# The history.

# Each block: of which config, and how many of its four seeds are solved.
BLOCKS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=25)


@ANY
@given(BLOCKS)
def test_the_best_so_far_and_each_config_where_it_began(tmp_path, blocks):
    """Held against one that looks at all configs after each block."""
    lines, had = [], Counter()
    for config, k in blocks:
        lines.append(done(config, point(config), solved(had[config], k, 4)))
        had[config] += 4
    run = Run(tmp_path, {"trainer": "network"}, tuple(lines))
    plot = optimization_history(run)
    keeps_to_the_rules(plot)
    [line] = series(plot, kind="steps")
    k_of, n_of, best = Counter(), Counter(), []
    for config, k in blocks:
        k_of[config] += k
        n_of[config] += 4
        best.append(max(float(wilson(k_of[one], n_of[one])[0]) for one in n_of))
    seeds = [4 * (1 + at) for at in range(len(blocks))]
    # As a step function the line is the best after every block.
    x, y = column(line, "x"), column(line, "y")
    drawn = [y[np.searchsorted(x, at, side="right") - 1] for at in seeds]
    assert drawn == pytest.approx(best)
    assert x[-1] == seeds[-1] == sum(result.outcome.n for result in run.results)
    dots = {m.key: (m.x, m.y) for points in series(plot, "points") for m in points.marks}
    began = {}
    for at, evaluation in enumerate(run.evaluations):
        began.setdefault(evaluation.block.point.key, 4.0 * (1 + at))
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
    assert series(plot, kind="steps")[0].marks[-1].x == 4 * 1000 + 4 * 10 + 4 * 100


def certified(run):
    plot = optimization_history(run)
    return rules(plot), series(plot, label=f"certified, on {FRESH} fresh seeds")


def test_of_several_searches_it_is_no_sooner_than_its_counts(tmp_path):
    run = raced(tmp_path / "run").noted(sessions=[{"made": "a"}, {"made": "a"}], made={"a": {}})
    found, _ = certified(load_run(run.path))
    # The second finalist has had its 16 seeds after 48 of 52.
    assert [(rule.at, rule.label) for rule in found] == [(48.0, "certificate, not before")]
    fewer = Run(run.path, run.manifest, run.evaluations[:10])
    assert certified(fewer) == ([], []), "a certificate of other counts has no place"
    beside = run.noted(sessions=[{"made": "a"}, {"made": "a", "what": "certify"}])
    assert [rule.at for rule in certified(load_run(beside.path))[0]] == [52.0]


# Where the seeds went.

SIZES = st.lists(st.sampled_from([2, 4, 8, 40]), min_size=1, max_size=MOST_ROWS + 20)


def totals(panel):
    """The height of each bar of a panel, and that its parts lie on each other without a gap."""
    tops = Counter()
    for bars in panel.layers:
        for mark in bars.marks:
            assert mark.y_ends == pytest.approx((tops[mark.x], tops[mark.x] + mark.y))
            assert mark.y > 0
            tops[mark.x] += mark.y
    return tops


@ANY
@given(SIZES)
def test_all_seeds_are_there_once(tmp_path, sizes):
    outcomes = [solved(0, i % (n + 1), n) for i, n in enumerate(sizes)]
    run = run_of(tmp_path, *outcomes, ladder=[2, 4, 8, 40])
    plot, stops = seeds_spent(run), stops_of(run)
    keeps_to_the_rules(plot)
    for stop, found in Counter(stops).items():
        seeds = sum(r.outcome.n for r, s in zip(run.results, stops, strict=True) if s == stop)
        assert f"{stop.value}: {found:,} configuration" in plot.alt
        assert f" with {seeds:,} seed" in plot.alt
    if len(sizes) <= MOST_ROWS:
        rows = {mark.y: (mark.x, mark.key) for bars in series(plot) for mark in bars.marks}
        table = run.table[["n", "key"]]
        assert rows == {float(row.Index): (row.n, row.key) for row in table.itertuples()}
        return
    configs, seeds = plot.panels
    reached = sorted(set(sizes))
    assert configs.x.categories == tuple(map(str, reached))
    assert totals(configs) == {float(reached.index(n)): c for n, c in Counter(sizes).items()}
    shares = {n: n * c / sum(sizes) for n, c in Counter(sizes).items()}
    assert totals(seeds) == pytest.approx({float(reached.index(n)): s for n, s in shares.items()})


# Why configs got no more seeds: what the search recorded, and what follows from the counts.

LADDER = [4, 8, 32, 128]
RACED = ((128, 128), (32, 32), (7, 8), (3, 8), (0, 4))
LINES = [done(i, point(i, hidden_dim=2 + i), solved(0, k, n)) for i, (k, n) in enumerate(RACED)]


@pytest.mark.parametrize(
    ("manifest", "reasons"),
    [
        ({}, "FULL QUICKER AHEAD WORSE UNSOLVED"),
        ({"objectives": [RATE, HIDDEN]}, "FULL DOMINATED DOMINATED WORSE UNSOLVED"),
        ({"complete": False}, "FULL ENDED ENDED WORSE UNSOLVED"),
        ({"proven": {"key": "0", "rate": 0.9}}, "FULL ENDED ENDED WORSE UNSOLVED"),
        ({"ladder": [128]}, "FULL ENDED ENDED WORSE ENDED"),
        ({"ladder": None}, "FULL EARLY EARLY EARLY EARLY"),
    ],
)
def test_every_reason(tmp_path, manifest, reasons):
    worse = LINES[3].block.point
    verdict = replace(failed(3, worse, 8, 1, final=False), error=PROVEN_WORSE)
    given = {"trainer": "network", "ladder": LADDER, "complete": True, **manifest}
    run = Run(tmp_path, given, (*LINES, verdict))
    found = {r.key: stop.name for r, stop in zip(run.results, stops_of(run), strict=True)}
    assert [found[line.block.point.key] for line in LINES] == reasons.split()


def test_seeds_of_several_versions_tell_nothing(tmp_path):
    other = replace(done(1, LINES[1].block.point, solved(32, 2, 2)), fingerprint="1" * 8)
    run = Run(tmp_path, {"trainer": "network", "ladder": LADDER, "complete": True}, (*LINES, other))
    assert run.set_aside
    assert set(stops_of(run)) == {Stop.FULL, Stop.EARLY}


# The front.


def test_a_front_of_one_that_is_best_in_both_is_a_point(tmp_path):
    """golden.json has the stairs through a longer one."""
    rows = [(2, 4, 16, 10), (5, 8, 16, 10), (9, 16, 16, 10), (8, 8, 16, 10), (3, 2, 16, 10)]
    both = ({**HIDDEN, "direction": "maximize"}, RATE)
    plot = pareto_front(in_front(tmp_path / "run", rows, both))
    keeps_to_the_rules(plot)
    for layer in (*series(plot, "line"), *series(plot, "points", role="best")):
        assert [(mark.x, mark.y) for mark in layer.marks] == [(9, 1.0)]


def test_labels_have_the_important_parameters_that_find_room(tmp_path):
    wide = {f"a{i}": f"value-{i}" for i in range(5)}
    lines = [
        done(i, wide | {"a3": f"value-{i}", "lr": 0.1 + i, "n": i}, solved(0, 8 - i, 8))
        for i in range(3)
    ]
    importance = {"n": 0.1, "a3": 0.7, "lr": 0.2}
    run = write_run(tmp_path / "run", lines, importance=importance)
    axis = ranking(run).panels[0].y
    assert axis.label == "solved · a3, lr, n · key"
    key = Point(lines[1].block.point).key[:6]
    assert axis.categories[1] == f"7/8 · value-1, 1.1, 1 · {key}"
    longer = [done(i, {"x" * 60: "y" * 60 + str(i), "n": i}, solved(0, 8, 8)) for i in range(3)]
    axis = ranking(write_run(tmp_path / "longer", longer)).panels[0].y
    assert axis.label == f"solved · {'x' * 8}…{'x' * 7}, n · key"
    assert max(map(len, axis.categories)) <= 56
