"""The band of a distribution function: a known value, the exact distribution, and simulation."""

import pytest
from scipy.stats import kstwo

from xortune.stats.numbers import dkw_band


@pytest.mark.parametrize("n", [1, 2, 3, 8, 32, 100, 512, 10_000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_it_covers_by_the_exact_distribution_of_the_largest_distance(n, confidence):
    missed = kstwo.sf(dkw_band(0, n, confidence=confidence)[1], n)
    assert missed <= (1 - confidence) * (1 + 1e-9)
    if n >= 100:  # and it is hardly wider than it must be
        assert missed > 0.75 * (1 - confidence)
