"""Who climbs next, held against a rule as slow as it is plain."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.outcome import wilson
from xortune.racing.grants import NEGLIGIBLE_SPEED, Grants, seeds_at_first
from xortune.racing.race import RaceRule, race_lower, race_upper
from xortune.spaces.model import FIRST

TOP = 64


@cache
def low(k, n):
    return float(wilson(k, n)[0])


@cache
def proven(k, n, number, alpha):
    return float(race_lower(k, n, number, alpha=alpha))


@cache
def at_most(k, n, number, alpha):
    return float(race_upper(k, n, number, alpha=alpha))


class Plain:
    """All pairs, every time, by the words of the module."""

    def __init__(self, rule):
        self.rule = rule
        self.numbers, self.at, self.proven, self.out = {}, {}, {}, set()

    def see(self, name, k, n, speed):
        number = self.numbers.setdefault(name, len(self.numbers) + 1)
        self.at[name] = k, n, speed
        lower = proven(k, n, number, self.rule.alpha)
        self.proven[name] = max(self.proven.get(name, 0.0), lower)

    def value(self, name, last):
        k, n, speed = self.at[name]
        return 1 + speed if last and k == n else (k + 1 + speed) / (n + 2)

    def ahead(self, name):
        k, n, speed = self.at[name]
        hoped = (k + 1) / (n + 2)
        return [
            other
            for other, (k2, n2, speed2) in self.at.items()
            if other != name
            and low(k2, n2) >= hoped
            and (k < n or speed - speed2 <= NEGLIGIBLE_SPEED)
        ]

    def worse(self, name):
        k, n, _ = self.at[name]
        upper = at_most(k, n, self.numbers[name], self.rule.alpha)
        return any(upper < p for other, p in self.proven.items() if other != name)

    def next(self, busy, last):
        most = self.rule.finalists
        if last and most is not None and len(busy) >= most:
            return None
        may = [
            name
            for name, (k, n, _) in self.at.items()
            if k and n < self.rule.rungs[-1] and name not in busy and name not in self.out
        ]
        for name in sorted(may, key=lambda m: (-self.value(m, last), self.numbers[m])):
            if most is not None and len(self.ahead(name)) >= most:
                continue
            if not self.worse(name):
                return name
            self.out.add(name)
        return None


SEEN = st.tuples(
    st.integers(0, 11),  # who
    st.sampled_from([2, 4, 8, 16, 32, 64, 80]),  # seeds in all
    st.sampled_from([0, 0, 0, 0, 1, 2, 5, 30, 80]),  # failures
    st.sampled_from([0.2, 0.5, 0.503, 0.506, 0.7]),  # speed
)
ASKED = st.tuples(st.sets(st.integers(0, 11), max_size=4), st.booleans())


@given(
    st.lists(st.tuples(SEEN, ASKED), max_size=40),
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from([0.05, 0.9]),
)
@settings(max_examples=150)
def test_it_is_the_plain_rule(events, finalists, alpha):
    rule = RaceRule((2, 4, 8, 16, 32, TOP), alpha=alpha, finalists=finalists)
    grants, plain = Grants(rule), Plain(rule)
    for (name, n, failures, speed), (busy, last) in events:
        k = max(0, n - failures)
        grants.see(name, k, n, speed=speed)
        plain.see(name, k, n, speed)
        expected_next = plain.next(busy, last)
        assert grants.next(busy, last=last) == expected_next
        # All who would climb side by side, the first again and again with those before it busy.
        climbing = set(busy)
        while (name := grants.next(climbing, last=False)) is not None:
            assert name == plain.next(climbing, False)
            climbing.add(name)
        assert plain.next(climbing, False) is None
        assert grants.proven == pytest.approx(max(plain.proven.values()), abs=1e-12)


@pytest.mark.parametrize(
    ("rungs", "totals"),
    [
        *(((2, 4, 8, 16, 32), [2, 4, 8]), ((8, 32, 128), [8]), ((3, 5, 7, 9), [3, 5, 7])),
        *(((1, 2, 100), [1, 2]), ((4,), [4])),
    ],
)
def test_a_newcomer_gets_rungs_up_to_eight_while_it_does_not_fail(rungs, totals):
    found = [rungs[0]]
    while (following := seeds_at_first(rungs, found[-1], found[-1])) is not None:
        assert seeds_at_first(rungs, found[-1] - 1, found[-1]) is None
        found.append(following)
    assert found == totals
    assert found[-1] <= FIRST
