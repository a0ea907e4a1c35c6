"""Intervals and tests of success rates: against scipy, statsmodels, enumeration and examples."""

from fractions import Fraction
from functools import partial
from math import comb, nan

import numpy as np
import pytest
from compared import holm_of_statsmodels
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import (
    binomtest,
    boschloo_exact,
    hypergeom,
    kstwo,
    multinomial,
)
from statsmodels.stats.proportion import proportion_confint

from xortune.core.errors import InputError
from xortune.core.outcome import wilson
from xortune.stats.numbers import dkw_band
from xortune.stats.proportions import (
    boschloo,
    clopper_pearson_lower,
    fisher_region,
    holm,
    mcnemar_greater,
    mcnemar_two_sided,
    paired_difference,
    unpaired_difference,
)


def counts(most):
    return st.integers(1, most).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# --- intervals -----------------------------------------------------------------------------------


@given(counts(100_000), st.floats(0.5, 0.999))
def test_wilson_is_that_of_statsmodels(count, confidence):
    expected = proportion_confint(*count, alpha=1 - confidence, method="wilson")
    assert wilson(*count, confidence=confidence) == pytest.approx(expected, abs=1e-9)


def test_wilson_ends_are_exact():
    assert (wilson(0, 8)[0], wilson(8, 8)[1]) == (0, 1)
    assert [float(end) for end in wilson(0, 0)] == [0, 1]


@given(counts(3000), st.floats(0.5, 0.9999))
def test_clopper_pearson_is_that_of_scipy(count, confidence):
    ci = binomtest(*count, alternative="greater").proportion_ci(confidence, "exact")
    found = float(clopper_pearson_lower(*count, confidence=confidence))
    assert found == pytest.approx(ci.low, abs=1e-9)


def test_clopper_pearson_ends_are_exact():
    assert clopper_pearson_lower(0, 9) == clopper_pearson_lower(0, 0) == 0
    # All of n: the bound is the n-th root of the risk; 59 seeds for 0.95 at 95 %.
    assert clopper_pearson_lower(59, 59) == pytest.approx(0.05 ** (1 / 59), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 32, 100, 512, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_a_dkw_band_covers_by_the_exact_distribution_of_the_largest_distance(n, confidence):
    missed = kstwo.sf(dkw_band(0, n, confidence=confidence)[1], n)
    assert missed <= (1 - confidence) * (1 + 1e-9)
    if n >= 100:  # and it is hardly wider than it must be
        assert missed > 0.75 * (1 - confidence)


# --- tests ---------------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_that_of_an_enumeration(wins, losses):
    m = wins + losses
    tail = [Fraction(sum(comb(m, i) for i in range(k, m + 1)), 2**m) for k in (wins, losses)]
    assert mcnemar_greater(wins, losses) == pytest.approx(float(tail[0]), rel=1e-12)
    p = float(mcnemar_two_sided(wins, losses))
    assert p == pytest.approx(float(min(1, 2 * min(tail))), rel=1e-12)


@settings(max_examples=60)
@given(counts(40), counts(40))
def test_boschloo_is_that_of_scipy(first, second):
    (k1, n1), (k2, n2) = first, second
    expected = boschloo_exact([[k1, k2], [n1 - k1, n2 - k2]]).pvalue
    assert boschloo(k1, n1, k2, n2) == pytest.approx(expected, rel=1e-6)


def test_boschloo_of_large_unequal_and_empty_samples():
    # By scipy 1.17: boschloo_exact([[900, 950], [100, 50]]), which takes it 18 s.
    assert boschloo(900, 1000, 950, 1000) == pytest.approx(2.3457897336743857e-05, rel=1e-6)
    expected = boschloo_exact([[200, 6], [4, 2]]).pvalue
    assert boschloo(200, 204, 6, 8) == pytest.approx(expected, rel=1e-6)
    assert boschloo(200, 204, 6, 8) == boschloo(6, 8, 200, 204)
    assert boschloo(5, 5, 7, 7) == boschloo(0, 0, 7, 9) == 1


@given(st.integers(1, 25), st.integers(1, 25), st.floats(1e-4, 0.5))
def test_the_region_of_fishers_test_is_where_its_p_values_are_small(n1, n2, level):
    least = fisher_region(n1, n2, level)
    for k1 in range(n1 + 1):
        p = hypergeom.cdf(k1, n1 + n2, k1 + np.arange(n2 + 1), n1)
        extreme = np.flatnonzero(p <= level * (1 + 1e-9))
        assert least[k1] == (extreme[0] if extreme.size else n2 + 1)
    some = np.array([n1 // 2, n1])
    assert (fisher_region(n1, n2, level, some) == least[some]).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_that_of_statsmodels(p):
    assert holm(p) == pytest.approx(holm_of_statsmodels(p), abs=1e-12)


@pytest.mark.parametrize(
    ("test", "given"),
    [
        *(
            (clopper_pearson_lower, given)
            for given in [(3, 2), (-1, 2), (0.5, 2), (1, nan), (1, 2.5)]
        ),
        *((mcnemar_two_sided, given) for given in [(-1, 3), (3, 0.5)]),
        (boschloo, (6, 5, 7, 7)),
    ],
)
def test_counts_that_are_none_are_refused(test, given):
    with pytest.raises(InputError, match="successes"):
        test(*given)


@pytest.mark.parametrize("confidence", [0, 1, nan, 95])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(InputError, match="confidence"):
        clopper_pearson_lower(1, 2, confidence=confidence)


# --- intervals of differences --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "expected", "digits"),
    [
        # Bentur et al. (2009), in Fagerland, Lydersen and Laake (2014), table V.
        ((1, 7, 21), [-0.517, -0.026], 3),
        # Tango (1998), table 4.
        ((12, 2, 50), [0.0611, 0.3447], 4),
    ],
)
def test_pairs_as_published(table, expected, digits):
    assert np.round(paired_difference(*table, alpha=0.05), digits).tolist() == expected


@given(st.lists(st.integers(0, 40), min_size=3, max_size=3).filter(any), st.booleans())
def test_a_pair_read_backwards_changes_its_sign(cells, own_seeds):
    wins, losses, _ = cells
    n, alpha = sum(cells), 0.05
    if own_seeds:
        low, high = unpaired_difference(wins, n, losses, n, alpha=alpha)
        back = unpaired_difference(losses, n, wins, n, alpha=alpha)
    else:
        low, high = paired_difference(wins, losses, n, alpha=alpha)
        back = paired_difference(losses, wins, n, alpha=alpha)
    assert -1 <= low <= (wins - losses) / n <= high <= 1
    assert (-back[1], -back[0]) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((56, 70, 48, 80), [0.0528, 0.3382]),
        ((9, 10, 3, 10), [0.1700, 0.8406]),
        ((6, 7, 2, 7), [0.0342, 0.8534]),
        ((5, 56, 0, 29), [-0.0326, 0.1933]),
        ((0, 10, 0, 20), [-0.1658, 0.2844]),
        ((10, 10, 0, 10), [0.6636, 1.0]),
    ],
)
def test_other_seeds_as_published(table, expected):
    """Newcombe (1998), Statistics in Medicine 17, table II, method 6."""
    assert np.round(unpaired_difference(*table, alpha=0.05), 4).tolist() == expected


@given(counts(60), counts(60), st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_0_is_in_the_interval_where_the_exact_test_tells_nobody_apart(first, second, alpha):
    (k1, n1), (k2, n2) = first, second
    own = alpha, boschloo(k1, n1, k2, n2)
    shared = alpha, float(mcnemar_two_sided(k1, k2))
    for (level, p), interval in (
        (own, partial(unpaired_difference, k1, n1, k2, n2)),
        (shared, partial(paired_difference, k1, k2, max(k1 + k2, n1 + n2))),
    ):
        low, high = interval(alpha=level, apart=p < level)
        assert (low <= 0 <= high) == (p >= level)


def test_differences_of_pairs_are_covered_as_often_as_promised():
    """Of all tables of 30 pairs: in the mean over true rates 95 % or more, and never far below."""
    n = 30
    wins, losses = (part.ravel() for part in np.meshgrid(*[np.arange(n + 1)] * 2))
    wins, losses = (part[wins + losses <= n] for part in (wins, losses))
    apart = mcnemar_two_sided(wins, losses) < 0.05
    tables = zip(wins.tolist(), losses.tolist(), apart.tolist(), strict=True)
    ends = [paired_difference(w, m, n, alpha=0.05, apart=told) for w, m, told in tables]
    low, high = np.array(ends).T
    rng, found = np.random.default_rng(1), []
    for _ in range(40):
        cells = rng.dirichlet([1, 1, 2])
        mass = multinomial.pmf(np.stack([wins, losses, n - wins - losses], axis=1), n, cells)
        true = cells[0] - cells[1]
        found.append(mass[(low <= true) & (true <= high)].sum())
    assert 0.945 < np.mean(found) < 0.97
    assert min(found) > 0.92
