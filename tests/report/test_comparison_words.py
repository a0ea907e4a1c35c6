"""The sentences of a comparison, word by word, and the numbers in them."""

from __future__ import annotations

import pytest
from compared import contestant, paired, seeds_of, unpaired
from hand_made import solved
from hypothesis import given
from hypothesis import strategies as st

from xortune.comparisons.runs import compare_runs
from xortune.reports.words import (
    answer,
    headline,
    notes,
    p_text,
    points,
    points_interval,
    wanted_seeds,
)


def three(*counts, n=100):
    return compare_runs([contestant(f"c{i}", solved(0, k, n)) for i, k in enumerate(counts)])


def test_one_solves_more_seeds():
    assert answer(paired(841, 130, 2, 27)) == [
        "A solves more seeds than B: 97.1 % against 84.3 %, difference 12.8 points [10.7, 15.1], "
        "p < 0.001 (1,000 shared seeds, exact McNemar test)."
    ]
    # The one that is ahead comes first, whichever was given first.
    assert answer(paired(841, 2, 130, 27)) == [
        "B solves more seeds than A: 97.1 % against 84.3 %, difference 12.8 points [10.7, 15.1], "
        "p < 0.001 (1,000 shared seeds, exact McNemar test)."
    ]


def test_the_data_cannot_tell():
    assert answer(paired(820, 23, 15, 142)) == [
        "The data cannot tell A from B: 84.3 % against 83.5 %, difference 0.8 points [-0.5, 2.1], "
        "p = 0.256 (1,000 shared seeds, exact McNemar test); about 3,900 more seeds would, four "
        "times in five, if the rates are as seen."
    ]


def test_seeds_that_are_not_shared():
    assert answer(unpaired(80, 100, 70, 90, labels=("tpe", "random"))) == [
        "The data cannot tell tpe from random: 80 % against 78 %, difference 2 points [-10, 14], "
        "p = 0.733 (100 and 90 seeds, none shared, Boschloo's exact test); about 5,300 more seeds "
        "for each would, four times in five, if the rates are as seen."
    ]


def test_equal_and_nearly_equal_counts():
    [equal] = answer(paired(10, 0, 0, 2))
    assert equal.endswith("; they came out equal, so no number of further seeds can be named.")
    assert "difference 0 points [" in equal
    assert "p = 1 (12 shared seeds" in equal
    [close] = answer(paired(4000, 201, 200, 99))
    assert close.endswith("; at rates this close more than 20,000 seeds would be needed.")


def test_a_label_is_shown_on_one_line():
    [told] = answer(paired(10, 0, 0, 2, labels=("a\nb\x1b[1m", "<b>*x*</b>")))
    assert told.startswith("The data cannot tell a\\nb\\x1b[1m from <b>*x*</b>: ")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((95, 80, 60), "c0 solves more seeds than each of the others."),
        ((60, 80, 95), "c2 solves more seeds than each of the others."),
        ((90, 90, 90), "The data cannot tell any two of c0, c1 and c2 apart."),
        (
            (90, 89, 40),
            "The best is among c0 and c1, as far as the data tell: c2 is shown to solve fewer "
            "seeds than another.",
        ),
        (
            (90, 89, 40, 41),
            "The best is among c0 and c1, as far as the data tell: c2 and c3 are each shown to "
            "solve fewer seeds than another.",
        ),
    ],
)
def test_one_sentence_for_all(counts, told):
    found = three(*counts)
    assert headline(found) == told
    first, *others = answer(found)
    pairs = len(counts) * (len(counts) - 1) // 2
    assert first == f"{told} (100 shared seeds, exact McNemar test, Holm over {pairs} pairs.)"
    assert len(others) == pairs
    assert not any("McNemar" in sentence for sentence in others)


def test_the_p_that_is_told_is_holms():
    found = three(92, 86, 80)
    assert found.pairs[0].p == pytest.approx(0.03125)
    told = answer(found)[1]
    assert told.startswith("The data cannot tell c0 from c1: 92 % against 86 %")
    assert ", p = 0.0625; about " in told


def test_where_one_beats_only_another():
    """c0 beats c2, and c1 cannot be told from either."""
    found = three(90, 86, 83)
    assert headline(found) == (
        "The best is among c0 and c1, as far as the data tell: c2 is shown to solve fewer seeds "
        "than another."
    )


def test_several_kinds_of_seeds_are_told_pair_by_pair():
    entries = [
        contestant("a", solved(0, 90, 100)),
        contestant("b", solved(0, 80, 100)),
        contestant("c", seeds_of("+-" * 20, first=1000)),
    ]
    first, *others = answer(compare_runs(entries))
    assert first == "a solves more seeds than each of the others."
    assert ["shared seeds, exact McNemar test, Holm" in sentence for sentence in others] == [
        *(True, False, False)
    ]
    assert ["none shared, Boschloo's exact test, Holm" in sentence for sentence in others] == [
        *(False, True, True)
    ]


@given(st.floats(-1, 1), st.floats(0, 0.5))
def test_an_interval_is_rounded_outwards(difference, half):
    low, high = max(-1, difference - half), min(1, difference + half)
    shown = points_interval(low, high).strip("[]").split(", ")
    assert float(shown[0]) <= 100 * low + 1e-6
    assert float(shown[1]) >= 100 * high - 1e-6
    assert "-0.0" not in {*shown, points(difference, low, high)}
    assert float(shown[0]) <= float(points(difference, low, high)) <= float(shown[1])


def test_small_words():
    assert p_text(0.00099) == "p < 0.001"
    assert (p_text(0.001), p_text(0.04964), p_text(1.0)) == ("p = 0.001", "p = 0.0496", "p = 1")
    assert [wanted_seeds(n) for n in (1, 21, 99, 100, 101, 2437, 19_999)] == [
        *("1", "21", "99", "100", "110", "2,500", "20,000")
    ]


def test_a_note_is_said_once():
    entries = [
        contestant("a", solved(0, 5, 9), notes=("its seeds are old",)),
        contestant("b", solved(0, 5, 9), notes=("its seeds are few", "its seeds are old")),
        contestant("c", solved(0, 5, 9)),
    ]
    assert notes(compare_runs(entries)) == [
        "a, b: its seeds are old.",
        "b: its seeds are few.",
    ]
