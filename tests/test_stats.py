import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from xortune.core.counts import holm, mcnemar_greater, wilson
from xortune.stats.exact import fisher_tails, fisher_two_sided

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


@given(COUNTS)
def test_wilson_contains_the_rate_and_is_symmetric(counts):
    k, n = counts
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = np.subtract(1, wilson(n - k, n)[::-1])
    assert mirrored == pytest.approx(np.array([low, high]), abs=1e-12)


@given(st.integers(1, 300))
def test_wilson_grows_with_k(n):
    low, high = wilson(np.arange(n + 1), n)
    assert (np.diff(low) > 0).all()
    assert (np.diff(high) > 0).all()


@given(COUNTS)
def test_wilson_shrinks_with_n(counts):
    k, n = counts
    low, high = wilson([k, 2 * k], [n, 2 * n])
    assert high[1] - low[1] < high[0] - low[0]


@pytest.mark.parametrize("total", range(13))
def test_mcnemar_by_enumerating_all_coin_tosses(total):
    heads = [bits.bit_count() for bits in range(2**total)]
    for wins in range(total + 1):
        exact = sum(found >= wins for found in heads) / 2**total
        assert mcnemar_greater(wins, total - wins) == pytest.approx(exact, abs=1e-14)


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_mcnemar_tails_overlap_in_one_outcome(wins, losses):
    both = float(mcnemar_greater(wins, losses) + mcnemar_greater(losses, wins))
    total = wins + losses
    one = math.exp(
        math.lgamma(total + 1)
        - math.lgamma(wins + 1)
        - math.lgamma(losses + 1)
        - total * math.log(2)
    )
    assert both == pytest.approx(1 + one, abs=1e-9)


def test_mcnemar_is_vectorised():
    found = mcnemar_greater([[0], [5]], [0, 1])
    assert found.shape == (2, 2)
    assert found[0].tolist() == [1, 1]
    assert found[1] == pytest.approx([2**-5, 7 / 64])


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


@settings(max_examples=30)
@given(st.lists(st.tuples(COUNTS_100, COUNTS_100), max_size=8))
def test_fisher_tests_each_pair_by_itself(pairs):
    columns = np.array([[*a, *b] for a, b in pairs], dtype=int).reshape(-1, 4).T
    together = fisher_two_sided(*columns)
    assert together.tolist() == [fisher_two_sided(*a, *b) for a, b in pairs]


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


def test_fisher_tails_are_hypergeometric():
    # 3 + 3 in 6 and 6: only 0:6 and 6:0 have p < 0.05, two of comb(12, 6) tables.
    assert fisher_tails(6, 6, 6) == pytest.approx(np.full(2, 1 / math.comb(12, 6)))
    assert fisher_tails([0, 12], 6, 6).tolist() == [[0, 0], [0, 0]]
    assert fisher_tails(6, 6, 6, alpha=0.001).tolist() == [0, 0]
    least = float(fisher_two_sided(6, 6, 0, 6))
    assert fisher_tails(6, 6, 6, alpha=least).tolist() == [0, 0]  # p < alpha, not p = alpha


@settings(max_examples=10)  # statsmodels takes 70 ms for each
@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_agrees_with_statsmodels(p):
    expected = multipletests(p, method="holm")[1] if p else []
    assert holm(p) == pytest.approx(np.array(expected), abs=1e-15)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
