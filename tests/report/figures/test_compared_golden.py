"""Figures of comparisons: their values stay as they are; what numbers of own trainers come to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from compared_runs import GOLDEN, contestant, figures, numbers, published, told
from scipy.stats import mannwhitneyu, trim_mean
from success_runs import as_golden, keeps_to_the_rules

from xortune.comparisons.numbers import values_of
from xortune.comparisons.runs import NUMBER_ENDINGS, PAIR_COLUMNS, compare_runs
from xortune.core.errors import InputError
from xortune.reports.drawing.matplotlib import svg
from xortune.reports.figures.compared import numbers_profile
from xortune.reports.figures.published import agreement, cell_differences
from xortune.reports.plot import Cells, Line, Points
from xortune.stats.differences import unpaired_difference
from xortune.stats.numbers import dkw_half_width


def close(found, kept):
    """Equal, floats as far as libraries agree."""
    if isinstance(kept, dict):
        return found.keys() == kept.keys() and all(close(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(map(close, found, kept))
    if type(kept) is float:
        return found == pytest.approx(kept, abs=2e-6, rel=1e-6, nan_ok=True)
    return found == kept


@pytest.fixture(scope="module")
def plots(tmp_path_factory):
    return figures(tmp_path_factory.mktemp("compared"))


def test_golden(plots):
    # To renew it after a wanted change: run compared_runs.py, and read the diff.
    found = json.loads(json.dumps(as_golden(plots)))
    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(found) == list(kept)
    for name, plot in found.items():
        assert close(plot, kept[name]), name


def test_they_keep_to_the_rules(plots):
    for plot in plots:
        if not any(isinstance(layer, Cells) for panel in plot.panels for layer in panel.layers):
            keeps_to_the_rules(plot)


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
    line = next(layer for layer in numbers_profile(found).panels[0].layers if layer.label == "a")
    assert isinstance(line, Line)
    assert dict(zip(line.x, line.y, strict=True))[3.0] == pytest.approx(0.75)
    assert numbers_profile(found).panels[0].y.label == "share of seeds with at most that"


def test_rules_that_contradict_each_other_say_nothing():
    entries = [("a", "accuracy >= 0.9"), ("b", "accuracy < 0.9")]
    found = compare_runs(
        [contestant(name, **told([0.5, 0.9, 1.0], rule=rule)) for name, rule in entries]
    )
    assert found.numbers[0].better == ""
    assert "Nothing says what is better" in numbers_profile(found).note


def test_without_a_rule_only_seeds_with_the_number_count():
    accuracy = numbers(rule=None).numbers[0]
    assert accuracy.better == ""
    assert [one.n for one in accuracy.of] == [19, 20, 20]
    wide, narrow = 0.81 + 0.01 * np.arange(1, 20), 0.76 + 0.01 * np.arange(19)
    expected = mannwhitneyu(wide, narrow).statistic / 19**2  # pairs of the seeds that both have
    assert accuracy.wins[0].probability == pytest.approx(expected)


def test_the_profile_is_the_share_of_all_seeds_with_more():
    lines, sooner, middles = numbers_profile(numbers()).panels
    wide = lines.layers[0]
    assert (wide.label, wide.x[0], wide.y[0]) == ("wide", 0.76, 0.95), "of 20, and one crashed"
    assert wide.low[0] == pytest.approx(0.95 - dkw_half_width(20))
    assert wide.y[-1] == 0
    assert sooner.y.categories == ("wide > narrow", "wide > other", "narrow > other")
    assert middles.y.categories == ("wide", "narrow", "other")
    note = numbers_profile(numbers()).note
    for word in ("n = 20 seeds each, 19 and 20 of them", "DKW", "95 %", "bootstrap", "worse than"):
        assert word in note


def test_any_number_may_be_drawn_and_no_other():
    assert numbers_profile(numbers(), "loss").panels[0].x.label == "loss"
    with pytest.raises(InputError, match="accuracy, loss"):
        numbers_profile(numbers(), "accurcy")
    with pytest.raises(InputError, match="in common"):
        numbers_profile(
            compare_runs(
                [
                    contestant("a", told([1.0])["found"]),
                    contestant("b", told([np.nan], loss=[1.0])["found"]),
                ]
            )
        )


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


def test_lines_of_many_seeds_have_few_steps():
    draw = np.random.default_rng(0)
    found = compare_runs([contestant(n, **told(draw.uniform(size=9000))) for n in "ab"])
    for line in numbers_profile(found).panels[0].layers:
        assert len(line.x) <= 1000
        assert np.all(np.diff(line.y) <= 0)


def test_cells_that_differ_are_told_from_others(tmp_path):
    comparison = published(tmp_path)
    [panel] = agreement(comparison).panels
    equal, alike, apart = panel.layers
    assert (equal.x, equal.y) == ((0, 1), (0, 1))
    assert (alike.label, len(alike.x)) == ("not told apart", 4)
    assert sorted(zip(apart.x, apart.y, strict=True)) == [(0.8, 0.2), (0.9, 0.2)]
    assert agreement(comparison).title == "2 of 6 cells differ from the table beyond chance"
    assert "n = 100 seeds in the run and 100 seeds in the table" in agreement(comparison).note


def test_differences_of_cells_have_newcombes_intervals(tmp_path):
    comparison = published(tmp_path)
    plot = cell_differences(comparison)
    _, apart, alike = plot.panels[0].layers
    assert isinstance(apart, Points)
    assert apart.x == pytest.approx((-70, -60))
    low, high = unpaired_difference(20, 100, 90, 100)
    assert (apart.x_low[0], apart.x_high[0]) == pytest.approx((100 * low, 100 * high))
    assert len(alike.x) == 4
    assert plot.panels[0].y.categories[0].startswith("Adam, 0.01 · ")
    assert "-70 points [-79, -58]" in plot.alt
    assert len(cell_differences(comparison, 3).panels[0].y.categories) == 3
    assert "the 3 of 6 cells with the smallest p" in cell_differences(comparison, 3).title


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "$x$ \x1b[1m _b_" * 20, "n\nl"])
def test_names_are_only_names(hostile):
    entries = [contestant(f"{hostile}{i}", **told([0.9, 0.5, 0.95])) for i in range(2)]
    assert "<script>" not in svg(numbers_profile(compare_runs(entries)))
