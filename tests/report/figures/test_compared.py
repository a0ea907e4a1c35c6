"""Figures of a comparison: the values in them are those of the comparison."""

from __future__ import annotations

import math

import pytest
from compared import contestant, paired, seeds_of
from hand_made import solved

from xortune.comparisons.runs import compare_runs
from xortune.reports.drawing.matplotlib import svg
from xortune.reports.figures.compared import differences, profile, wins
from xortune.reports.plot import Cells, Line, Points, Rule
from xortune.reports.words import answer, headline, sentence
from xortune.stats.numbers import dkw_half_width


@pytest.fixture
def three():
    """c0 and c1 solve more seeds than c2; c0 cannot be told from c1."""
    return compare_runs(
        [
            contestant(f"c{i}", seeds_of("+" * k + "-" * (50 - k), epoch=epoch))
            for i, (k, epoch) in enumerate([(45, 10), (43, 100), (20, 100)])
        ]
    )


def test_differences_have_their_intervals(three):
    plot = differences(three)
    [panel] = plot.panels
    rule, apart, close = panel.layers
    assert rule == Rule("x", 0.0, "no difference")
    assert panel.y.categories == ("c0 − c1", "c0 − c2", "c1 − c2")
    assert (apart.label, apart.y, apart.role) == ("told apart", (1.0, 2.0), "a")
    assert (close.label, close.y, close.role) == ("not told apart", (0.0,), "muted")
    pairs = three.pairs
    assert apart.x == pytest.approx((50, 46))
    assert apart.x_low == pytest.approx([100 * pairs[1].low, 100 * pairs[2].low])
    assert apart.x_high == pytest.approx([100 * pairs[1].high, 100 * pairs[2].high])
    assert apart.texts[0] == sentence(three, pairs[1])
    assert "2 of 3 pairs told apart" in plot.title
    for word in ("n = 50 seeds", "exact McNemar", "two-sided", "Holm over 3 pairs at 5 %", "95 %"):
        assert word in plot.note
    assert headline(three) in plot.alt


def test_of_two_the_answer_is_the_alt_text():
    found = paired(40, 9, 1, 10)
    assert differences(found).alt == wins(found).alt == answer(found)[0]
    [layer] = [one for one in differences(found).panels[0].layers if isinstance(one, Points)]
    assert layer.label == "told apart"


def test_wins_are_antisymmetric_and_say_where_one_cannot_tell(three):
    [panel] = wins(three).panels
    [cells] = panel.layers
    assert isinstance(cells, Cells)
    assert panel.x.categories == panel.y.categories == ("c0", "c1", "c2")
    for row in range(3):
        assert math.isnan(cells.values[row][row])
        assert cells.texts[row][row] == ""
        for column in range(row):
            assert cells.values[row][column] == pytest.approx(-cells.values[column][row])
    assert cells.values[0][2] == pytest.approx(0.5)
    assert cells.texts == (("", "+4 ?", "+50"), ("-4 ?", "", "+46"), ("-50", "-46", ""))
    assert cells.notes[2][0].startswith("-50 points [-63, -34], p < 0.001")


def test_the_profile_is_the_share_solved_by_each_epoch(three):
    lines, sooner, middles = profile(three).panels
    first = lines.layers[0]
    assert isinstance(first, Line)
    assert (first.label, first.step) == ("c0", True)
    assert (first.x, first.y) == ((1, 10, 1000), (0, 0.9, 0.9))
    half = dkw_half_width(50)
    assert first.low == pytest.approx((0, 0.9 - half, 0.9 - half))
    assert first.high == pytest.approx((half, 1, 1))
    points = sooner.layers[1]
    # c0 solves its 45 before any of c1's; its 5 unsolved ones tie with 7 of c1's 50.
    assert points.x[0] == pytest.approx(0.9 + 0.1 * 0.14 / 2)
    assert points.x_low[0] < points.x[0] < points.x_high[0]
    assert middles.layers[0].x == (10, 100)
    assert middles.layers[0].y == (0, 1), "of c2 more than a quarter is not solved"
    for word in ("n = 50 seeds", "DKW", "95 %", "1,000 bootstrap", "never outweigh a seed"):
        assert word in profile(three).note
    assert profile(three).alt.startswith("c0 solves a seed sooner than c1 in 91 % of pairs")


def test_without_middles_there_is_no_panel_for_them():
    found = compare_runs([contestant("a", solved(0, 3, 9)), contestant("b", solved(0, 2, 9))])
    assert len(profile(found).panels) == 2


def test_a_picture_has_so_many_lines_and_says_so():
    entries = [contestant(f"c{i}", solved(0, 5, 9)) for i in range(8)]
    plot = profile(compare_runs(entries))
    assert len(plot.panels[0].layers) == 6
    assert "The first 6 of 8 are drawn." in plot.note


@pytest.mark.parametrize("figure", [differences, wins, profile])
def test_names_are_only_names(figure):
    hostile = paired(40, 9, 1, 10, labels=("<script>alert(1)</script>", "$x$ \x1b[1m _b_" * 20))
    assert "<script>" not in svg(figure(hostile))
