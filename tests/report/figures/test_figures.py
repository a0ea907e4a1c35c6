"""Figures of runs: their values and words, what each says, their order, runs that are strange."""

import itertools
import json
import os
import re
from collections import Counter
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import figure_runs
import numpy as np
import pytest
import torch
from figure_runs import EPOCHS, HIDDEN, RATE, REQUIRED, check_rules, column, in_front, rules, series
from hand_made import CONFIG, RIGHT, WRONG, done, failed, outcome, solved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xortune
from xortune.comparisons.comparison import compare_all
from xortune.comparisons.measures import measure_of
from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.outcome import Curves, Details, Outcome, Status, wilson
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import PROVEN_WORSE
from xortune.reports.drawing.model import Cells, Mark
from xortune.reports.figures import FIGURES, comparisons, figures_of, parameters
from xortune.reports.figures.comparisons import number_figures
from xortune.reports.figures.distributions import (
    learning_curves,
    scores,
    strips,
    success_by_epoch,
)
from xortune.reports.figures.frontier import frontier
from xortune.reports.figures.history import number_history, optimization_history, timeline
from xortune.reports.figures.parameters import contour, number_slices, slices, smooth
from xortune.reports.figures.ranking import pareto_front, ranking
from xortune.reports.figures.seeds import (
    MOST_ROWS,
    Stop,
    same_seeds,
    seeds_so_far,
    seeds_spent,
    stops_of,
)
from xortune.reports.figures.surface import decision_surface
from xortune.reports.parameters import varying
from xortune.reports.scripts import plain_script
from xortune.runs.run import Run, load_run
from xortune.stats.numbers import dkw_band
from xortune.trainers import fused

GOLDEN = Path(__file__).with_name("golden.json")
HOSTILE = "<b onclick='x()'>\n\t\"&|`$\\{}%\U0001f389\u202e" + "x" * 200
OURS = ("ranking", "success-by-epoch", "seeds-spent", "failures", "history", "front")
"""The figures of success; those of parameters have tests of their own."""


def ours(run):
    """The figures of success among all of a run, which they lead."""
    plots = figures_of(run)
    found = [plot for plot in plots if plot.name in OURS]
    assert found == list(plots[: len(found)])
    return found


@pytest.fixture(scope="module")
def plots(tmp_path_factory):
    """All figures but the decision surface, whose values follow from a training."""
    folder = tmp_path_factory.mktemp("golden")
    network = figure_runs.networks()
    rows = [(5, 16, 16, 300), (5, 15, 16, 200), (3, 12, 16, 100), (4, 11, 16, 900), (2, 4, 4, 10)]
    return [
        *ours(figure_runs.raced(folder / "raced")),
        same_seeds(figure_runs.failing(folder / "failing")),
        timeline(figure_runs.two_workers(folder / "workers")),
        ours(in_front(folder / "front", rows))[-1],
        frontier(in_front(folder / "required", rows, (REQUIRED,))),
        slices(run := searched(folder / "searched")),
        contour(run),
        parameters.parallel_coordinate(run),
        parameters.param_importances(run),
        comparisons.differences(network),
        comparisons.wins(network),
        comparisons.profile(network),
        comparisons.numbers_profile(figure_runs.numbers()),
    ]


@pytest.fixture(scope="module")
def every(plots, tmp_path_factory):
    """Each with a decision surface, of a run whose best config fails under some seeds."""
    config = Config(**CONFIG | {"activation": "ReLU", "lr": 0.05, "hidden_dim": 3, "epochs": 200})
    outcome = fused.train(config, Task.xor(), np.arange(24))
    loss = outcome.final_loss.astype(float)
    way = np.concatenate([2 * loss, loss]).astype(np.float32)[:, None]
    curves = Curves(("loss",), np.tile(outcome.seeds, 2), np.repeat([1, 2], 24), way)
    details = Details({"loss": loss}, curves=(curves,))
    line = done(0, config.point, replace(outcome, details=details))
    run = write_run(tmp_path_factory.mktemp("surface"), [line], trainer="network", task="xor")
    more = [draw(run) for draw in (decision_surface, scores, learning_curves, seeds_so_far)]
    told = [
        done(i, {"lr": i}, figure_runs.scored(np.linspace(0.1 * i, 1, 8), statuses=[0] * 8))
        for i in range(3)
    ]
    more.append(strips(write_run(tmp_path_factory.mktemp("strips"), told, trainer="f.py:f")))
    noted = {"trainer": "f.py:f", "success": "finite score", "objectives": [figure_runs.MEAN]}
    told = [
        done(i, {"lr": i}, figure_runs.scored([i**0.5 + one for one in range(8)], statuses=[0] * 8))
        for i in range(24)
    ]
    run = write_run(tmp_path_factory.mktemp("number"), told, **noted)
    more += [number_history(run), number_slices(run)]
    contestants = figure_runs.numbers().contestants
    outcomes = [one.outcome for one in contestants]
    name = outcomes[0].number_names[0]
    measure = measure_of(f"{name}_iqm", outcomes, [None] * len(outcomes), None)
    more += number_figures(compare_all(contestants, measure))
    return {plot.name: plot for plot in [*plots, *more]}


def close(found, kept):
    """Equal, floats as far as libraries agree."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(close(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(close, found, kept))
    if type(kept) is float:
        return found == pytest.approx(kept, abs=2e-6, rel=1e-6, nan_ok=True)
    return found == kept


def as_json(plots):
    """What they say beyond the defaults, as JSON has it."""

    def told(value):
        if isinstance(value, Mark):
            return [told(part) for part in value if part is not None and part != ""]
        if is_dataclass(value):
            pairs = ((f, getattr(value, f.name)) for f in fields(value))
            kept = {f.name: told(part) for f, part in pairs if part != f.default}
            return {"is": type(value).__name__, **kept}
        if isinstance(value, list | tuple):
            return [told(part) for part in value]
        return round(value, 9) if isinstance(value, float) else value

    return {plot.name: told(plot) for plot in plots}


def test_golden(plots):
    """After a wanted change: run this file with GOLDEN=renew in the environment; read the diff."""
    text = json.dumps(as_json(plots), indent=1, ensure_ascii=False)
    if os.environ.get("GOLDEN") == "renew":
        GOLDEN.write_text(text + "\n", encoding="utf-8")
    found, kept = json.loads(text), json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(found) == list(kept)
    for name, plot in found.items():
        assert close(plot, kept[name]), name


def test_none_is_forgotten_here(every):
    folder = Path(xortune.__file__).parent / "reports" / "templates" / "figures"
    names = {path.name.removesuffix(".txt.jinja") for path in folder.glob("*.jinja")}
    assert sorted(every) == sorted(names - {"tested"})


def test_each_says_what_one_sees_what_is_found_and_how_sure_that_is(every):
    for name, plot in every.items():
        check_rules(plot)
        assert 3 <= len(plot.title.split()) < 25, name
        assert plot.title[-1] not in ".:", name
        assert plot.alt.endswith("."), name
        assert re.search(r"\d", plot.alt) or "as far as the data tell" in plot.alt, name
        assert not re.search(r"\b(nan|inf|None)\b", plot.alt), name
        assert re.search(r"\bn = [\d,]+|unsolved seeds of n\b", plot.note), name
        none = "without any uncertainty|has no interval|n = 1 seed|counts, and shares of few"
        assert re.search(f"%|{none}", plot.note), name  # how sure, or that nobody knows
        for layer in series(plot):
            found = any(mark.x_ends or mark.y_ends for mark in layer.marks)
            if found and layer.kind != "bars":
                assert re.search(r"\d+ %", plot.note), f"{name}: no confidence"
                assert re.search(r"(?i)\b(bars?|bands?|line)\b", plot.note), name
            # A cloud of points, each of them a config or a seed, has no intervals.
            cloud = layer.role in {"neutral", "best"} or name in (
                "history",
                "same-seeds",
                "number-strips",
            )
            assert found or cloud, f"{name}: {layer.label}"


def test_a_run_without_a_finished_config_has_none(tmp_path):
    assert figures_of(write_run(tmp_path / "empty", [])) == ()
    run = write_run(tmp_path / "tried", [failed(0, CONFIG, 0, 8, final=False)])
    assert figures_of(run) == ()
    for figure in FIGURES[:5]:
        with pytest.raises(InputError, match="no configuration is finished"):
            figure.make(run)


def alike(k, configs=4):
    return [done(i, CONFIG | {"lr": 0.01 * (1 + i)}, solved(0, k, 8)) for i in range(configs)]


def hostile():
    points = ({HOSTILE: HOSTILE + str(i), "n\nm": i, "huge": 10**300} for i in range(5))
    lines = [done(i, one, solved(0, i, 8)) for i, one in enumerate(points)]
    return [*lines, done(5, {HOSTILE: 1e-300, "\u2028": None, "b": True}, solved(0, 2, 8))]


RANKING, SUCCESS, FAILURE = "ranking", "success-by-epoch", "failures"


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (alike(8, 1), [RANKING, SUCCESS]),
        (alike(0, 1), [FAILURE]),
        ([failed(0, CONFIG, 0, 8)], [FAILURE]),
        (alike(0), [FAILURE]),
        (hostile(), [RANKING, SUCCESS, FAILURE, "history"]),
        (
            [*alike(8), done(9, CONFIG | {"lr": 1.0}, solved(0, 1, 2, epochs=7, epoch=7))],
            [RANKING, SUCCESS, "seeds-spent", FAILURE, "history"],
        ),
    ],
)
def test_runs_that_are_strange(tmp_path, lines, names):
    run = write_run(tmp_path / "run", lines, trainer="own", ladder=[2, 8])
    assert [plot.name for plot in ours(run)] == names
    for plot in figures_of(run):
        check_rules(plot)


@pytest.mark.parametrize(("objective", "front"), [(EPOCHS, []), (HIDDEN, ["front"])])
def test_a_front_of_which_nothing_is_known_is_left_out(tmp_path, objective, front):
    run = in_front(tmp_path / "r", [(3, 0, 16, 1), (4, 0, 16, 1)], (RATE, objective))
    assert [plot.name for plot in ours(run)] == [FAILURE, *front]


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
    alike = run.indistinguishable
    members = {member.key for member in alike.members} if alike else set()
    check_rules(ranking(run))
    spans = rules(ranking(run))
    rows = range(len(run.results))
    shaded = {row for span in spans for row in rows if span.at < row < span.to}
    best = run.results[0].outcome.successes
    tied = {row for row, r in enumerate(run.results) if r.key in members}
    assert shaded == (tied if len(tied) > 1 and best else set())
    assert all(span.label for span in spans)


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
    check_rules(plot)
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
    first = [result.key[0] for result in run.results]
    twice = next(sign for sign in first if first.count(sign) > 1)
    for keys, words in (
        ([wrong], f"no configuration has the key.*did you mean '{key}'"),
        ([twice], f"keys begin with '{twice}'"),
        ([""], "no configuration has the key ''"),
        ([result.key for result in run.results[:7]], "at most 6"),
    ):
        with pytest.raises(InputError, match=words):
            success_by_epoch(run, keys)


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
    check_rules(plot)
    line, by_seconds = series(plot, kind="steps")
    assert column(by_seconds, "y") == column(line, "y")
    assert by_seconds.marks[-1].x == 0.5 * len(blocks)
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
    return rules(plot), series(plot, label="certified, on 50 fresh seeds")


def test_of_several_searches_it_is_no_sooner_than_its_counts(tmp_path):
    twice = {"sessions": [{"made": "a"}] * 2, "made": {"a": {}}}
    run = figure_runs.raced(tmp_path / "run").noted(**twice)
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
    check_rules(plot)
    for stop, found in Counter(stops).items():
        seeds = sum(r.outcome.n for r, s in zip(run.results, stops, strict=True) if s == stop)
        many = "" if found == 1 else "s"
        assert f"{found:,} configuration{many} ({stop.words}) with {seeds:,} seed" in plot.alt
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
    check_rules(plot)
    for layer in (*series(plot, "line"), *series(plot, "points", role="best")):
        assert [(mark.x, mark.y) for mark in layer.marks] == [(9, 1.0)]


def test_labels_have_the_important_parameters_that_find_room(tmp_path):
    wide = {f"a{i}": f"value-{i}" for i in range(5)}
    points = [wide | {"a3": f"value-{i}", "lr": 0.1 + i, "n": i} for i in range(3)]
    lines = [done(i, one, solved(0, 8 - i, 8)) for i, one in enumerate(points)]
    importance = {"n": 0.1, "a3": 0.7, "lr": 0.2}
    run = write_run(tmp_path / "run", lines, importance=importance)
    axis = ranking(run).panels[0].y
    key = Point(points[1]).key[:6]
    assert axis.categories[1] == f"7/8 · value-1, lr 1.1, n 1 · {key}"
    longer = [done(i, {"x" * 60: "y" * 60 + str(i), "n": i}, solved(0, 8, 8)) for i in range(3)]
    axis = ranking(write_run(tmp_path / "longer", longer)).panels[0].y
    assert axis.categories[1].startswith(f"8/8 · {'y' * 8}…{'y' * 6}1, n 1 · ")
    assert max(map(len, axis.categories)) <= 108


# Parameters.

GRID_SPACE = """
name: fixed
parameters: {lr: {low: 0.01, high: 0.1, log: true}}
search: {sampler: random, trials: 30}
"""
IMPORTANCE = {"hidden_dim": 0.5, "lr": 0.3, "activation": 0.15, "optimizer": 0.05}


def points():
    """(config, solved of 10 seeds) of 30 configs: more hidden units solve more."""
    for i in range(30):
        optimizer = ("Adam", "SGD")[i % 2]
        config = CONFIG | {
            "activation": ("Tanh", "ReLU", "ELU")[i % 3],
            "optimizer": optimizer,
            "lr": 0.01 * 10 ** ((7 * i % 30) / 29),
            "hidden_dim": 2 + (11 * i) % 19,
        }
        if optimizer == "SGD":
            config["momentum"] = 0.03 * (i % 29)
        yield config, min(10, config["hidden_dim"] // 2)


def searched(path):
    """A network's run of 30 configs, with importance."""
    lines = [done(i, config, solved(0, k, 10)) for i, (config, k) in enumerate(points())]
    noted = {"importance": IMPORTANCE, "importance_resampled": figure_runs.RESAMPLED}
    return write_run(path, lines, space_text=GRID_SPACE, trainer="network", task="xor", **noted)


def made(rows, **manifest):
    """A run of a user's own trainer, in memory, of (point, k, n): each point once."""
    rows = {Point(point).key: (point, k, n) for point, k, n in rows}.values()
    lines = (done(i, point, solved(0, k, n)) for i, (point, k, n) in enumerate(rows))
    return Run(Path("nowhere"), manifest, tuple(lines))


# The success rate over one parameter.


def only(plot, kind):
    [panel] = plot.panels
    [layer] = (layer for layer in panel.layers if isinstance(layer, kind))
    return panel, layer


def test_the_mean_is_weighted_by_nearness_and_the_band_is_its_error():
    """Cochran (1977), Sampling Techniques, 6.4: variance sum w^2 (r - mean)^2 / (sum w)^2."""
    draw = np.random.default_rng(1)
    places, rates = draw.integers(0, 1001, 300) / 1000, draw.uniform(size=300)
    mean, low, high = smooth(places, rates, np.ones(len(rates)))
    for at, x in enumerate(np.linspace(0, 1, parameters.GRID)):
        weights = np.exp(-((places - x) ** 2) / (2 * parameters.BANDWIDTH**2))
        assert mean[at] == pytest.approx(np.average(rates, weights=weights), abs=2e-6)
        error = np.sqrt((weights**2 * (rates - mean[at]) ** 2).sum()) / weights.sum()
        band = mean[at] - 1.96 * error, mean[at] + 1.96 * error
        assert (low[at], high[at]) == pytest.approx(band, abs=2e-6)


def test_nothing_is_said_where_fewer_than_five_configs_are_near():
    near_the_ends = [*np.linspace(0, 0.1, 20), 0.5, *np.linspace(0.9, 1, 20)]
    mean, *_ = smooth(np.array(near_the_ends), np.full(41, 0.5), np.ones(41))
    assert np.isfinite(mean[[0, 60]]).all()
    assert np.isnan(mean[25:36]).all()
    assert np.isnan(
        smooth(np.array([0, 0.5, 1.0, 0.25]), np.array([0, 1.0, 0, 1]), np.ones(4))[0]
    ).all()
    assert "Lines: " not in slices(made([({"x": at}, 1, 2) for at in (0, 0.5, 1.0)])).note
    left, right = series(slices(made([({"x": at}, 1, 2) for at in near_the_ends])), "line")
    assert max(column(left, "x")) < 0.4
    assert min(column(right, "x")) > 0.6
    assert left.label == right.label != "", "the legend hides both"


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
    assert cells.texts[0] == ("", "50 % (1)")


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("lr", "hiden_dim"), "did you mean 'hidden_dim'"),
        ("lr", "two parameters"),
        (("lr", "epochs"), "the same in all"),
    ],
)
def test_a_pair_that_is_none_is_refused(tmp_path, pair, said):
    with pytest.raises(InputError, match=said):
        contour(searched(tmp_path / "r"), pair)


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
    for figure in (
        slices,
        contour,
        parameters.parallel_coordinate,
        parameters.param_importances,
    ):
        plot = figure(run)
        assert figure(made(rows, **noted)) == plot
        if plot is not None:
            check_rules(plot)
    if plot is not None:
        assert [one.label for one in series(plot)] == ["share"], "it has no intervals"
    plot = slices(run)
    assert plot or not varying(run)
    for panel in plot.panels if plot else ():
        if panel.x.kind == "category" and "not shown" not in panel.x.label:
            counts = [int(label.rpartition("(")[2][:-1]) for label in panel.x.categories]
            assert sum(counts) == len(run.results) == len(panel.layers[0].marks)
    if plot := contour(run):
        _, cells = only(plot, Cells)
        configs = [
            [int((re.search(r"\((.*)\)", text) or [0, "0"])[1].replace(",", "")) for text in row]
            for row in cells.texts
        ]
        shown = int(re.match(r"n = ([\d,]+)", plot.note)[1].replace(",", ""))
        assert sum(map(sum, configs)) == shown
        if shown == len(run.results):
            means = np.nan_to_num(np.array(cells.values))
            solved_ = sum(result.outcome.rate for result in run.results)
            assert (means * configs).sum() == pytest.approx(solved_)


# Decision surfaces: what torch says at each place, for seeds as the run has them.

XOR = Task.xor()
COMMON = CONFIG | {"lr": 0.05, "epochs": 200}
SMALL = Config(**COMMON | {"activation": "ReLU", "hidden_dim": 3})
"""Solves some seeds and not others."""
WIDE = Config(**COMMON | {"hidden_dim": 12})
"""Solves each of the first seeds."""


def trained(config, task=XOR, seeds=24):
    return fused.train(config, task, np.arange(seeds))


def trained_run(*outcomes, **manifest):
    """A run of these (config, outcome), best first."""
    manifest = {"trainer": "network", "task": "xor"} | manifest
    lines = (done(i, config.point, outcome) for i, (config, outcome) in enumerate(outcomes))
    return Run(Path("nowhere"), manifest, tuple(lines))


@pytest.fixture(scope="module")
def small():
    outcome = trained(SMALL)
    assert 0 < outcome.successes < outcome.n
    return outcome


def plain(config, task, seed):
    """Trained as the contract of seeds says, in plain PyTorch."""
    script = {}
    exec(plain_script(config, task, seed), script)
    return script["model"]


def test_a_surface_is_what_torchs_network_says(small):
    plot = decision_surface(trained_run((SMALL, small)))
    check_rules(plot)
    first = {True: small.seeds[small.solved][0], False: small.seeds[~small.solved][0]}
    titles = [f"seed {first[True]}: solved", f"seed {first[False]}: not solved"]
    assert [panel.title for panel in plot.panels] == titles
    for panel, seed in zip(plot.panels, first.values(), strict=True):
        cells, *rows = panel.layers
        assert cells.scale == "class"
        assert cells.x == cells.y
        assert (cells.x[0], cells.x[40]) == pytest.approx((-0.25 + 0.75 / 81, 0.5))
        model = plain(SMALL, XOR, int(seed))
        places = [(x, y) for y in cells.y[::7] for x in cells.x[::7]]
        with torch.no_grad():
            expected = model(torch.tensor(places))[:, 0].numpy()
        found = np.array(cells.values)[::7, ::7].ravel()
        np.testing.assert_allclose(found, expected, atol=3e-3)
        assert np.ptp(expected) > 0.5
        # The rows lie on the side that the run recorded.
        pattern = small.predictions[small.seeds == seed][0]
        at = {(float(a), float(b)): bool(p) for (a, b), p in zip(XOR.inputs, pattern, strict=True)}
        assert sum(len(points.marks) for points in rows) == 4
        for points, target in zip(rows, (0, 1), strict=True):
            assert points.label.endswith(str(target))
            for mark in points.marks:
                x, y = mark.x, mark.y
                assert (x + y == 1) == bool(target)
                assert mark.text == f"target {target}, predicted {int(at[x, y])}"
                column = np.abs(np.array(cells.x) - x).argmin()
                row = np.abs(np.array(cells.y) - y).argmin()
                assert (cells.values[row][column] > 0.5) == at[x, y]


def test_where_the_best_solves_all_another_stands_beside_it(small):
    wide = trained(WIDE)
    assert wide.solved.all()
    plot = decision_surface(trained_run((WIDE, wide), (SMALL, small)))
    solved_seed, unsolved = small.seeds[small.solved][0], small.seeds[~small.solved][0]
    assert [panel.title for panel in plot.panels] == [
        f"{WIDE.key[:6]}, seed 0: solved",
        f"{SMALL.key[:6]}, seed {solved_seed}: solved",
        f"{SMALL.key[:6]}, seed {unsolved}: not solved",
    ]
    alone = decision_surface(trained_run((WIDE, wide)))
    assert [panel.title for panel in alone.panels] == ["seed 0: solved"]
    assert alone.title == "What a solved seed learned"


def test_a_seed_that_ends_otherwise_now_is_not_shown(small):
    """Another engine's or another version's: what is drawn is what was counted."""
    places = np.flatnonzero(~small.solved)
    predictions, status = small.predictions.copy(), small.status.copy()
    predictions[places[0], 0] = ~predictions[places[0], 0]  # one row is enough
    status[places[0]] = Status.WRONG_PATTERN
    changed = replace(small, predictions=predictions, status=status)
    plot = decision_surface(trained_run((SMALL, changed)))
    assert plot.panels[1].title == f"seed {small.seeds[places[1]]}: not solved"
    none = replace(small, predictions=~small.predictions)
    assert decision_surface(trained_run((SMALL, none))) is None


def test_a_seed_that_diverged_or_crashed_has_no_surface(small):
    status = np.where(small.solved, small.status, np.uint8(Status.DIVERGED)).astype(np.uint8)
    plot = decision_surface(trained_run((SMALL, replace(small, status=status))))
    assert [": solved" in panel.title for panel in plot.panels] == [True]
    crashed = Outcome.crashed(range(8), SMALL.epochs)
    assert decision_surface(trained_run((SMALL, crashed))) is None


def test_what_cannot_be_trained_again_has_none(small):
    gone = {"task": "gone.csv"}, {"task_fingerprint": "0" * 16}
    for manifest in {"trainer": "function"}, {"task": "parity-3"}, *gone:
        assert decision_surface(trained_run((SMALL, small), **manifest)) is None
    assert decision_surface(trained_run((replace(SMALL, hidden_dim=65), small))) is None


def test_a_task_from_a_file_as_long_as_it_is_there(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,y,t\n0,0,0,0\n0,10,1,0\n3,0,1,0\n3,10,0,0\n3,9,0,1\n0,9,1,1\n")
    task = Task.from_csv(path, target="y", held_out="t")
    space = f"""
name: file
task: {{csv: {path}, target: y, held_out: t}}
epochs: 200
parameters: {{activation: ReLU, loss: MSELoss, optimizer: Adam, lr: 0.05, hidden_dim: 3}}
search: {{sampler: random, trials: 1}}
"""
    lines = [done(0, SMALL.point, trained(SMALL, task, 16))]
    noted = {"trainer": "network", "task": "rows", "task_fingerprint": task.fingerprint}
    run = write_run(tmp_path / "r", lines, space_text=space, **noted)
    plot = decision_surface(run)
    cells, *rows = plot.panels[0].layers
    assert (cells.x[0], cells.x[-1]) == pytest.approx((-0.75 + 2.25 / 81, 3.75 - 2.25 / 81))
    assert (cells.y[0], cells.y[-1]) == pytest.approx((-2.5 + 7.5 / 81, 12.5 - 7.5 / 81))
    assert [points.marks[0][:2] for points in rows] == [(3.0, 9.0), (0.0, 9.0)]
    path.write_text("a,b,y,t\n0,0,0,0\n0,10,1,0\n3,0,1,0\n3,10,1,0\n3,9,0,1\n0,9,1,1\n")
    assert decision_surface(write_run(tmp_path / "q", lines, space_text=space, **noted)) is None


# Whether the same seeds fail, and who trained when.


def test_failed_seeds_in_common_are_counted_beside_chance(tmp_path):
    """Seeds 0 to 3 of 16 fail in each of three configs: four in common, where chance gives one."""
    plot = same_seeds(figure_runs.failing(tmp_path / "r"))
    failed_, solved_ = series(plot, label="failed"), series(plot, label="solved")
    assert plot.panels[0].x.categories == ("0", "1", "2", "3")
    assert [len(one.marks) for one in (*failed_, *solved_)] == [12]
    assert plot.title.endswith("two configurations have 4 in common on average, 1 by chance")
    assert same_seeds(write_run(tmp_path / "none", alike(0))) is None, "all fail"
    assert same_seeds(write_run(tmp_path / "one", alike(7, 1))) is None, "no pair"


def test_a_worker_is_drawn_where_it_trained(tmp_path):
    """Results of a batch come together: its blocks lie one after the other before that."""
    run = figure_runs.two_workers(tmp_path / "r")
    plot = timeline(run)
    bars = {one.label: sorted(mark.x_ends for mark in one.marks) for one in series(plot)}
    first, more = "first seeds of a configuration", "more seeds of a configuration"
    assert bars == {first: [(0, 20), (0, 40)], more: [(60, 100), (70, 80)]}
    assert plot.panels[0].y.categories == ("host:1 · 80.0 %", "host:2 · 30.0 %")
    assert timeline(write_run(tmp_path / "untimed", alike(8))) is None


def test_the_processes_of_a_resumed_search_are_not_its_workers(tmp_path):
    """Each session has processes of its own: blocks and share are those of all sessions."""
    began = 1_800_000_000

    def session(number, workers, **noted):
        at = datetime.fromtimestamp(began + 1000 * number, UTC).isoformat()
        return {"number": number, "made": "b" * 8, "started": at, "workers": workers, **noted}

    lines = [
        replace(
            line,
            worker=f"host:{10 * (at // 4) + at % 2}",
            at=began + 1000 * (1 + at // 4) + 10 * (1 + at % 4 // 2),
            seconds=8.0,
            fingerprint="b" * 8,
        )
        for at, line in enumerate(alike(7, 8))
    ]
    first, second = session(1, 2), session(2, 2, busy_seconds=30.0, worker_seconds=40.0)
    noted = {"made": {"b" * 8: {}}, "sessions": [first, second]}
    run = write_run(tmp_path / "r", lines, **noted)
    plot = timeline(run)
    # The first was killed: by its lines, 32 of 2 x 18 seconds.
    assert plot.alt.startswith("64 seeds in 8 blocks by 4 processes, over 17 min")
    assert plot.alt.endswith("2 workers were busy 81.6 % of the time.")
    assert "A row is a process" in plot.note
    more = write_run(tmp_path / "more", lines, **{**noted, "sessions": [first, session(2, 4)]})
    assert "2 to 4 workers were busy" in timeline(more).alt


def test_a_run_of_milliseconds_has_a_timeline_and_an_old_journal_is_read(tmp_path):
    run = figure_runs.two_workers(tmp_path / "r")
    journal = run.path / "evaluations.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["at"] for line in lines] == [1020, 1040, 1040, 1080, 1100], "whole seconds"
    for line in lines:
        line["at"], line["seconds"] = line["at"] / 1000, line["seconds"] / 1000
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    bars = series(timeline(load_run(run.path)), label="first seeds of a configuration")
    places = sorted(mark.x_ends for one in bars for mark in one.marks)
    assert places == [pytest.approx((0, 0.02)), pytest.approx((0, 0.04))]
    for line in lines:
        line["at"] = 1
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert timeline(load_run(run.path)) is None, "shorter than what an old journal notes"
