"""The race for a number: the best of each rung climb, whoever comes first."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.racing.grants import NumberGrants
from xortune.racing.objectives import cost_share, seed_costs
from xortune.racing.race import Race, RaceRule
from xortune.spaces.model import Objective

RUNGS = (4, 16, 64)


def raced(costs, order):
    """All enter with the first rung; then who may climb does, until nobody may. Seeds by name."""
    race = NumberGrants(RaceRule(RUNGS))
    seeds = {}
    for name in order:
        race.see(name, RUNGS[0], RUNGS[0], costs=(costs[name],))
        seeds[name] = RUNGS[0]
    while (name := race.next((), last=True)) is not None:
        seeds[name] = next(rung for rung in RUNGS if rung > seeds[name])
        race.see(name, seeds[name], seeds[name], costs=(costs[name],))
    return seeds


@given(
    costs=st.lists(st.floats(-10, 10) | st.just(math.inf), min_size=1, max_size=60, unique=True),
    seed=st.integers(0, 5),
)
def test_the_best_gets_all_seeds_and_each_rung_costs_as_much(costs, seed):
    order = np.random.default_rng(seed).permutation(len(costs)).tolist()
    seeds = raced(costs, order)
    finite = [name for name in range(len(costs)) if math.isfinite(costs[name])]
    if finite:
        assert seeds[min(finite, key=costs.__getitem__)] == RUNGS[-1]
    second = sum(n >= 16 for n in seeds.values())
    assert second == min(math.ceil(len(costs) / 4), len(finite))
    assert sum(n >= 64 for n in seeds.values()) == math.ceil(second / 4)
    ranks = sorted(finite, key=costs.__getitem__)
    assert [seeds[name] for name in ranks] == sorted((seeds[n] for n in ranks), reverse=True)


def test_while_newcomers_come_only_whole_shares_climb():
    race = NumberGrants(RaceRule(RUNGS))
    for name in range(3):
        race.see(name, 4, 4, costs=(float(name),))
        assert race.next(()) is None  # one in four
    race.see("best", 4, 4, costs=(-1.0,))
    assert race.next(()) == "best"
    assert race.next({"best"}) is None
    race.see("best", 16, 16, costs=(5.0,))  # it was luck, but it counts as it was with 4 seeds
    assert race.next(()) is None
    for name in range(4, 8):
        race.see(name, 4, 4, costs=(float(name),))
    assert race.next(()) == 0


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 64)), min_size=1, max_size=20))
def test_success_rates_are_proven_as_in_any_race(looks):
    race, other = NumberGrants(RaceRule(RUNGS)), Race(RaceRule(RUNGS))
    for name, k in looks:
        race.see(name, k, 64, costs=(0.0,))
        other.see(name, k, 64)
    assert race.proven == other.proven
    assert race.leader == other.leader


# Quantiles: whoever is proven worse by bounds that hold at every look is out.


def quantile_race(share=0.5, alpha=0.05):
    return NumberGrants(RaceRule(RUNGS, alpha=alpha), share=share)


def look(race, name, seed_costs):
    seed_costs = np.sort(np.asarray(seed_costs, float))
    cost = seed_costs[len(seed_costs) // 2]
    race.see(name, 0, len(seed_costs), costs=(cost,), seed_costs=seed_costs)


def test_a_quantile_that_is_proven_worse_is_out_for_good_and_a_mean_never():
    rng = np.random.default_rng(0)
    race, of_means = quantile_race(), quantile_race(share=None)
    for one in (race, of_means):
        look(one, "good", rng.normal(0, 1, 64))
        look(one, "bad", rng.normal(9, 1, 16))
        look(one, "alike", rng.normal(0.1, 1, 64))
        look(one, "failed", np.full(16, math.inf) if one is race else [1.0])
        assert not one.is_stopped("good")
        assert not one.is_stopped("alike")
    assert race.is_stopped("bad")
    assert race.is_stopped("failed")
    assert not of_means.is_stopped("bad")
    look(race, "bad", [*rng.normal(9, 1, 16), *np.full(48, -9.0)])
    assert race.is_stopped("bad"), "the bounds of all looks hold together"
    race.forget("good")
    race.forget("alike")
    assert not race.is_stopped("bad"), "for nobody is there any more for whom it was stopped"


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("failed", [None, 3.0])
def test_costs_of_seeds_are_turned_with_their_quantile(maximize, failed):
    objective = Objective("a_q10", maximize=maximize, number="a", statistic="q10", failed=failed)
    costs = seed_costs(objective, [1.0, math.nan, 2.0, 5.0])
    worst = math.inf if failed is None else -failed if maximize else failed
    assert costs.tolist() == sorted([*([-1, -2, -5] if maximize else [1, 2, 5]), worst])
    assert cost_share(objective) == pytest.approx(0.9 if maximize else 0.1)
    mean = Objective("a_mean", maximize=maximize, number="a", statistic="mean")
    assert cost_share(mean) is None


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_no_best_quantile_is_stopped_more_often_than_alpha(share):
    """Races of equals, looked at after every seed, with an alpha so large that it shows."""
    alpha, wrong = 0.5, 0
    for number in range(60):
        rng = np.random.default_rng(number)
        race, numbers = quantile_race(share, alpha), rng.exponential(size=(3, 80))
        for n in range(1, 81):
            for name in range(3):
                race.see(name, 0, n, costs=(0.0,), seed_costs=np.sort(numbers[name, :n]))
        wrong += any(race.is_stopped(name) for name in range(3))
    assert wrong <= 60 * alpha
