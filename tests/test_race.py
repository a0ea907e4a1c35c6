import importlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.racing.race import (
    Race,
    RaceRule,
    best_lower,
    is_worse,
    race_lower,
    race_share,
    race_upper,
)


@pytest.fixture(scope="module")
def errors():
    """The simulator of benchmarks/race_errors.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        return importlib.import_module("race_errors")


@pytest.fixture(scope="module")
def bounds(errors):
    """Those of six configs up to 150 seeds take seconds to compute."""
    return errors.race_bounds(6, 150)


@pytest.mark.parametrize(
    ("rates", "shared"),
    [
        *(([0.5] * 6, False), ([0.02] * 6, False), ([0.98] * 6, False)),
        *(([0.5] * 5 + [0.52], False), ([0.6] + [0.5] * 5, False), ([0.88] * 5 + [0.98], False)),
        ([0.5] * 5 + [0.52], True),
    ],
)
def test_looked_at_after_every_seed_a_race_is_wrong_as_rarely_as_it_says(
    errors, bounds, rates, shared
):
    found = errors.simulate(rates, bounds, races=600, shared=shared)
    assert found.best <= found.any <= 0.05


def test_fixed_n_intervals_in_the_same_races_fail(errors):
    bounds = errors.wilson_bounds(6, 150)
    assert errors.simulate([0.5] * 6, bounds, races=600).best > 0.4
    assert errors.simulate([0.5] * 5 + [0.52], bounds, races=600).best > 0.1


def test_a_race_saves_seeds_where_there_is_a_difference(errors, bounds):
    assert errors.simulate([1.0] + [0.4] * 5, bounds, races=100).seeds < 0.45
    assert errors.simulate([1.0] * 6, bounds, races=100).seeds == 1.0


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


LOOKS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 12), st.sampled_from([0.0, 0.3, 0.9, 1.0])),
    max_size=60,
)


@given(LOOKS, st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5, 0.9]))
@settings(max_examples=60)
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
