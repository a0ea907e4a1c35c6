"""Verdicts follow from counts, and from nothing else; each statistic against another's."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import yaml
from scipy.integrate import quad
from scipy.stats import beta, binom, binomtest, fisher_exact
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from xortune.thread.claims import AS_POSTED, CLAIMS, Claims, read_claims
from xortune.thread.measure import Measured
from xortune.thread.verdict import (
    ALPHA,
    Verdict,
    compare,
    explain,
    judge,
    judge_curve,
)

DATA = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
SHIPPED = read_claims()
QUOTED = {row.id: row.quoted.counted for row in SHIPPED.rows if row.quoted.counted}


def seeds(k, n):
    return Measured(np.arange(n) < k)


def as_quoted(claims, n=1000, **counts):
    """Measured as if every quoted count were the truth, but for the rows and variants given."""
    found = {}
    for row, variant in claims.measured:
        k, m = row.quoted.counted or (n if row.quoted.share == 1 else 0, n)
        found[row.id, variant.name] = seeds(k * n // m, n)
    for place, (k, of) in counts.items():
        row_id, _, name = place.partition("__")
        assert (row_id, name or AS_POSTED) in found
        found[row_id, name or AS_POSTED] = seeds(k, of)
    return found


def judged(claims, found):
    return {
        (one.row.id, one.variant.name): one for one in judge(claims, found, compare(claims, found))
    }


def edited(row_id, **quoted):
    """claims.yaml with another quoted figure."""
    data = copy.deepcopy(DATA)
    row = next(row for row in data["rows"] if row["id"] == row_id)
    row["quoted"] = {**row["quoted"], **quoted}
    return Claims.model_validate(data)


# --- quoted counts -------------------------------------------------------------------------------


def test_every_quoted_count_agrees_with_itself():
    claims = SHIPPED
    found = judged(claims, as_quoted(claims))
    for row_id in QUOTED:
        assert found[row_id, AS_POSTED].verdict == Verdict.CONSISTENT
        assert found[row_id, AS_POSTED].p_holm == 1


@pytest.fixture(scope="module")
def agreeing():
    """Every quoted count as the truth, and the verdicts on that."""
    found = as_quoted(SHIPPED)
    return found, judged(SHIPPED, found)


@pytest.mark.parametrize("row_id", QUOTED)
def test_editing_a_quoted_figure_changes_its_verdict_and_no_other(row_id, agreeing):
    found, before = agreeing
    other = 50 if QUOTED[row_id][0] > 75 or QUOTED[row_id][0] < 25 else 95
    after = judged(edited(row_id, k=other), found)
    posted = (row_id, AS_POSTED)
    assert (before[posted].verdict, after[posted].verdict) == ("consistent", "inconsistent")
    assert f"{other}/100 beside" in after[posted].why
    for place in before:
        if place[0] != row_id and place[1] == AS_POSTED:
            assert after[place].verdict == before[place].verdict


def test_p_is_fishers():
    claims = SHIPPED
    found = judged(claims, as_quoted(claims, T3=(4321, 10_000), T8h__zero_grad=(7, 300)))
    for place, (k, n) in {
        ("T3", AS_POSTED): (4321, 10_000),
        ("T8h", "zero_grad"): (7, 300),
    }.items():
        quoted_k, quoted_n = QUOTED[place[0]]
        expected = fisher_exact([[quoted_k, quoted_n - quoted_k], [k, n - k]]).pvalue
        assert found[place].p == pytest.approx(expected, rel=1e-6)
        assert 0 < expected < 1
        low, high = proportion_confint(k, n, method="wilson")
        assert (found[place].low, found[place].high) == pytest.approx((low, high), abs=1e-9)
        assert (found[place].k, found[place].n, found[place].rate) == (k, n, k / n)


def test_holm_is_over_the_rows_and_over_the_other_variants_each_for_itself():
    rng = np.random.default_rng(4)
    claims = SHIPPED
    counts = {}
    for row, variant in claims.measured:
        if row.quoted.counted:
            k, n = row.quoted.counted
            drawn = np.clip(k / n + rng.normal(0, 0.12), 0, 1)
            counts[f"{row.id}__{variant.name}"] = (round(500 * drawn), 500)
    found = judged(claims, as_quoted(claims, **counts))
    for posted in (True, False):
        family = [
            one for place, one in found.items() if (place[1] == AS_POSTED) == posted and one.p
        ]
        expected = multipletests([one.p for one in family], alpha=ALPHA, method="holm")
        assert [one.p_holm for one in family] == pytest.approx(expected[1].tolist(), rel=1e-9)
        rejected = [one.verdict == Verdict.INCONSISTENT for one in family]
        assert rejected == expected[0].tolist()
        assert 0 < sum(rejected) < len(rejected)
        assert any(one.p < ALPHA <= one.p_holm for one in family), "the correction decides one"
    assert sum(one.p is not None for one in found.values()) == len(counts)


def test_99_of_100_is_not_refuted_by_10_000_of_10_000():
    """Of one row alone it would be (p 0.01); of sixteen, one such count is no surprise."""
    claims = SHIPPED
    found = judged(claims, as_quoted(claims, n=10_000, T9b=(10_000, 10_000)))
    row = found["T9b", AS_POSTED]
    assert row.p < ALPHA
    assert row.p_holm == pytest.approx(len(QUOTED) * row.p)
    assert row.verdict == Verdict.CONSISTENT
    worse = judged(claims, as_quoted(claims, n=10_000, T9b=(9_000, 10_000)))
    assert worse["T9b", AS_POSTED].verdict == Verdict.INCONSISTENT


def test_why_gives_the_numbers_and_for_the_posted_script_the_reason():
    claims = SHIPPED
    found = judged(claims, as_quoted(claims, T3=(370, 1000), T3__half=(900, 1000)))
    row = found["T3", AS_POSTED]
    assert row.why.startswith("37/100 beside 37.0 %: p (Holm) 1. ")
    assert row.why.endswith(row.row.because)
    half = found["T3", "half"]
    assert half.why.startswith("37/100 beside 90.0 %")
    assert row.row.because not in half.why


def test_zeros_and_stops_are_passed_on():
    claims = SHIPPED
    found = as_quoted(claims)
    found["T8c", AS_POSTED] = Measured(np.arange(50) < 11, all_zero=7, stopped=9)
    row = judged(claims, found)["T8c", AS_POSTED]
    assert (row.all_zero, row.stopped) == (7, 9)


# --- every seed, no seed, no figure --------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "k", "verdict", "why"),
    [
        ("T7", 2000, "consistent", "No exception among 2,000."),
        ("T7", 1999, "inconsistent", "1 of 2,000 are exceptions; one refutes 'every time'."),
        ("T1", 0, "consistent", "No exception among 2,000."),
        ("T1", 1, "inconsistent", "1 of 2,000 are exceptions; one refutes 'never'."),
        ("T15", 1, "inconsistent", "one refutes 'nothing gets close'"),
    ],
)
def test_one_exception_refutes_every_and_none(place, k, verdict, why):
    claims = SHIPPED
    row = judged(claims, as_quoted(claims, **{place: (k, 2000)}))[place, AS_POSTED]
    assert row.verdict == verdict
    assert why in row.why
    assert (row.p, row.p_holm) == (None, None)


@pytest.mark.parametrize("row_id", ["T2", "T12", "T14b"])
@pytest.mark.parametrize("k", [0, 500, 1000])
def test_what_names_no_rate_cannot_be_tested(row_id, k):
    claims = SHIPPED
    row = judged(claims, as_quoted(claims, **{row_id: (k, 1000)}))[row_id, AS_POSTED]
    assert row.verdict == Verdict.NOT_TESTABLE
    assert row.row.quoted.untestable in row.why


# --- one better than another ---------------------------------------------------------------------


def pair(wins, losses, both=20, neither=20):
    """Two systems on the same seeds."""
    more = [True] * (both + wins) + [False] * (losses + neither)
    than = [True] * both + [False] * wins + [True] * losses + [False] * neither
    return Measured(np.array(more)), Measured(np.array(than))


@pytest.mark.parametrize(
    ("wins", "losses", "verdict"),
    [
        (20, 3, "consistent"),
        (3, 20, "inconsistent"),
        (8, 6, "cannot tell"),
        (6, 8, "cannot tell"),
        (0, 0, "cannot tell"),
        (6, 0, "consistent"),  # p = 0.031
        (5, 0, "cannot tell"),  # p = 0.0625
    ],
)
def test_more_than_is_mcnemar_in_both_directions(wins, losses, verdict):
    claims = SHIPPED.only({"T6"})
    found = as_quoted(claims, n=40 + wins + losses)
    found["T6", AS_POSTED], found["T6", "hidden_dim_9"] = pair(wins, losses)
    [one] = compare(claims, found)
    assert one.verdict == verdict
    assert (one.only_more, one.only_than) == (wins, losses)
    assert (one.k_more, one.k_than, one.n) == (20 + wins, 20 + losses, 40 + wins + losses)
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert one.p == pytest.approx(expected, rel=1e-9)
    rows = judged(claims, found)
    assert rows["T6", AS_POSTED].verdict == verdict
    assert f"{20 + wins} beside {20 + losses}" in rows["T6", AS_POSTED].why
    assert rows["T6", "hidden_dim_9"].verdict == verdict
    assert rows["T6", "zero_grad"].verdict == Verdict.NOT_TESTABLE


def test_pairs_are_by_seed():
    """The same counts on the same seeds say nothing; on others they say as little, but differ."""
    claims = SHIPPED.only({"T6"})
    found = as_quoted(claims, n=40)
    found["T6", AS_POSTED] = Measured(np.arange(40) < 20)
    found["T6", "hidden_dim_9"] = Measured(np.arange(40) >= 20)
    [one] = compare(claims, found)
    assert (one.only_more, one.only_than) == (20, 20)
    assert one.verdict == Verdict.UNDECIDED


def test_comparisons_are_a_family():
    claims = SHIPPED
    found = as_quoted(claims, n=200)
    found["T10b", AS_POSTED], found["T10a", AS_POSTED] = pair(9, 1, 95, 95)
    compared = compare(claims, found)
    assert len(compared) == 1 + len(claims.comparisons)
    assert compared[0].more == ("T6", AS_POSTED)
    expected = multipletests([one.p for one in compared], method="holm")[1]
    assert [one.p_holm for one in compared] == pytest.approx(expected.tolist(), rel=1e-9)
    last = compared[-1]
    assert (last.more[0], last.than[0]) == ("T10b", "T10a")
    assert last.p < ALPHA <= last.p_holm
    assert last.verdict == Verdict.UNDECIDED
    backwards = [one for one in compared if one.verdict == Verdict.INCONSISTENT]
    assert backwards == []


def test_nothing_to_compare():
    claims = SHIPPED.only({"T3"})
    assert compare(claims, as_quoted(claims)) == ()


# --- which of two rates --------------------------------------------------------------------------


def integral(k, n, successes, of):
    """Binomial likelihood over the posterior of the rate, Jeffreys' prior: by quadrature."""
    posterior = beta(successes + 0.5, of - successes + 0.5)
    ends = posterior.ppf([1e-12, 0.5, 1 - 1e-12])
    return sum(
        quad(
            lambda rate: binom.pmf(k, n, rate) * posterior.pdf(rate),
            low,
            high,
            epsabs=0,
            epsrel=1e-9,
            limit=200,
        )[0]
        for low, high in itertools.pairwise(ends)
    )


def test_likelihoods_are_an_integral_over_the_posterior():
    claims = SHIPPED.only({"T8c", "T9c"})
    found = as_quoted(claims)
    found["T8c", AS_POSTED] = Measured(np.arange(500) < 120, all_zero=15)
    found["T8c", "lr_0.001"] = Measured(np.arange(400) < 170, all_zero=3)
    found["T9c", AS_POSTED] = seeds(777, 1000)
    found["T9c", "lr_0.001"] = seeds(690, 1000)
    first, second = explain(claims, found)
    assert (first.row.id, second.row.id) == ("T8c", "T9c")
    assert first.names == (AS_POSTED, "lr_0.001")
    expected = (integral(22, 100, 120, 500), integral(22, 100, 170, 400))
    assert first.likelihoods == pytest.approx(expected, rel=1e-6)
    assert first.ratio == pytest.approx(expected[0] / expected[1], rel=1e-6)
    assert first.ratio > 1
    zeros = (integral(2, 100, 15, 500), integral(2, 100, 3, 400))
    assert first.all_zero == pytest.approx(zeros, rel=1e-6)
    expected = (integral(77, 100, 777, 1000), integral(77, 100, 690, 1000))
    assert second.likelihoods == pytest.approx(expected, rel=1e-6)
    assert second.all_zero is None


def test_all_or_nothing_has_a_likelihood_too():
    claims = SHIPPED.only({"T9a"})
    found = as_quoted(claims)
    found["T9a", AS_POSTED], found["T9a", "lr_0.001"] = seeds(300, 300), seeds(0, 300)
    [one] = explain(claims, found)
    assert 0.5 < one.likelihoods[0] < 1
    assert 0 < one.likelihoods[1] < 1e-50
    assert one.ratio > 1e50


# --- a curve -------------------------------------------------------------------------------------


def test_a_curve_is_judged_by_its_best_value():
    base = np.arange(60) < 20
    better = np.arange(60) < 45
    other = (np.arange(60) >= 10) & (np.arange(60) < 32)  # 22 seeds: 12 won, 10 lost
    points = (0.01, 0.03, 0.1, 0.3)
    test = judge_curve(points, [np.zeros(60, bool), base, better, other], 0.03)
    assert (test.best, test.k_best, test.k_beside, test.n) == (0.1, 45, 20, 60)
    assert (test.only_best, test.only_beside) == (25, 0)
    p = [
        binomtest(w, w + m).pvalue if w + m else 1.0
        for w, m in ((0, 20), (0, 0), (25, 0), (12, 10))
    ]
    assert test.p == pytest.approx(p[2], rel=1e-9)
    assert test.p_holm == pytest.approx(multipletests(p, method="holm")[1][2], rel=1e-9)
    assert test.verdict == Verdict.INCONSISTENT


def test_a_flat_curve_does_not_contradict():
    base = np.arange(60) < 20
    slightly = base | (np.arange(60) == 40) | (np.arange(60) == 50)
    test = judge_curve((1, 2, 3), [base, slightly, base], 1)
    assert (test.best, test.only_best, test.only_beside) == (2, 2, 0)
    assert test.verdict == Verdict.CONSISTENT


def test_chance_among_many_values_is_corrected_for():
    """6 of 6 differences say p = 0.03 of one pair; among twenty values that is nothing."""
    base = np.arange(60) < 20
    six = base | (np.arange(60) >= 54)
    test = judge_curve(tuple(range(20)), [base] * 19 + [six], 0)
    assert test.best == 19
    assert test.p < ALPHA <= test.p_holm
    assert test.verdict == Verdict.CONSISTENT


def test_worse_values_are_no_contradiction():
    """Nothing much: that it can be made worse is not what was denied."""
    test = judge_curve((1, 2), [np.ones(50, bool), np.zeros(50, bool)], 1)
    assert (test.best, test.verdict) == (1, Verdict.CONSISTENT)
