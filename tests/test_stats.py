from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from xortune.stats import mcnemar_greater, wilson

COUNTS = st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


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
