"""The race for a front: who may still be on it is not stopped."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xortune.race import Race, RaceRule, race_lower, race_upper
from xortune.race_front import FrontRace

RULE = RaceRule((8, 32, 128), finalists=2)


def test_a_worse_rate_is_stopped_only_for_one_that_costs_no_more():
    race = FrontRace(RULE)
    assert race.look("large", 128, 128, costs=(20.0,)).verdict == "full"
    assert race.look("small", 16, 32, costs=(3.0,)).verdict == "climbs"
    assert race.look("as large", 16, 32, costs=(20.0,)).verdict == "stopped"
    assert race.look("larger", 16, 32, costs=(21.0,)).verdict == "stopped"
    assert race.look("smallest", 128, 128, costs=(2.0,)).verdict == "full"
    assert race.look("small", 16, 32, costs=(3.0,)).verdict == "stopped"


def test_all_costs_count():
    race = FrontRace(RULE)
    race.look("a", 128, 128, costs=(20.0, 5.0))
    assert race.look("b", 8, 32, costs=(30.0, 4.0)).verdict == "climbs"
    assert race.look("c", 8, 32, costs=(30.0, math.inf)).verdict == "stopped"


def test_enough_only_where_so_many_cost_no_more():
    race = FrontRace(RULE)
    for name in "ab":
        race.look(name, 128, 128, costs=(5.0,))
    assert race.look("dearer", 8, 8, costs=(5.5,)).verdict == "enough"
    assert race.look("cheaper", 8, 8, costs=(4.5,)).verdict == "climbs"
    race.look("c", 128, 128, costs=(4.5,))
    assert race.look("cheaper", 8, 8, costs=(4.5,)).verdict == "climbs"
    race.look("d", 128, 128, costs=(4.4,))
    assert race.look("cheaper", 8, 8, costs=(4.5,)).verdict == "enough"
    never = FrontRace(RaceRule((8, 32), finalists=None))
    for name in "abcd":
        never.look(name, 32, 32, costs=(1.0,))
    assert never.look("e", 8, 8, costs=(1.0,)).verdict == "climbs"


def test_who_is_on_the_first_rung_is_no_finalist_yet():
    race = FrontRace(RULE)
    for name in "ab":
        race.look(name, 8, 8, costs=(5.0,))
    assert race.look("c", 4, 8, costs=(5.0,)).verdict == "climbs"
    for name in "ab":
        race.look(name, 32, 32, costs=(5.0,))
    assert race.look("d", 4, 8, costs=(5.0,)).verdict != "climbs"


def test_rungs_of_a_later_turn_are_counted_from_its_base():
    race = FrontRace(RULE)
    assert race.look("a", 130, 136, costs=(1.0,), base=128).seeds == 160


@given(
    counts=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=1, max_size=12),
)
def test_with_equal_costs_it_stops_as_the_plain_race_does(counts):
    plain, other = (
        Race(RaceRule((8, 61), finalists=None)),
        FrontRace(RaceRule((8, 61), finalists=None)),
    )
    for name, (solved, n) in enumerate(counts):
        k = min(solved, n)
        verdict = plain.look(name, k, n).verdict
        assert other.look(name, k, n, costs=(1.0,)).verdict == verdict
    assert other.proven == pytest.approx(plain.proven)


@given(
    looks=st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 80), st.integers(1, 80), st.sampled_from([1.0, 2.0])
        ),
        min_size=1,
        max_size=15,
    )
)
def test_whoever_is_stopped_has_a_bound_under_that_of_another_that_costs_no_more(looks):
    race, best = FrontRace(RULE), {}
    for name, solved, n, cost in looks:
        k = min(solved, n)
        number = race.enter(name)
        proven = max(best.get(name, (0.0, 0))[0], float(race_lower(k, n, number)))
        best[name] = proven, cost
        decision = race.look(name, k, n, costs=(cost,))
        rivals = [p for other, (p, c) in best.items() if other != name and c <= cost]
        upper = float(race_upper(k, n, number))
        assert (decision.verdict == "stopped") == any(upper < p - 1e-12 for p in rivals)
    assert race.proven == pytest.approx(max(p for p, _ in best.values()))


def test_one_on_the_front_is_seldom_stopped():
    """Ten sizes, each with two configs, the rate growing with size: all of the better are kept."""
    rates, wrong = np.linspace(0.5, 0.95, 10), 0
    for repetition in range(60):
        rng = np.random.default_rng(repetition)
        race = FrontRace(RaceRule((128,), alpha=0.05))
        solved = rng.random((10, 128)) < rates[:, None]
        for n in range(1, 128, 9):
            for size in range(10):
                decision = race.look(size, int(solved[size, :n].sum()), n, costs=(float(size),))
                wrong += decision.verdict == "stopped"
    assert wrong <= 60 * 0.05
