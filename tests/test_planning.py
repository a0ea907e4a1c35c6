from collections.abc import Callable
from functools import partial
from itertools import count, product
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom, multinomial

from xortune.core.errors import InputError
from xortune.stats import planning
from xortune.stats.planning import (
    fair_losses,
    independent_power,
    independent_seeds,
    rate_that_passes,
    rough_independent_seeds,
    seeds_for_lower_bound,
    shared_power,
    shared_seeds,
)
from xortune.stats.proportions import clopper_pearson_lower, mcnemar_two_sided


def first(power_at: Callable[[int], float], power: float) -> int:
    return next(n for n in count(1) if power_at(n) >= power)


@settings(max_examples=30)
@given(st.floats(0.05, 0.98), st.sampled_from([0.8, 0.95, 0.99]), st.integers(0, 12))
def test_one_seed_fewer_would_not_do_by_enumeration(rate, confidence, failures):
    n = seeds_for_lower_bound(rate, confidence=confidence, failures=failures)
    risk, before = binom.cdf(failures, [n, n - 1], 1 - rate)
    assert risk <= (1 - confidence) * (1 + 1e-8)
    assert before > (1 - confidence) * (1 - 1e-8)
    low = clopper_pearson_lower(n - failures, n, confidence=confidence)
    assert low >= rate - 1e-9


def test_a_rate_that_no_number_of_seeds_shows_is_refused():
    with pytest.raises(InputError, match="more seeds than there are"):
        seeds_for_lower_bound(1 - 1e-12)


@pytest.mark.parametrize(("n", "failures"), [(299, 0), (473, 1), (59, 3)])
def test_the_rate_that_passes_nine_times_in_ten_does(n, failures):
    assert binom.cdf(failures, n, 1 - rate_that_passes(n, failures)) == pytest.approx(0.9)


def fisher_power(n: int, p1: float, p2: float, alpha: float) -> float:
    k = np.arange(n + 1)
    mass = binom.pmf(k, n, p1)[:, None] * binom.pmf(k, n, p2)[None, :]
    less = hypergeom.cdf(k[:, None], 2 * n, k[:, None] + k[None, :], n)
    return float(mass[np.minimum(less, less.T) <= alpha / 2 * (1 + 1e-9)].sum())


RATES = st.just(0.0) | st.floats(1e-300, 1)  # below, binom.pmf overflows in SciPy of before 1.17


@settings(max_examples=40)
@given(st.integers(1, 60), RATES, RATES, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_power_on_other_seeds_is_that_of_all_tables(n, p1, p2, alpha):
    expected = fisher_power(n, p1, p2, alpha)
    assert independent_power(n, p1, p2, alpha=alpha) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25)
@given(st.integers(1, 25), st.floats(0, 1), st.floats(0, 1), st.sampled_from([0.05, 0.2]))
def test_the_power_on_shared_seeds_is_that_of_all_tables(n, p1, p2, alpha):
    b, c = p1 * (1 - p2), p2 * (1 - p1)
    wins, losses = np.meshgrid(np.arange(n + 1), np.arange(n + 1))
    fits = wins + losses <= n
    wins, losses = wins[fits], losses[fits]
    mass = multinomial.pmf(
        np.stack([wins, losses, n - wins - losses], axis=1), n, [b, c, max(0.0, 1 - b - c)]
    )
    expected = mass[mcnemar_two_sided(wins, losses) <= alpha * (1 + 1e-9)].sum()
    assert shared_power(n, p1, p2, alpha=alpha) == pytest.approx(expected, abs=1e-9)


def test_a_given_discordance_is_used():
    # Nested: the better one solves all that the worse one does, so it wins each seed that tells.
    n, alpha = 80, 0.05
    needed = first(lambda d: 1 - 2 * 0.5**d, 1 - alpha)
    expected = binom.sf(needed - 1, n, 0.1)
    assert shared_power(n, 0.9, 1.0) == pytest.approx(expected)
    assert shared_power(n, 0.8, 0.9, discordance=0.1) == pytest.approx(expected)
    assert shared_power(n, 0.8, 0.9, discordance=0.2) < expected
    for wrong in (0.05, 0.31, float("nan")):
        with pytest.raises(InputError, match=r"discordance.*0\.1 to 0\.3"):
            shared_power(n, 0.8, 0.9, discordance=wrong)


RATES_AND_POWER = [
    *product([(0.6, 0.9), (1.0, 0.9), (0.2, 0.05), (0.01, 0.9), (0, 1)], [0.5, 0.9]),
    # Here halving alone ends four or five seeds too high, for the power has teeth.
    *(((0.4, 0.6), 0.56), ((0.3, 0.6), 0.64), ((0.3, 0.6), 0.85)),
]


@pytest.mark.parametrize(("rates", "power"), RATES_AND_POWER)
def test_the_numbers_of_seeds_are_the_smallest_that_do(rates, power):
    nested = {"discordance": abs(rates[0] - rates[1])}
    for seeds, power_of, more in (
        (independent_seeds, independent_power, {}),
        (shared_seeds, shared_power, {}),
        (shared_seeds, shared_power, nested),
    ):
        fewest = first(partial(power_of, p1=rates[0], p2=rates[1], **more), power)
        assert seeds(*rates, power=power, **more) == fewest


@pytest.mark.parametrize(
    ("rates", "alpha"),
    [((0.9, 0.8), 0.05), ((0.99, 0.9), 0.01), ((0.2, 0.9), 0.05), ((0.05, 0.3), 0.01)],
)
def test_the_formula_for_seeds_is_near_the_enumeration(rates, alpha):
    rough = rough_independent_seeds(*rates, alpha=alpha)
    exact = independent_seeds(*rates, alpha=alpha)
    assert 0.97 * exact <= rough <= 1.2 * exact
    assert rough == rough_independent_seeds(*rates[::-1], alpha=alpha)


@given(st.integers(0, 3000), st.floats(1e-6, 0.4))
def test_fair_losses_are_the_quantile_of_the_coin(d, level):
    most = int(fair_losses(np.array([d]), level)[0])
    assert most < 0 or binom.cdf(most, d, 0.5) <= level * (1 + 1e-8)
    assert binom.cdf(most + 1, d, 0.5) > level * (1 - 1e-8)
    assert most >= 0 or d < log(1 / level, 2) + 1e-6


def test_one_solves_all_that_the_other_does_up_to_rounding():
    """1 - 498 / 500 is a little more than 2 / 500. Six seeds apart are the fewest that tell."""
    n = shared_seeds(1.0, 498 / 500, discordance=2 / 500)
    assert binom.sf(5, n, 2 / 500) >= 0.8 > binom.sf(5, n - 1, 2 / 500)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: seeds_for_lower_bound(1.0), "rate"),
        (lambda: seeds_for_lower_bound(float("nan")), "rate"),
        (lambda: seeds_for_lower_bound(0.9, confidence=95), "confidence"),
        (lambda: seeds_for_lower_bound(0.9, failures=-1), "failures"),
        (lambda: independent_seeds(0.9, 1.1), "p2"),
        (lambda: independent_seeds(0.9, 0.9), "between"),
        (lambda: shared_seeds(-0.1, 0.9), "p1"),
        (lambda: shared_seeds(0.8, 0.9, power=1), "power"),
        (lambda: shared_seeds(0.8, 0.9, alpha=0), "alpha"),
    ],
)
def test_bad_arguments_are_refused(call, field):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field


def test_rates_that_are_too_close_are_refused(monkeypatch):
    monkeypatch.setattr(planning, "MOST_COMPARED", 300)
    assert independent_seeds(0.8, 0.9) <= 300
    with pytest.raises(InputError, match="between: the two rates are too close"):
        independent_seeds(0.85, 0.9)
