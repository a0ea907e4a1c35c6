"""Figures of comparisons: the values in them are those of the comparison."""

import numpy as np
import pytest
from compared import contestant
from figure_runs import numbers, series, told
from scipy.stats import mannwhitneyu, trim_mean

from xortune.comparisons.runs import NUMBER_ENDINGS, PAIR_COLUMNS, compare_runs, values_of
from xortune.core.errors import InputError
from xortune.reports.figures.comparisons import numbers_profile


def test_a_failed_seed_is_worse_than_any_other():
    accuracy, loss = numbers().numbers
    assert (accuracy.name, accuracy.better) == ("accuracy", "larger")
    assert (loss.name, loss.better) == ("loss", "")
    assert [one.known for one in accuracy.of] == [19, 20, 20]
    assert [one.n for one in accuracy.of] == [20, 20, 20]
    wide, narrow, other = (
        0.81 + 0.01 * np.arange(1, 20),
        *(start + 0.01 * np.arange(20) for start in (0.76, 0.8)),
    )
    failed = np.append(wide, -1.0)  # as bad as can be
    for win, (one, two) in zip(
        accuracy.wins, ((failed, narrow), (failed, other), (narrow, other)), strict=True
    ):
        assert win.probability == pytest.approx(mannwhitneyu(one, two).statistic / 400)
        assert win.low < win.probability < win.high
    means = [one.middle for one in accuracy.of]
    assert means == pytest.approx([trim_mean(v, 0.25) for v in (failed, narrow, other)])
    assert all(one.low < one.middle < one.high for one in accuracy.of)


def test_less_is_better_where_the_rule_says_so():
    falls = [3.0, 2.0, 1.0, np.nan], [2.5, 2.5, 2.5, 2.5]
    found = compare_runs(
        [
            contestant(name, **told([0.9] * 4, error=v, rule="error <= 2"))
            for name, v in zip("ab", falls, strict=True)
        ]
    )
    error = found.numbers[0]
    assert (error.name, error.better) == ("error", "smaller")
    assert error.wins[0].probability == pytest.approx(0.5)  # two of four are less, one never came
    assert error.of[0].middle == pytest.approx(2.5)
    assert error.of[0].high is None, "of some resamples most seeds have none"
    assert np.isposinf(values_of(found.contestants[0].outcome, "error", "smaller")[3])
    [line] = series(numbers_profile(found), "steps", "a")
    assert {mark.x: mark.y for mark in line.marks}[3.0] == pytest.approx(0.75)
    assert numbers_profile(found).panels[0].y.label == "share of seeds with at most that"


def test_without_a_rule_only_seeds_with_the_number_count():
    accuracy = numbers(rule=None).numbers[0]
    assert accuracy.better == ""
    assert [one.n for one in accuracy.of] == [19, 20, 20]
    wide, narrow = 0.81 + 0.01 * np.arange(1, 20), 0.76 + 0.01 * np.arange(19)
    expected = mannwhitneyu(wide, narrow).statistic / 19**2  # pairs of the seeds that both have
    assert accuracy.wins[0].probability == pytest.approx(expected)


def test_any_number_may_be_drawn_and_no_other():
    assert numbers_profile(numbers(), "loss").panels[0].x.label == "loss"
    with pytest.raises(InputError, match="accuracy, loss"):
        numbers_profile(numbers(), "accurcy")
    one, other = told([1.0])["found"], told([np.nan], loss=[1.0])["found"]
    with pytest.raises(InputError, match="have recorded the same number"):
        numbers_profile(compare_runs([contestant("a", one), contestant("b", other)]))


def test_the_table_has_what_is_shown():
    comparison = numbers()
    table = comparison.table
    names = [f"{name}_{end}" for name in ("accuracy", "loss") for end in NUMBER_ENDINGS]
    assert tuple(table.columns) == (*PAIR_COLUMNS, *names)
    accuracy = comparison.numbers[0]
    assert table["accuracy_n_a"].tolist() == [19, 19, 20]
    assert table["accuracy_iqm_b"].tolist() == [accuracy.of[i].middle for i in (1, 2, 2)]
    assert table["accuracy_wins"].tolist() == [win.probability for win in accuracy.wins]
    assert table["sooner"].isna().all(), "nobody counted epochs"
