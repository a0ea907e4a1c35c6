from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, boschloo_exact, hypergeom
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from xortune.core.errors import InputError
from xortune.stats.proportions import (
    boschloo,
    clopper_pearson_lower,
    fisher_region,
    mcnemar_two_sided,
)

COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.floats(0.5, 0.9999))
def test_the_bound_is_that_of_scipy_and_statsmodels(counts, confidence):
    k, n = counts
    found = float(clopper_pearson_lower(k, n, confidence=confidence))
    ci = binomtest(k, n, alternative="greater").proportion_ci(confidence, "exact")
    assert found == pytest.approx(ci.low, abs=1e-9)
    low, _ = proportion_confint(k, n, alpha=2 * (1 - confidence), method="beta")
    assert found == pytest.approx(low, abs=1e-9)


def test_the_ends_are_exact():
    assert clopper_pearson_lower(0, 9) == clopper_pearson_lower(0, 0) == 0
    # All of n: the bound is the n-th root of the risk; 59 seeds for 0.95 at 95 %.
    low = clopper_pearson_lower(59, 59, confidence=0.95)
    assert float(low) == pytest.approx(0.05 ** (1 / 59), rel=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_agrees_with_statsmodels_and_enumeration(wins, losses):
    p = float(mcnemar_two_sided(wins, losses))
    assert p == pytest.approx(float(mcnemar([[0, wins], [losses, 0]], exact=True).pvalue), rel=1e-9)
    m, more = wins + losses, max(wins, losses)
    exact = Fraction(sum(comb(m, i) for i in range(more, m + 1)), 2**m)
    assert p == pytest.approx(float(min(1, 2 * exact)), rel=1e-12)


@pytest.mark.parametrize("counts", [(3, 2), (-1, 2), (0.5, 2), (1, float("nan")), (1, 2.5)])
def test_counts_that_are_none_are_refused(counts):
    with pytest.raises(InputError, match="successes"):
        clopper_pearson_lower(*counts)


def test_other_bad_arguments_are_refused():
    for confidence in (0, 1, float("nan"), 95):
        with pytest.raises(InputError, match="confidence"):
            clopper_pearson_lower(1, 2, confidence=confidence)
    with pytest.raises(InputError, match="successes"):
        mcnemar_two_sided(-1, 3)
    with pytest.raises(InputError, match="successes"):
        mcnemar_two_sided(3, 0.5)


TABLES = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda n: st.tuples(st.integers(0, n[0]), st.just(n[0]), st.integers(0, n[1]), st.just(n[1]))
)


@settings(max_examples=60)
@given(TABLES)
def test_boschloo_agrees_with_scipy(table):
    k1, n1, k2, n2 = table
    expected = boschloo_exact([[k1, k2], [n1 - k1, n2 - k2]]).pvalue
    assert boschloo(*table) == pytest.approx(expected, rel=1e-6)


def test_boschloo_of_large_and_unequal_samples():
    # By scipy 1.17: boschloo_exact([[900, 950], [100, 50]]), which takes it 18 s.
    assert boschloo(900, 1000, 950, 1000) == pytest.approx(2.3457897336743857e-05, rel=1e-6)
    expected = boschloo_exact([[200, 6], [4, 2]]).pvalue
    assert boschloo(200, 204, 6, 8) == pytest.approx(expected, rel=1e-6)
    assert boschloo(200, 204, 6, 8) == boschloo(6, 8, 200, 204)


def test_boschloo_of_what_cannot_be_told_apart():
    assert boschloo(5, 5, 7, 7) == 1
    assert boschloo(0, 0, 7, 9) == 1
    with pytest.raises(InputError, match="successes"):
        boschloo(6, 5, 7, 7)


@settings(max_examples=30)
@given(st.integers(1, 25), st.integers(1, 25), st.floats(1e-4, 0.5))
def test_the_region_of_fishers_test_is_where_its_p_values_are_small(n1, n2, level):
    least = fisher_region(n1, n2, level)
    for k1 in range(n1 + 1):
        p = hypergeom.cdf(k1, n1 + n2, k1 + np.arange(n2 + 1), n1)
        extreme = np.flatnonzero(p <= level * (1 + 1e-9))
        assert least[k1] == (extreme[0] if extreme.size else n2 + 1)
    assert (np.diff(least) >= 0).all()
    some = np.array([n1 // 2, n1])
    assert (fisher_region(n1, n2, level, some) == least[some]).all()
