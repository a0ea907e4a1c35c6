"""The race for a front: who may still be on it is not stopped."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.outcome import wilson
from xortune.racing.grants import FrontGrants
from xortune.racing.race import RaceRule, race_lower, race_upper

COUNT = st.tuples(st.integers(0, 60), st.integers(1, 60)).map(lambda c: (min(c), c[1]))


class Plain:
    """All pairs, every time."""

    def __init__(self, rule):
        self.rule, self.at, self.proven, self.out = rule, {}, {}, set()

    def see(self, name, k, n, costs):
        before = self.proven.get(name, 0.0)
        self.at[name] = k, n, costs
        number = list(self.at).index(name) + 1
        self.proven[name] = max(before, float(race_lower(k, n, number)))

    def next(self, busy):
        def hoped(name):
            k, n, _ = self.at[name]
            return (k + 1) / (n + 2)

        for number, name in sorted(enumerate(self.at), key=lambda m: (-hoped(m[1]), m[0])):
            k, n, costs = self.at[name]
            if not k or n >= self.rule.rungs[-1] or name in self.out or name in busy:
                continue
            rivals = [
                other
                for other, (_, _, c) in self.at.items()
                if other != name and all(a <= b for a, b in zip(c, costs, strict=True))
            ]
            ahead = [r for r in rivals if float(wilson(*self.at[r][:2])[0]) >= hoped(name)]
            if self.rule.finalists is not None and len(ahead) >= self.rule.finalists:
                continue
            upper = float(race_upper(k, n, number + 1))
            if not any(upper < self.proven[r] for r in rivals):
                return name
            self.out.add(name)
        return None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7),
            COUNT,
            st.tuples(st.sampled_from([1.0, 2.0]), st.sampled_from([1.0, 3.0, math.inf])),
            st.sets(st.integers(0, 7), max_size=2),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([None, 1, 2]),
)
@settings(max_examples=30)
def test_it_is_the_plain_rule_and_whoever_is_out_is_worse_than_one_of_no_higher_costs(
    looks, finalists
):
    rule = RaceRule((8, 50), finalists=finalists)
    race, plain = FrontGrants(rule), Plain(rule)
    for name, (k, n), costs, away in looks:
        race.see(name, k, n, costs=costs)
        plain.see(name, k, n, costs)
        busy = set(away)
        while (found := race.next(busy)) is not None:
            assert found == plain.next(busy)
            busy.add(found)
        assert plain.next(busy) is None
    assert race.proven == pytest.approx(max(plain.proven.values()))


def climbers(race):
    """All who may climb, the first of them first."""
    found = []
    while (name := race.next(found)) is not None:
        found.append(name)
    return found


def test_a_worse_rate_is_stopped_only_for_one_that_costs_no_more():
    race = FrontGrants(RaceRule((8, 1024), finalists=None))
    race.see("large", 128, 128, costs=(20.0,))
    for name, cost in (("small", 3.0), ("as large", 20.0), ("larger", 21.0)):
        race.see(name, 16, 32, costs=(cost,))
    assert climbers(race) == ["large", "small"]
    race.see("smallest", 128, 128, costs=(2.0,))
    assert climbers(race) == ["large", "smallest"]
    race.see("small", 500, 516, costs=(1.0,))
    assert climbers(race) == ["large", "smallest"], "who is out is out for good"
