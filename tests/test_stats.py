import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact
from statsmodels.stats.proportion import proportion_confint

from xortune.core.outcome import wilson
from xortune.stats.proportions import fisher_tails, fisher_two_sided, holm, mcnemar_greater

COUNTS = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
COUNTS_100 = st.integers(1, 100).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.floats(0.5, 0.999))
def test_wilson_agrees_with_statsmodels(counts, confidence):
    expected = proportion_confint(*counts, alpha=1 - confidence, method="wilson")
    assert wilson(*counts, confidence=confidence) == pytest.approx(expected, abs=1e-9)


def test_wilson_exact_values():
    z2 = 1.959963984540054**2
    assert wilson(8, 8)[0] == pytest.approx(8 / (8 + z2), abs=1e-12)  # k = n: low is n / (n + z²)
    assert wilson(0, 8)[1] == pytest.approx(z2 / (8 + z2), abs=1e-12)
    assert wilson(0, 8)[0] == 0
    assert wilson(8, 8)[1] == 1
    assert [float(end) for end in wilson(0, 0)] == [0, 1]


@pytest.mark.parametrize("total", range(13))
def test_mcnemar_by_enumerating_all_coin_tosses(total):
    heads = [bits.bit_count() for bits in range(2**total)]
    for wins in range(total + 1):
        exact = sum(found >= wins for found in heads) / 2**total
        assert mcnemar_greater(wins, total - wins) == pytest.approx(exact, abs=1e-14)


def exact_fisher(k1, n1, k2, n2):
    """Fisher's p in whole numbers: no rounding, so ties are ties."""
    total = k1 + k2
    ways = {i: math.comb(n1, i) * math.comb(n2, total - i) for i in range(min(n1, total) + 1)}
    return Fraction(sum(w for w in ways.values() if w <= ways[k1]), sum(ways.values()))


@pytest.mark.parametrize(("n1", "n2"), [(1, 1), (6, 6), (7, 4), (3, 9), (12, 12)])
def test_fisher_by_enumerating_all_tables(n1, n2):
    pairs = [(k1, k2) for k1 in range(n1 + 1) for k2 in range(n2 + 1)]
    k1, k2 = np.array(pairs).T
    exact = [float(exact_fisher(a, n1, b, n2)) for a, b in pairs]
    assert fisher_two_sided(k1, n1, k2, n2) == pytest.approx(exact, rel=1e-12)


@given(COUNTS_100, COUNTS_100)
def test_fisher_agrees_with_scipy(first, second):
    (k1, n1), (k2, n2) = first, second
    expected = fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue
    found = fisher_two_sided(k1, n1, k2, n2)
    assert found == pytest.approx(expected, rel=1e-9)
    # To the last bit: rows that tie are sorted by their key.
    assert fisher_two_sided(k2, n2, k1, n1) == found
    assert fisher_two_sided(n1 - k1, n1, n2 - k2, n2) == found
    assert fisher_two_sided(n2 - k2, n2, n1 - k1, n1) == found


def test_fisher_is_broadcast_and_stands_large_samples():
    found = fisher_two_sided([[0], [100]], 100, [0, 50, 100], 100)
    assert found.shape == (2, 3)
    assert found[0, 0] == found[1, 2] == 1
    assert found[0].tolist() == found[1, ::-1].tolist()
    large = fisher_two_sided(50_000, 100_000, 50_700, 100_000)
    assert large == pytest.approx(fisher_exact([[50_000] * 2, [50_700, 49_300]]).pvalue, rel=1e-6)


@pytest.mark.parametrize(("n1", "n2"), [(8, 8), (9, 5), (1, 30)])
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9])
def test_fisher_tails_are_the_shares_of_rejections(n1, n2, rate):
    k1, k2 = np.indices((n1 + 1, n2 + 1))
    weight = binom.pmf(k1, n1, rate) * binom.pmf(k2, n2, rate)
    rejected = fisher_two_sided(k1, n1, k2, n2) < 0.05
    tails = fisher_tails(k1 + k2, n1, n2)
    assert (tails.sum(axis=0) < 0.05).all()
    for tail, side in zip(tails, (k1 * n2 < k2 * n1, k1 * n2 > k2 * n1), strict=True):
        assert (weight * tail).sum() == pytest.approx((weight * (rejected & side)).sum(), abs=1e-12)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
