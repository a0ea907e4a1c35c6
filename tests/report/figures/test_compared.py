"""Figures of comparisons: the values in them are those of the comparison."""

from __future__ import annotations

import math

import numpy as np
import pytest
from compared import contestant, paired
from compared_runs import networks, numbers, published, told
from hand_made import solved
from scipy.stats import mannwhitneyu, trim_mean
from success_runs import column, series

from xortune.comparisons.runs import NUMBER_ENDINGS, PAIR_COLUMNS, compare_runs, values_of
from xortune.core.errors import InputError
from xortune.reports.drawing.matplotlib import svg
from xortune.reports.figures.comparisons import (
    agreement,
    cell_differences,
    differences,
    numbers_profile,
    profile,
    wins,
)
from xortune.reports.plot import Rule
from xortune.reports.words import answer, headline, sentence
from xortune.stats.differences import unpaired_difference
from xortune.stats.numbers import dkw_half_width


@pytest.fixture
def three():
    """c0 and c1 solve more seeds than c2; c0 is indistinguishable from c1."""
    return networks()


def test_differences_have_their_intervals(three):
    plot = differences(three)
    [panel] = plot.panels
    rule, close, apart = panel.layers
    assert rule == Rule("x", 0.0, "no difference")
    assert panel.y.categories == ("c0 − c1", "c0 − c2", "c1 − c2")
    assert (apart.label, column(apart, "y"), apart.role) == ("told apart", [1.0, 2.0], "a")
    assert (close.label, column(close, "y"), close.role) == ("not told apart", [0.0], "muted")
    pair = three.pairs[1]
    assert column(apart, "x") == pytest.approx([50, 46])
    assert apart.marks[0].x_ends == pytest.approx((100 * pair.low, 100 * pair.high))
    assert apart.marks[0].text == sentence(three, pair)
    assert "2 of 3 pairs told apart" in plot.title
    for word in ("n = 50 seeds", "exact McNemar", "two-sided", "Holm over 3 pairs at 5 %", "95 %"):
        assert word in plot.note
    assert headline(three) in plot.alt


def test_of_two_the_answer_is_the_alt_text():
    found = paired(40, 9, 1, 10)
    assert differences(found).alt == wins(found).alt == answer(found)[0]
    assert [one.label for one in series(differences(found))] == ["told apart"]


def test_wins_are_antisymmetric_and_say_where_one_cannot_tell(three):
    [panel] = wins(three).panels
    [cells] = panel.layers
    assert panel.x.categories == panel.y.categories == ("c0", "c1", "c2")
    for row in range(3):
        assert math.isnan(cells.values[row][row])
        for place in range(row):
            assert cells.values[row][place] == pytest.approx(-cells.values[place][row])
    assert cells.values[0][2] == pytest.approx(0.5)
    assert cells.texts == (("", "+4 ?", "+50"), ("-4 ?", "", "+46"), ("-50", "-46", ""))
    assert cells.notes[2][0].startswith("-50 points [-63, -34], p < 0.001")


def test_the_profile_is_the_share_solved_by_each_epoch(three):
    lines, sooner, middles = profile(three).panels
    first = lines.layers[0]
    assert (first.label, first.kind) == ("c0", "steps")
    assert [(mark.x, mark.y) for mark in first.marks] == [(1, 0), (10, 0.9), (1000, 0.9)]
    half = dkw_half_width(50)
    assert first.marks[0].y_ends == pytest.approx((0, half))
    assert first.marks[1].y_ends == pytest.approx((0.9 - half, 1))
    points = sooner.layers[1]
    # c0 solves its 45 before any of c1's; its 5 unsolved ones tie with 7 of c1's 50.
    assert points.marks[0].x == pytest.approx(0.9 + 0.1 * 0.14 / 2)
    low, high = points.marks[0].x_ends
    assert low < points.marks[0].x < high
    assert column(middles.layers[0], "x") == [10, 100]
    assert column(middles.layers[0], "y") == [0, 1], "of c2 more than a quarter is not solved"
    for word in ("n = 50 seeds", "DKW", "95 %", "1,000 bootstrap", "never outweigh a seed"):
        assert word in profile(three).note
    assert profile(three).alt.startswith("c0 solves a seed sooner than c1 in 91 % of pairs")


def test_without_middles_there_is_no_panel_for_them():
    found = compare_runs([contestant("a", solved(0, 3, 9)), contestant("b", solved(0, 2, 9))])
    assert len(profile(found).panels) == 2


def test_a_picture_has_so_many_lines_and_says_so():
    plot = profile(compare_runs([contestant(f"c{i}", solved(0, 5, 9)) for i in range(8)]))
    assert len(plot.panels[0].layers) == 6
    assert "The first 6 of 8 are drawn." in plot.note


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
    assert (wide.label, wide.marks[0].x, wide.marks[0].y) == ("wide", 0.76, 0.95), "one crashed"
    assert wide.marks[0].y_ends[0] == pytest.approx(0.95 - dkw_half_width(20))
    assert wide.marks[-1].y == 0
    assert sooner.y.categories == ("wide > narrow", "wide > other", "narrow > other")
    assert middles.y.categories == ("wide", "narrow", "other")
    note = numbers_profile(numbers()).note
    for word in ("n = 20 seeds each, 19 and 20 of them", "DKW", "95 %", "bootstrap", "worse than"):
        assert word in note


def test_any_number_may_be_drawn_and_no_other():
    assert numbers_profile(numbers(), "loss").panels[0].x.label == "loss"
    with pytest.raises(InputError, match="accuracy, loss"):
        numbers_profile(numbers(), "accurcy")
    one, other = told([1.0])["found"], told([np.nan], loss=[1.0])["found"]
    with pytest.raises(InputError, match="in common"):
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


def test_lines_of_many_seeds_have_few_steps():
    draw = np.random.default_rng(0)
    found = compare_runs([contestant(n, **told(draw.uniform(size=9000))) for n in "ab"])
    for line in numbers_profile(found).panels[0].layers:
        assert len(line.marks) <= 1000
        assert np.all(np.diff(column(line, "y")) <= 0)


def test_cells_that_differ_are_told_from_others(tmp_path):
    plot = agreement(published(tmp_path))
    equal, alike, apart = series(plot)
    assert [(mark.x, mark.y) for mark in equal.marks] == [(0, 0), (1, 1)]
    assert (alike.label, len(alike.marks)) == ("not told apart", 4)
    assert sorted((mark.x, mark.y) for mark in apart.marks) == [(0.8, 0.2), (0.9, 0.2)]
    assert plot.title == "2 of 6 cells differ from the table beyond chance"
    assert "n = 100 seeds in the run and 100 seeds in the table" in plot.note


def test_differences_of_cells_have_newcombes_intervals(tmp_path):
    comparison = published(tmp_path)
    plot = cell_differences(comparison)
    alike, apart = series(plot)
    assert column(apart, "x") == pytest.approx([-70, -60])
    low, high = unpaired_difference(20, 100, 90, 100)
    assert apart.marks[0].x_ends == pytest.approx((100 * low, 100 * high))
    assert len(alike.marks) == 4
    assert plot.panels[0].y.categories[0].startswith("Adam, 0.01 · ")
    assert "-70 points [-79, -58]" in plot.alt
    assert len(cell_differences(comparison, 3).panels[0].y.categories) == 3
    assert "the 3 of 6 cells with the smallest p" in cell_differences(comparison, 3).title


@pytest.mark.parametrize("figure", [differences, wins, profile, numbers_profile])
def test_names_are_only_names(figure):
    hostile = ("<script>alert(1)</script>", "$x$ \x1b[1m _b_" * 20 + "n\nl")
    found = paired(40, 9, 1, 10, labels=hostile)
    if figure is numbers_profile:
        found = compare_runs([contestant(n, **told([0.9, 0.5, 0.95])) for n in hostile])
    assert "<script>" not in svg(figure(found))
