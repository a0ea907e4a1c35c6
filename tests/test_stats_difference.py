"""Intervals of differences: against published examples, statsmodels, and their exact coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, multinomial
from statsmodels.stats.proportion import confint_proportions_2indep

from xortune.stats.planning import independent_seeds, rough_independent_seeds
from xortune.stats.proportions import paired_difference, unpaired_difference

counts = st.integers(0, 40)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # Bentur et al. (2009), in Fagerland, Lydersen and Laake (2014), table V.
        ((1, 1, 7, 12), (-0.507, -0.026)),
        # Altman et al. (2000), Statistics with Confidence, table 6.2.
        ((14, 5, 0, 22), (0.011, 0.226)),
        # Newcombe (1998), example of 50 pairs.
        ((36, 12, 2, 0), (0.0569, 0.3404)),
    ],
)
def test_pairs_as_published(table, expected):
    digits = 3 if expected[0] == round(expected[0], 3) else 4
    assert tuple(round(float(end), digits) for end in paired_difference(*table)) == expected


@given(counts, counts, counts, counts)
def test_a_pair_read_backwards_changes_its_sign(both, wins, losses, neither):
    if both + wins + losses + neither == 0:
        return
    low, high = paired_difference(both, wins, losses, neither)
    difference = (wins - losses) / (both + wins + losses + neither)
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    back = paired_difference(both, losses, wins, neither)
    assert (-back[1], -back[0]) == pytest.approx((low, high))
    failing = paired_difference(neither, losses, wins, both)  # the rates of failing
    assert failing == pytest.approx(back)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_other_seeds_as_statsmodels(k1, n1, k2, n2):
    k1, k2 = min(k1, n1), min(k2, n2)
    expected = confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", compare="diff")
    assert unpaired_difference(k1, n1, k2, n2) == pytest.approx(expected, abs=1e-9)


def paired_coverage(n, cells):
    """Exact: the probability of all tables of n pairs whose interval holds the true difference."""
    a, b, c = (part.ravel() for part in np.meshgrid(*[np.arange(n + 1)] * 3))
    possible = a + b + c <= n
    a, b, c = a[possible], b[possible], c[possible]
    low, high = paired_difference(a, b, c, n - a - b - c)
    mass = multinomial.pmf(np.stack([a, b, c, n - a - b - c], axis=1), n, cells)
    true = cells[1] - cells[2]
    return mass[(low <= true) & (true <= high)].sum()


def test_pairs_are_covered_as_often_as_promised():
    """In the mean over true cells 95 %, and never far below: the interval is approximate."""
    rng = np.random.default_rng(1)
    found = [paired_coverage(30, rng.dirichlet([1, 1, 1, 1])) for _ in range(40)]
    assert 0.945 < np.mean(found) < 0.97
    assert min(found) > 0.92


def test_rates_of_other_seeds_are_covered_as_often_as_promised():
    rng = np.random.default_rng(2)
    k1, k2 = np.meshgrid(np.arange(31), np.arange(26), indexing="ij")
    low, high = unpaired_difference(k1, 30, k2, 25)
    found = []
    for p1, p2 in rng.random((100, 2)):
        mass = np.outer(binom.pmf(np.arange(31), 30, p1), binom.pmf(np.arange(26), 25, p2))
        found.append(mass[(low <= p1 - p2) & (p1 - p2 <= high)].sum())
    assert 0.945 < np.mean(found) < 0.97
    assert min(found) > 0.92


@pytest.mark.parametrize(
    ("rates", "alpha"),
    [((0.9, 0.8), 0.05), ((0.99, 0.9), 0.01), ((0.2, 0.9), 0.05), ((0.05, 0.3), 0.01)],
)
def test_the_formula_for_seeds_is_near_the_enumeration(rates, alpha):
    exact = independent_seeds(*rates, alpha=alpha)
    assert 0.97 * exact <= rough_independent_seeds(*rates, alpha=alpha) <= 1.2 * exact
    assert rough_independent_seeds(*rates[::-1], alpha=alpha) == rough_independent_seeds(
        *rates, alpha=alpha
    )
