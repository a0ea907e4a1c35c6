"""The band of a distribution function: a known value, the exact distribution, and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstwo

from xortune.stats.numbers import dkw_band


def test_a_known_value():
    # The band of 95 % is 1.358 / sqrt(n) wide on each side: Kolmogorov's table for large n.
    assert dkw_band(0, 100)[1] == pytest.approx(0.135810, abs=1e-6)
    assert dkw_band(0, 1000, confidence=0.99)[1] == pytest.approx(1.6276 / np.sqrt(1000), abs=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 32, 100, 512, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_it_covers_by_the_exact_distribution_of_the_largest_distance(n, confidence):
    missed = kstwo.sf(dkw_band(0, n, confidence=confidence)[1], n)
    assert missed <= (1 - confidence) * (1 + 1e-9)
    if n >= 100:  # and it is hardly wider than it must be
        assert missed > 0.75 * (1 - confidence)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.integers(1, 10**6),
    st.floats(0.01, 0.999),
)
def test_it_lies_within_0_and_1_and_rises_with_the_shares(shares, n, confidence):
    shares = np.sort(shares)
    low, high = dkw_band(shares, n, confidence=confidence)
    assert (low >= 0).all()
    assert (high <= 1).all()
    assert (low <= shares).all()
    assert (shares <= high).all()
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
