"""Figures of what trainers tell of seeds: shares, curves, and how runs differ in a number."""

from itertools import combinations

import numpy as np
import pytest
from compared import contestant
from figure_runs import MEAN, RATE, column, numbers, rules, scored, series, told
from hand_made import done, solved, write_run
from scipy.stats import mannwhitneyu, trim_mean

from xortune.comparisons.comparison import NUMBER_ENDINGS, PAIR_COLUMNS, compare_all
from xortune.core.errors import InputError
from xortune.core.outcome import Curves, Status
from xortune.core.point import Point
from xortune.core.success import FINITE, parse_success
from xortune.core.trainer import Block
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.figures import figures_of
from xortune.reports.figures.comparisons import numbers_profile
from xortune.reports.figures.distributions import learning_curves, scores
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import FunctionObject
from xortune.trainers.verdicts import MOST_POINTS

RULE = "score >= 0.5"


def run_of(path, *outcomes, **manifest):
    told = {"success": RULE, "trainer": "f.py:f", "ladder": [4]} | manifest
    lines = [done(i, {"lr": float(i)}, one) for i, one in enumerate(outcomes)]
    return write_run(path, lines, **told)


def test_the_share_at_the_limit_is_k_of_n(tmp_path):
    """0.5 itself is a success; a seed that crashed, or has no number, is as good as nothing."""
    statuses = [0, 0, 1, Status.CRASHED, Status.DIVERGED]
    run = run_of(tmp_path / "r", scored([0.5, 0.9, 0.2, 0.8, np.nan], statuses=statuses))
    plot = scores(run)
    [line], [rule] = series(plot), rules(plot)
    assert (rule.axis, rule.at, rule.label) == ("x", 0.5, RULE)
    for left, right in zip(line.marks, line.marks[1:], strict=False):
        x = (left.x + right.x) / 2  # a step stays until the next mark
        assert left.y == pytest.approx(sum(one >= x for one in (0.2, 0.5, 0.9)) / 5)
    assert line.marks[0].y == 3 / 5
    assert "from 0.2 to 0.9" in plot.alt
    assert "2 of 5 seeds have none" in plot.alt


def test_of_a_loss_less_is_better(tmp_path):
    ties = {"name": "score_median", "direction": "minimize", "number": "score"}
    noted = {"objectives": [{**RATE, "ties": {**ties, "statistic": "median"}}]}
    found = scored([0.5, 0.9, 0.2, 0.3], statuses=[0, 1, 0, 0])
    plot = scores(run_of(tmp_path / "r", found, success="score <= 0.5", **noted))
    assert column(*series(plot), "y") == [0, 0.25, 0.5, 0.75, 1, 1]
    assert "at most" in plot.note
    assert "worst tenth 0.78" in plot.alt


def test_there_is_nothing_where_nothing_was_told(tmp_path):
    assert scores(write_run(tmp_path / "a", [done(0, {"x": 1}, solved(0, 1, 2))])) is None
    same = run_of(tmp_path / "b", scored([0.7, 0.7]))
    assert scores(same) is learning_curves(same) is None
    assert {"scores", "learning-curves"}.isdisjoint(plot.name for plot in figures_of(same))


def ways(seed, report, **columns):
    values = np.array([*columns.values()], np.float32).T
    return Curves(tuple(columns), np.array(seed), np.array(report), values)


def test_curves_are_the_median_and_the_middle_of_the_seeds_that_came_so_far(tmp_path):
    """Seed 0 reports 2 and 4, seed 1 reports 2, 4 and 6: between reports stand straight lines."""
    curves = ways([0, 0, 1, 1, 1], [2, 4, 2, 4, 6], score=[0.1, 0.3, 0.3, 0.5, 0.9])
    run = run_of(tmp_path / "r", scored([0.3, 0.9], curves=(curves,)))
    plot = learning_curves(run)
    worst, line = series(plot)
    assert column(line, "x") == [2, 4, 6]
    assert column(line, "y") == pytest.approx([0.2, 0.4, 0.9])
    assert line.marks[0].y_ends == (pytest.approx(0.12), pytest.approx(0.28))
    assert ["2 seeds" in text for text in column(line, "text")] == [True, True, False]
    assert column(worst, "y") == pytest.approx([0.1, 0.3, 0.9])
    assert [(rule.axis, rule.at) for rule in rules(plot)] == [("y", 0.5)]
    assert plot.panels[0].x.label == "report"


def test_steps_that_are_told_are_the_axis(tmp_path):
    curves = ways([0, 0, 1, 1], [1, 2, 1, 2], score=[0.1, 0.2, 0.3, 0.6], step=[100, 200, 100, 200])
    plot = learning_curves(run_of(tmp_path / "r", scored([0.2, 0.6], curves=(curves,))))
    assert plot.panels[0].x.label == "step"
    assert column(series(plot)[0], "x") == [100, 200]


def reporting(config, seed):
    for step in range(1, config["steps"] + 1):
        if seed == 2 and step == 5:
            raise ValueError("unlucky")
        yield {"score": step * (seed + 1), "step": step}


def all_at_once(config, seeds, report):
    told = {}
    for step in range(1, config["steps"] + 1):
        told["score"] = step * (seeds + 1.0)
        report(told)  # the same dict each time
    return told


@pytest.mark.parametrize("steps", [1, 2, 33, 1000])
@pytest.mark.parametrize("function", [reporting, all_at_once])
def test_a_way_is_thinned_alike_for_all_seeds_and_has_its_end(function, steps):
    """What is kept is what was told, evenly spaced, and the last."""
    trainer = custom_trainer(FunctionObject("f", function, "d"), parse_success("score >= 2"))
    [outcome] = trainer.train([Block(Point({"steps": steps}), 5 if steps < 5 else 0, 3)])
    if steps == 1:
        assert outcome.details.curves == ()
        return
    [found] = outcome.details.curves
    assert found.values[:, 0].tolist() == (found.report * (found.seed + 1)).tolist()
    kept = [found.report[found.seed == seed].tolist() for seed in outcome.seeds]
    whole = kept[0]
    assert whole[-1] == steps
    assert min(steps, MOST_POINTS // 2) <= len(whole) <= MOST_POINTS
    assert len(set(np.diff(whole[:-1]).tolist())) <= 1
    if function is reporting and steps >= 5:
        assert kept[2][-1] == 4  # a seed that failed, as far as it came
        kept[2] = kept[0]
    assert kept == [whole] * 3


# Of comparisons.


def test_a_failed_seed_is_worse_than_any_other():
    accuracy, loss = numbers().numbers
    assert (accuracy.name, accuracy.better) == ("accuracy", "larger")
    assert (loss.name, loss.better) == ("loss", "")
    assert [np.isfinite(one).sum() for one in accuracy.values] == [19, 20, 20]
    assert [one.size for one in accuracy.values] == [20, 20, 20]
    narrow, other = (start + 0.01 * np.arange(20) for start in (0.76, 0.8))
    failed = np.append(0.81 + 0.01 * np.arange(1, 20), -1.0)  # as bad as can be
    pairs = combinations((failed, narrow, other), 2)
    for win, (one, two) in zip(accuracy.wins, pairs, strict=True):
        assert win.value == pytest.approx(mannwhitneyu(one, two).statistic / 400)
        assert win.low < win.value < win.high
    means = [one.value for one in accuracy.of]
    assert means == pytest.approx([trim_mean(v, 0.25) for v in (failed, narrow, other)])
    assert all(one.low < one.value < one.high for one in accuracy.of)


def test_less_is_better_where_the_rule_says_so():
    falls = {"a": [3.0, 2.0, 1.0, np.nan], "b": [2.5] * 4}
    rule = {"accuracy": [0.9] * 4, "rule": "error <= 2"}
    found = compare_all([contestant(one, **told(**rule, error=v)) for one, v in falls.items()])
    error = found.numbers[0]
    assert (error.name, error.better) == ("error", "smaller")
    assert error.wins[0].value == pytest.approx(0.5)  # two of four are less, one never came
    assert error.of[0].value == pytest.approx(2.5)
    assert np.isposinf(error.of[0].high), "of some resamples most seeds have none"
    assert np.isposinf(error.values[0][3])
    plot = numbers_profile(found)
    [line] = series(plot, "steps", "a")
    assert {mark.x: mark.y for mark in line.marks}[3.0] == pytest.approx(0.75)
    assert plot.panels[0].y.label == "share of seeds with at most that"


def test_without_a_rule_only_seeds_with_the_number_count():
    accuracy = numbers(rule=None).numbers[0]
    assert accuracy.better == ""
    assert [one.size for one in accuracy.values] == [19, 20, 20]
    wide, narrow = 0.81 + 0.01 * np.arange(1, 20), 0.76 + 0.01 * np.arange(19)
    expected = mannwhitneyu(wide, narrow).statistic / 19**2  # pairs of the seeds that both have
    assert accuracy.wins[0].value == pytest.approx(expected)


def test_any_number_may_be_drawn_and_no_other():
    assert numbers_profile(numbers(), "loss").panels[0].x.label == "loss"
    with pytest.raises(InputError, match="accuracy, loss"):
        numbers_profile(numbers(), "accurcy")
    one, other = told([1.0])["found"], told([np.nan], loss=[1.0])["found"]
    with pytest.raises(InputError, match="have recorded the same number"):
        numbers_profile(compare_all([contestant("a", one), contestant("b", other)]))


def test_the_table_has_what_is_shown():
    comparison = numbers()
    table, accuracy = comparison.table, comparison.numbers[0]
    names = [f"{name}_{end}" for name in ("accuracy", "loss") for end in NUMBER_ENDINGS]
    assert tuple(table.columns) == (*PAIR_COLUMNS, *names)
    assert table["accuracy_n_a"].tolist() == [19, 19, 20]
    assert table["accuracy_iqm_b"].tolist() == [accuracy.of[i].value for i in (1, 2, 2)]
    assert table["accuracy_wins"].tolist() == [win.value for win in accuracy.wins]
    assert table["sooner"].isna().all(), "nobody counted epochs"


def test_the_page_of_a_run_for_a_number_shows_which_seeds_failed(tmp_path):
    crashed = [[0, 0, 0, Status.CRASHED], [0, 0, Status.CRASHED, Status.CRASHED]]
    found = [scored([0.1, 0.2, 0.3, np.nan], statuses=one) for one in crashed]
    run = run_of(tmp_path / "r", *found, success=f"{FINITE} score", objectives=[MEAN])
    drawn = {plot.name: plotly_json(plot) for plot in figures_of(run)}
    assert {one["name"] for one in drawn["same-seeds"]["data"]} == {"finished", "failed"}


def test_a_run_for_a_number_is_followed_and_explained_by_it(tmp_path):
    """Twelve configurations, the second six of them better by one."""
    found = [scored([i // 6 + seed / 10 for seed in range(4)]) for i in range(12)]
    run = run_of(tmp_path / "r", *found, success=f"{FINITE} score", objectives=[MEAN])
    drawn = {plot.name: plot for plot in figures_of(run)}
    assert {"history", "ranking", "slices"}.isdisjoint(drawn)
    history = drawn["number-history"]
    [line], [dots] = series(history, role="best"), series(history, role="neutral")
    assert column(dots, "x") == [4 * i for i in range(1, 13)]
    assert sorted(set(column(line, "y"))) == pytest.approx([0.15, 1.15])
    assert [line.marks[0].x, line.marks[-1].x] == [4, 48]
    assert {mark.y < 1 for mark in line.marks if mark.x >= 28} == {False}
    [of_lr] = drawn["number-slices"].panels
    [levels] = of_lr.layers
    assert column(levels, "y") == pytest.approx([0.15, 0.15, 1.15, 1.15])
    assert of_lr.y.label == "score_mean"


def test_where_no_seed_is_solved_the_median_of_the_judged_number_explains(tmp_path):
    found = [scored([i / 100] * 4, statuses=[1] * 4) for i in range(8)]
    drawn = {plot.name: plot for plot in figures_of(run_of(tmp_path / "r", *found))}
    assert drawn["number-slices"].title.startswith("score_median by parameter")
    solved_too = run_of(tmp_path / "s", *found, scored([0.9] * 4))
    assert "number-slices" not in {plot.name for plot in figures_of(solved_too)}
