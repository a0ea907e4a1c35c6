"""Races: errors as rare as promised, bounds and looks; the race for a number."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.racing.halving import number_race
from xortune.racing.objectives import cost_share, seed_costs
from xortune.racing.race import (
    Race,
    RaceRule,
    best_lower,
    is_worse,
    race_lower,
    race_share,
    race_upper,
)
from xortune.spaces.model import Objective


@pytest.fixture(scope="module")
def errors():
    """The simulator of benchmarks/race_errors.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        return importlib.import_module("race_errors")


CLOSE = [0.5] * 5 + [0.52]


def test_looked_at_after_every_seed_a_race_is_wrong_as_rarely_as_it_says(errors):
    bounds = errors.race_bounds(6, 150)
    apart = [0.6] + [0.5] * 5, [0.88] * 5 + [0.98]
    for rates in ([0.5] * 6, [0.02] * 6, [0.98] * 6, CLOSE, *apart):
        found = errors.simulate(rates, bounds, races=300)
        assert found.best <= found.any <= 0.05, rates
    assert errors.simulate(CLOSE, bounds, races=300, shared=True).any <= 0.05
    # It saves seeds where there is a difference.
    assert errors.simulate([1.0] + [0.4] * 5, bounds, races=100).seeds < 0.45
    assert errors.simulate([1.0] * 6, bounds, races=100).seeds == 1.0


def test_fixed_n_intervals_in_the_same_races_fail(errors):
    bounds = errors.wilson_bounds(6, 150)
    assert errors.simulate([0.5] * 6, bounds, races=600).best > 0.4
    assert errors.simulate(CLOSE, bounds, races=600).best > 0.1


def test_shares_sum_to_one_and_fall_slowly():
    numbers = np.arange(1, 10**6 + 1)
    share = race_share(numbers)
    assert (np.diff(share) < 0).all()
    # It telescopes: what is left for the numbers to come.
    left = math.log(20) / math.log(20 + 10**6)
    assert share.sum() + left == pytest.approx(1.0, abs=1e-9)
    # The docstring's figures.
    costs = -np.log(race_share([1, 10, 200, 1000]))
    assert np.round(costs, 1).tolist() == [4.1, 4.7, 7.7, 9.7]


LOOKS = st.lists(  # so many seeds that bounds differ, in any order, with rates that change
    st.tuples(st.integers(0, 3), st.integers(1, 150), st.sampled_from([0.0, 0.6, 0.9, 1.0])),
    min_size=4,
    max_size=25,
)


@given(LOOKS, st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5, 0.9]))
@settings(max_examples=40)
def test_a_look_stops_what_lies_below_the_highest_lower_bound_of_another(looks, seed, alpha):
    rng = np.random.default_rng(seed)
    race = Race(RaceRule((40,), alpha=alpha, finalists=None))
    counts: dict[int, tuple[int, int]] = {}
    order: list[int] = []
    proven: dict[int, float] = {}
    for name, more, rate in looks:
        k, n = counts.get(name, (0, 0))
        counts[name] = k, n = k + int(rng.binomial(more, rate)), n + more
        if name not in order:
            order.append(name)
        number = order.index(name) + 1
        lower = float(race_lower(k, n, number, alpha=alpha))
        proven[name] = max(lower, proven.get(name, 0.0))
        bar = max((low for other, low in proven.items() if other != name), default=0.0)
        upper = float(race_upper(k, n, number, alpha=alpha))
        verdict = race.look(name, k, n)
        assert race.enter(name) == number
        assert (verdict == "stopped") == (upper < bar)
        assert race.proven == pytest.approx(max(proven.values()), abs=1e-12)
        if race.proven > 0:
            assert proven[race.leader] == pytest.approx(race.proven)


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.integers(1, 1000),
    st.just(0.0) | st.floats(1e-30, 0.999),
)
def test_the_quick_comparisons_are_those_of_the_bounds(counts, number, rate):
    k, n = counts
    lower, upper = float(race_lower(k, n, number)), float(race_upper(k, n, number))
    assert is_worse(k, n, number, rate) == (upper < rate)
    assert best_lower(k, n, number, rate) == max(lower, rate)


def test_a_leader_may_be_stopped_for_the_second_best():
    race = Race(RaceRule((1_000,)))
    assert race.look("first", 200, 200) == race.look("second", 150, 150) == "continues"
    assert (race.leader, race.look("first", 200, 800)) == ("first", "stopped")


# -------------------------------------------------------------------------------------------------
# The race for a number: the best of each rung climb, whoever comes first.

RUNGS = (4, 16, 64)


@pytest.mark.parametrize(("failed", "promoted"), [(1, True), (2, True), (3, False), (8, False)])
def test_a_failed_quantile_is_promoted_while_more_seeds_may_make_it_a_number(failed, promoted):
    race = number_race(RaceRule((8, 32)), share=0.9)  # of costs: the worst tenth
    seeds = np.array([*range(8 - failed), *[math.inf] * failed], float)
    race.see("a", 8 - failed, 8, costs=(math.inf,), seed_costs=seeds)
    assert (race.next({}, last=True) == "a") is promoted
    race.see("b", 8, 8, costs=(100.0,), seed_costs=np.arange(93.0, 101.0))
    assert race.next({}, last=True) == "b", "a number comes first"


def raced(costs, order):
    """All enter with the first rung; then who may climb does, until nobody may. Seeds by name."""
    race = number_race(RaceRule(RUNGS))
    seeds = {}
    for name in order:
        race.see(name, RUNGS[0], RUNGS[0], costs=(costs[name],))
        seeds[name] = RUNGS[0]
    while (name := race.next({}, last=True)) is not None:
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
    race = number_race(RaceRule(RUNGS))
    for name in range(3):
        race.see(name, 4, 4, costs=(float(name),))
        assert race.next({}) is None  # one in four
    race.see("best", 4, 4, costs=(-1.0,))
    assert race.next({}) == "best"
    assert race.next({"best": 12}) is None
    race.see("best", 16, 16, costs=(5.0,))  # it was luck, but it counts as it was with 4 seeds
    assert race.next({}) is None
    for name in range(4, 8):
        race.see(name, 4, 4, costs=(float(name),))
    assert race.next({}) == 0


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 64)), min_size=1, max_size=20))
def test_success_rates_are_proven_as_in_any_race(looks):
    race, other = number_race(RaceRule(RUNGS)), Race(RaceRule(RUNGS))
    for name, k in looks:
        race.see(name, k, 64, costs=(0.0,))
        other.see(name, k, 64)
    assert (race.proven, race.leader) == (other.proven, other.leader)


# Quantiles: whoever is proven worse by bounds that hold at every look is out.


def look(race, name, seed_costs):
    seed_costs = np.sort(np.asarray(seed_costs, float))
    cost = seed_costs[len(seed_costs) // 2]
    race.see(name, 0, len(seed_costs), costs=(cost,), seed_costs=seed_costs)


def test_a_quantile_that_is_proven_worse_is_out_for_good_and_a_mean_never():
    rng = np.random.default_rng(0)
    race, of_means = (number_race(RaceRule(RUNGS), share=share) for share in (0.5, None))
    for one in (race, of_means):
        look(one, "good", rng.normal(0, 1, 64))
        look(one, "bad", rng.normal(9, 1, 16))
        look(one, "alike", rng.normal(0.1, 1, 64))
        look(one, "failed", np.full(16, math.inf) if one is race else [1.0])
    names = ("good", "alike", "bad", "failed")
    assert [name for name in names if race.is_stopped(name)] == ["bad", "failed"]
    assert not any(map(of_means.is_stopped, names))
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
        numbers = rng.exponential(size=(3, 80))
        race = number_race(RaceRule(RUNGS, alpha=alpha), share=share)
        for n in range(1, 81):
            for name in range(3):
                race.see(name, 0, n, costs=(0.0,), seed_costs=np.sort(numbers[name, :n]))
        wrong += any(race.is_stopped(name) for name in range(3))
    assert wrong <= 60 * alpha


def test_a_plain_race_judges_by_the_counts_of_now():
    """A program of Ray Tune that goes on with a trial may show it to be no longer proven worse."""
    race = Race(RaceRule((1_000,)))
    race.see("good", 60, 64)
    assert race.look("late", 0, 30) == "stopped"
    assert race.look("late", 600, 640) == "continues"
