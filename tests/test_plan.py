"""How many seeds: planning by enumeration, the verb `plan` and its command."""

import json
import math
from collections.abc import Callable
from functools import partial
from itertools import count, product
from unittest.mock import Mock

import numpy as np
import pytest
from commands import _somewhere, refused, xortune
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom, multinomial

import xortune as xt
from xortune.certificates import plan as speeds
from xortune.certificates.plan import gate_seeds, measured_speed
from xortune.core.errors import InputError
from xortune.core.seeds import HAND
from xortune.stats import planning
from xortune.stats.anytime import anytime_evidence_above
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

__all__ = ["_somewhere"]  # the fixture


def first(power_at: Callable[[int], float], power: float) -> int:
    return next(n for n in count(1) if power_at(n) >= power)


@given(st.floats(0.05, 0.98), st.sampled_from([0.8, 0.95, 0.99]), st.integers(0, 12))
def test_one_seed_fewer_would_not_do_by_enumeration(rate, confidence, failures):
    n = seeds_for_lower_bound(rate, confidence=confidence, failures=failures)
    risk, before = binom.cdf(failures, [n, n - 1], 1 - rate)
    assert risk <= (1 - confidence) * (1 + 1e-8)
    assert before > (1 - confidence) * (1 - 1e-8)
    low = clopper_pearson_lower(n - failures, n, confidence=confidence)
    assert low >= rate - 1e-9


def test_the_rate_that_passes_nine_times_in_ten_does():
    for n, failures in [(299, 0), (473, 1), (59, 3)]:
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
    assert most >= 0 or d < math.log(1 / level, 2) + 1e-6


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
        (lambda: independent_seeds(0.9, 1.1), "between"),
        (lambda: independent_seeds(0.9, 0.9), "between"),
        (lambda: shared_seeds(-0.1, 0.9), "between"),
        (lambda: shared_seeds(0.8, 0.9, power=1), "power"),
        (lambda: shared_seeds(0.8, 0.9, alpha=0), "alpha"),
        (lambda: seeds_for_lower_bound(0.9, failures=10**30), "failures"),
        (lambda: xt.plan(between=[0.8, 0.9], confidence="0.9"), "confidence"),
        (lambda: xt.plan(between=[0.8, 0.9], confidence=1.0), "confidence"),
    ],
)
def test_bad_arguments_are_refused(call, field):
    with pytest.raises(InputError) as caught:
        call()
    assert caught.value.field == field


def test_what_takes_too_many_seeds_is_refused(monkeypatch):
    with pytest.raises(InputError, match="more seeds than there are"):
        seeds_for_lower_bound(1 - 1e-12)
    monkeypatch.setattr(planning, "MOST_COMPARED", 300)
    assert independent_seeds(0.8, 0.9) <= 300
    with pytest.raises(InputError, match="between: the two rates are too close"):
        independent_seeds(0.85, 0.9)


# -------------------------------------------------------------------------------------------------
# The verb and the command.


def test_a_rate_for_several_numbers_of_failures():
    found = xt.plan(rate=0.99, measure=False)
    assert isinstance(found, xt.RatePlan)
    assert (found.rate, found.confidence, found.speed) == (0.99, 0.95, None)
    claims = [(claim.failures, claim.seeds) for claim in found.claims]
    assert claims[:3] == [(0, 299), (1, 473), (2, 628)]
    assert [failures for failures, _ in claims[3:]] == [3, 5, 10]
    for claim in found.claims:
        assert claim.gate_seeds > claim.seeds
        assert 0.99 < claim.passes_from < 1


def test_a_gate_proves_at_the_first_seed_that_can():
    for rate, failures in [(0.95, 0), (0.99, 0), (0.5, 0), (0.95, 3), (0.3, 2)]:
        looks = np.arange(failures + 1, gate_seeds(rate, alpha=0.05, failures=failures) + 1)
        evidence = anytime_evidence_above(looks - failures, looks, rate)
        assert evidence[-1] >= math.log(20) > evidence[:-1].max()


def test_two_rates():
    found = xt.plan(between=[0.9, 0.95], measure=False)
    assert isinstance(found, xt.ComparisonPlan)
    assert (found.independent, found.shared, found.nested) == (466, 463, 157)
    assert (found.rates, found.power, found.alpha) == ((0.9, 0.95), 0.8, pytest.approx(0.05))
    sure = xt.plan(between=(0.9, 0.95), power=0.9, confidence=0.99, measure=False)
    assert sure.independent > found.independent


def test_the_speed_is_measured_with_the_config_given(make_config, monkeypatch):
    evaluate = Mock(wraps=speeds.evaluate_config)
    monkeypatch.setattr(speeds, "evaluate_config", evaluate)
    monkeypatch.setattr(speeds, "ENOUGH_SECONDS", 0.05)
    config = make_config(epochs=4000)
    found = xt.plan(0.9, config=config, task="parity-3")
    assert (found.speed.config, found.speed.task) == (config, "parity-3")
    assert found.speed.engine == "fused"
    assert found.speed.seconds_for_each == found.speed.seconds / found.speed.seeds > 0
    trained = [call.args for call in evaluate.call_args_list]
    assert {(c, task.name) for c, task, _ in trained} == {(config, "parity-3")}
    assert len(trained[-1][2]) == found.speed.seeds
    assert all(seeds.start in HAND and seeds[-1] in HAND for *_, seeds in trained)
    # What the reference engine must train is measured with that, and few seeds are enough.
    wide = measured_speed(make_config(hidden_dim=65, epochs=500), xt.Task.xor())
    assert (wide.engine, wide.seeds <= 128) == ("reference", True)


def test_the_command_says_how_many_and_what_the_time_is_from(monkeypatch):
    monkeypatch.setattr(speeds, "ENOUGH_SECONDS", 0.02)
    result = xortune("plan", "--rate", "0.99", "--confidence", "0.95")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "To show a success rate of at least 0.99 with confidence 0.95:"
    failures, seeds, *_, gated = lines[2].split()
    assert (failures, seeds, gated) == ("0", "299", "338")
    text = " ".join(result.stdout.split())
    assert "task xor, fused engine" in text
    assert "hidden_dim 5, epochs 1000" in text
    assert max(map(len, lines)) <= 80
    found = json.loads(xortune("plan", "--rate", 0.9, "--failures", 2, "--json").stdout)
    assert found["claims"][0]["seeds"] == 61  # Wilks, 90/95 with two failures
    assert found["claims"][0]["seconds_here"] > 0
    found = json.loads(xortune("plan", "--between", 0.98, 1, "--json").stdout)
    assert found["independent"] == 394


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--rate 0.99, or --between 0.9 0.95"),
        (("--rate", "1.5"), "--rate: 1.5 is out of range"),
        (("--between", "0.9", "0.9"), "--between: 0.9 twice"),
        (("--rate", "0.9", "--config", "no.yaml"), "no.yaml: there is no such file"),
    ],
)
def test_the_command_refuses_before_it_trains(words, message, monkeypatch):
    monkeypatch.setattr(speeds, "measured_speed", None)
    refused(xortune("plan", *words), message)
