"""The race for a number: the best of each rung climb, whoever comes first."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xortune.racing.grants import NumberGrants
from xortune.racing.race import Race, RaceRule

RUNGS = (4, 16, 64)


def raced(costs, order=None, rungs=RUNGS, busy=()):
    """All enter with the first rung; then who may climb does, until nobody may. Seeds by name."""
    race = NumberGrants(RaceRule(rungs))
    seeds = {}
    for name in order or range(len(costs)):
        race.see(name, rungs[0], rungs[0], costs=(costs[name],))
        seeds[name] = rungs[0]
    while (name := race.next(busy, last=True)) is not None:
        assert name not in busy
        seeds[name] = next(rung for rung in rungs if rung > seeds[name])
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


def test_what_is_forgotten_enters_anew():
    race = NumberGrants(RaceRule(RUNGS))
    for name in range(8):
        race.see(name, 4, 4, costs=(float(name),))
    race.see(0, 16, 16, costs=(0.0,))
    race.forget(0)
    assert race.next(()) == 1  # 7 came to the first rung, so one may
    race.see(0, 4, 4, costs=(-1.0,))
    assert race.next(()) == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 64)), min_size=1, max_size=20))
def test_success_rates_are_proven_as_in_any_race(looks):
    race, other = NumberGrants(RaceRule(RUNGS)), Race(RaceRule(RUNGS))
    for name, k in looks:
        race.see(name, k, 64, costs=(0.0,))
        other.see(name, k, 64)
    assert race.proven == other.proven
    assert race.leader == other.leader
