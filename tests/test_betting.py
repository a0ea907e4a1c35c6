"""Bounds of bounded means: exact enumeration of binary numbers, and what they cost."""

import math

import numpy as np
import pytest

import xortune as xt
from xortune.stats.betting import (
    PARTS,
    SHARES,
    mean_bounds,
    mean_evidence_above,
    mean_evidence_below,
    paired_limits,
)


def ever(mean, rate, seeds, alpha):
    """The chance that binary numbers of this rate ever prove a mean above `mean`, and when.

    By enumeration of the counts: the stake of n numbers does not depend on their order.
    """
    up, down = np.log1p(SHARES * (1 / mean - 1)), np.log1p(-SHARES)
    going, proven, spent = np.array([1.0]), 0.0, 0.0
    for n in range(1, seeds + 1):
        more = np.zeros(n + 1)
        more[1:] += going * rate
        more[:-1] += going * (1 - rate)
        k = np.arange(n + 1)
        stakes = np.exp(np.outer(k, up) + np.outer(n - k, down)) @ PARTS
        over = stakes >= 1 / alpha
        proven, spent = proven + more[over].sum(), spent + n * more[over].sum()
        more[over] = 0
        going = more
    return proven, spent + seeds * going.sum()


@pytest.mark.parametrize("mean", [0.05, 0.5, 0.8, 0.95])
def test_a_mean_is_wrongly_proven_as_rarely_as_promised_at_all_looks_together(mean):
    at, _ = ever(mean, mean, 200, 0.05)
    below, _ = ever(mean, 0.9 * mean, 200, 0.05)
    assert below < at <= 0.05


@pytest.mark.parametrize(("true", "mean"), [(0.9, 0.8), (0.99, 0.95)])
def test_proofs_take_little_more_than_any_test_needs(true, mean):
    divergence = true * math.log(true / mean) + (1 - true) * math.log((1 - true) / (1 - mean))
    proven, spent = ever(mean, true, 500, 0.05)
    assert proven > 0.99
    assert spent <= 1.3 * math.log(20) / divergence


def test_the_evidence_is_that_of_the_bounds_whatever_the_limits():
    numbers = np.random.default_rng(1).beta(2, 1, 60)
    low, high = mean_bounds(numbers, alpha=0.05)
    assert low < numbers.mean() < high
    # Wherever a look proved it: bounds are the best of all looks.
    assert mean_evidence_above(numbers, low, limits=(0, 1)).max() == pytest.approx(math.log(20))
    assert mean_evidence_below(numbers, high).max() == pytest.approx(math.log(20))
    assert np.allclose(mean_bounds(1 - numbers, alpha=0.05), (1 - high, 1 - low))
    wide = mean_bounds(300 * numbers - 100, alpha=0.05, limits=(-100, 200))
    assert np.allclose(wide, (300 * low - 100, 300 * high - 100))
    assert paired_limits((-100, 200)) == (-300, 300)
    tighter = mean_bounds(numbers, alpha=0.5)
    assert low < tighter[0] < tighter[1] < high


def test_no_seeds_and_the_same_number_again():
    assert mean_bounds([], alpha=0.05) == (0, 1)
    low, high = mean_bounds(np.ones(100), alpha=0.05)
    assert (0.95 < low < 1, high) == (True, 1)
    low, high = mean_bounds(np.zeros(100), alpha=0.05)
    assert (low, 0 < high < 0.05) == (0, True)
    low, high = mean_bounds(np.full(200, 0.3), alpha=0.05)
    assert 0.28 < low < 0.3 < high < 0.33
    assert mean_evidence_above([0.0, 0.1], 0.0).tolist() == [0, math.inf]
    assert mean_evidence_above([1.0, 1.0], 1.0).tolist() == [0, 0]


def test_numbers_that_change_with_their_order_have_bounds_in_their_order():
    numbers = np.repeat([0.1, 0.9], 100)
    low, high = mean_bounds(numbers, alpha=0.025)
    assert low < 0.5 < high
    assert (low, high) == mean_bounds(numbers, alpha=0.025, ordered=False)


def test_bounds_that_numbers_exceed_are_refused():
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(xt.InputError, match="bounds: a seed has the number") as caught:
            mean_bounds([0.5, wrong], alpha=0.05)
        assert caught.value.allowed == "numbers from 0 to 1"
