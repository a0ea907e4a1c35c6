import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta

from xortune.core.errors import InputError
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_evidence_below,
    anytime_interval,
    anytime_lower,
    anytime_quantile,
    anytime_quantiles,
    anytime_upper,
)

COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
ALPHAS = st.floats(1e-12, 0.3)


def crossed(rejects, rate, last):
    """The exact probability that a series with this rate is rejected at any n up to `last`.

    `rejects(k, n)` for all counts at once; the probability mass of every count is carried along,
    and what is rejected is taken out.
    """
    n, k = np.mgrid[1 : last + 1, : last + 1]
    rejected = k <= n
    rejected[rejected] = rejects(k[rejected], n[rejected])
    mass, found = np.zeros(last + 1), 0.0
    mass[0] = 1.0
    for now in rejected:
        mass[1:], mass[0] = mass[1:] * (1 - rate) + mass[:-1] * rate, mass[0] * (1 - rate)
        found += mass[now].sum()
        mass[now] = 0.0
    return found


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.95])
def test_bounds_looked_at_after_every_seed_miss_the_rate_as_rarely_as_they_say(rate):
    def either(k, n):
        low, high = anytime_interval(k, n, confidence=0.95)
        return (low > rate) | (high < rate)

    missed = (
        crossed(lambda k, n: anytime_lower(k, n, alpha=0.05) > rate, rate, 150),
        crossed(lambda k, n: anytime_upper(k, n, alpha=0.05) < rate, rate, 150),
        crossed(either, rate, 150),
    )
    assert 0.005 < max(missed) <= 0.05


@pytest.mark.parametrize(("k", "n", "p"), [(0, 3, 0.2), (5, 5, 0.9), (17, 20, 0.7), (30, 60, 0.6)])
def test_evidence_agrees_with_quadrature_of_the_mixture(k, n, p):
    def ratio(angle):
        """Where q = sin² of an angle, the density has no pole: it is 2 / pi throughout."""
        q = math.sin(angle) ** 2
        return (q / p) ** k * ((1 - q) / (1 - p)) ** (n - k)

    start = math.asin(math.sqrt(p))
    whole = 2 / math.pi * quad(ratio, start, math.pi / 2, epsabs=1e-12, epsrel=1e-11)[0]
    expected = math.log(whole / beta(0.5, 0.5).sf(p))
    assert anytime_evidence_above(k, n, p) == pytest.approx(expected, abs=1e-6)


@given(COUNTS, ALPHAS)
def test_the_bound_is_where_the_evidence_is_enough(counts, alpha):
    k, n = counts
    low = float(anytime_lower(k, n, alpha=alpha))
    assert 0 <= low <= k / n
    if k:
        assert anytime_evidence_above(k, n, low) == pytest.approx(-math.log(alpha), abs=1e-6)
    assert anytime_upper(n - k, n, alpha=alpha) == 1 - low


@pytest.mark.parametrize(("share", "n"), [(0.1, 40), (0.5, 40), (0.9, 200), (0.01, 500)])
def test_a_quantile_is_bounded_as_the_rate_of_numbers_up_to_it_is(share, n):
    numbers = np.arange(1.0, n + 1)
    low, high = anytime_quantile(numbers[::-1], share, alpha=0.01)
    j = next((j for j in range(1, n + 1) if anytime_lower(j, n, alpha=0.01) > share), math.inf)
    l = [m for m in range(n) if anytime_upper(m, n, alpha=0.01) < share]  # noqa: E741
    assert (low, high) == (max(l) + 1 if l else -math.inf, j)
    mirrored = anytime_quantile(-numbers, 1 - share, alpha=0.01)
    assert mirrored == (-high, -low)


def test_ties_and_failed_seeds_are_numbers_too():
    numbers = [-math.inf] * 50 + [1.0] * 50
    assert anytime_quantile(numbers, 0.1, alpha=0.05) == (-math.inf, -math.inf)
    assert anytime_quantile(numbers, 0.9, alpha=0.05) == (1.0, 1.0)
    assert anytime_quantile([], 0.5, alpha=0.05) == (-math.inf, math.inf)


@pytest.mark.parametrize(("share", "alpha"), [(0.5, 0.0125), (0.1, 0.9), (0.99, 1e-4)])
def test_bounds_of_quantiles_after_each_seed_are_those_of_the_seeds_up_to_it(share, alpha):
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=300).round(1)
    numbers[rng.random(300) < 0.1] = -np.inf
    looks = [anytime_quantile(numbers[:n], share, alpha=alpha) for n in range(1, 301)]
    for first in (1, 170, 301):
        low, high = anytime_quantiles(numbers, share, alpha=alpha, first=first)
        assert list(zip(low, high, strict=True)) == looks[first - 1 :]


def test_extreme_counts_are_exact_to_many_digits():
    assert [float(end) for end in anytime_interval(0, 0)] == [0, 1]
    assert anytime_evidence_below(0, 100, 0.9) > 80 * math.log(10)
    assert anytime_evidence_above(0, 10**6, 0.9) < -1e6  # nothing is left of the stake
    k, n = np.array([1, 10**6 - 1, 10**6, 10**9]), np.array([10**6, 10**6, 10**6, 10**9])
    for alpha in (0.05, 1e-30):
        low = anytime_lower(k, n, alpha=alpha)
        assert anytime_evidence_above(k, n, low) == pytest.approx(-math.log(alpha), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: anytime_lower(5, 4, alpha=0.1), "successes"),
        (lambda: anytime_lower(-1, 4, alpha=0.1), "successes"),
        (lambda: anytime_lower(1, np.nan, alpha=0.1), "successes"),
        (lambda: anytime_upper(1, 4, alpha=0.0), "alpha"),
        (lambda: anytime_lower(1, 4, alpha=1.0), "alpha"),
        (lambda: anytime_interval(1, 4, confidence=1.0), "confidence"),
        (lambda: anytime_evidence_above(1, 4, 1.0), "rate"),
        (lambda: anytime_evidence_below(1, 4, 0.0), "rate"),
    ],
)
def test_bad_input_is_named(call, field):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field
    assert caught.value.allowed
