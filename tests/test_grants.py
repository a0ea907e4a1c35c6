"""Who gets seeds next, by rules as slow as they are plain, and who has little left to win."""

import math
from functools import cache
from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.core.outcome import SeedCount, wilson
from xortune.racing.front import front_race
from xortune.racing.grants import NEGLIGIBLE_SPEED, proof_race
from xortune.racing.plugged_in import FUTILITY, best_count, expected_gain, is_futile
from xortune.racing.race import RaceRule, race_lower, race_upper
from xortune.spaces.model import FLAWLESS_SEEDS


@cache
def low(k, n):
    return float(wilson(k, n)[0])


@cache
def bounds(k, n, number, alpha):
    return tuple(float(end(k, n, number, alpha=alpha)) for end in (race_lower, race_upper))


class Plain:
    """All pairs, every time, by the words of the module."""

    def __init__(self, rule):
        self.rule, self.at, self.proven, self.out = rule, {}, {}, set()

    def number(self, name):
        return list(self.at).index(name) + 1

    def see(self, name, k, n, more):
        self.at[name] = k, n, more
        lower, _ = bounds(k, n, self.number(name), self.rule.alpha)
        self.proven[name] = max(self.proven.get(name, 0.0), lower)

    def hoped(self, name):
        k, n, _ = self.at[name]
        return (k + 1) / (n + 2)

    def value(self, name, last):
        k, n, speed = self.at[name]
        return 1 + speed if last and k == n else (k + 1 + speed) / (n + 2)

    def rivals(self, name):
        return self.at.keys() - {name}

    def ahead(self, name):
        k, n, speed = self.at[name]
        return [
            other
            for other in self.rivals(name)
            if low(*self.at[other][:2]) >= self.hoped(name)
            and (k < n or speed - self.at[other][2] <= NEGLIGIBLE_SPEED)
        ]

    def worse(self, name):
        k, n, _ = self.at[name]
        _, upper = bounds(k, n, self.number(name), self.rule.alpha)
        return any(upper < self.proven[other] for other in self.rivals(name))

    def next(self, busy, last=False):
        most = math.inf if self.rule.finalists is None else self.rule.finalists
        if last and len(busy) >= most:
            return None
        for name in sorted(self.at, key=lambda m: (-self.value(m, last), self.number(m))):
            k, n, _ = self.at[name]
            if not k or n >= self.rule.rungs[-1] or name in busy or name in self.out:
                continue
            if len(self.ahead(name)) >= most:
                continue
            if not self.worse(name):
                return name
            self.out.add(name)
        return None


class PlainFront(Plain):
    """Only those that cost no more in anything count."""

    def value(self, name, last):  # noqa: ARG002
        return self.hoped(name)

    def rivals(self, name):
        costs = self.at[name][2]
        return {
            other
            for other in super().rivals(name)
            if all(a <= b for a, b in zip(self.at[other][2], costs, strict=True))
        }

    def ahead(self, name):
        return [r for r in self.rivals(name) if low(*self.at[r][:2]) >= self.hoped(name)]


def climbers(race, busy=()):
    """All who would climb side by side, the first of them first."""
    found = []
    while (name := race.next({*busy, *found})) is not None:
        found.append(name)
    return found


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
    rule = RaceRule((2, 4, 8, 16, 32, 64), alpha=alpha, finalists=finalists)
    grants, plain = proof_race(rule), Plain(rule)
    for (name, n, failures, speed), (busy, last) in events:
        k = max(0, n - failures)
        grants.see(name, k, n, speed=speed)
        plain.see(name, k, n, speed)
        expected = plain.next(busy, last)
        assert grants.next(busy, last=last) == expected
        assert climbers(grants, busy) == climbers(plain, busy)
        assert grants.proven == pytest.approx(max(plain.proven.values()), abs=1e-12)


COUNT = st.tuples(st.integers(0, 60), st.integers(1, 60)).map(lambda c: (min(c), c[1]))
COSTS = st.tuples(st.sampled_from([1.0, 2.0]), st.sampled_from([1.0, 3.0, math.inf]))
LOOK = st.tuples(st.integers(0, 7), COUNT, COSTS, st.sets(st.integers(0, 7), max_size=2))


@given(st.lists(LOOK, min_size=1, max_size=20), st.sampled_from([None, 1, 2]))
@settings(max_examples=30)
def test_a_front_is_the_plain_rule_among_those_of_no_higher_costs(looks, finalists):
    rule = RaceRule((8, 50), finalists=finalists)
    race, plain = front_race(rule, 2), PlainFront(rule)
    for name, (k, n), costs, busy in looks:
        race.see(name, k, n, costs=costs)
        plain.see(name, k, n, costs)
        assert climbers(race, busy) == climbers(plain, busy)
    assert race.proven == pytest.approx(max(plain.proven.values()))


@pytest.mark.parametrize(
    ("rungs", "totals"),
    [
        *(((2, 4, 8, 16, 32), [2, 4, 8]), ((8, 32, 128), [8]), ((3, 5, 7, 9), [3, 5, 7])),
        *(((1, 2, 100), [1, 2]), ((4,), [4])),
    ],
)
def test_a_newcomer_gets_rungs_up_to_eight_while_it_does_not_fail(rungs, totals):
    race, found = proof_race(RaceRule(rungs)), [rungs[0]]
    while race.continues(found[-1], found[-1]):
        assert not race.continues(found[-1] - 1, found[-1])
        found.append(next(rung for rung in rungs if rung > found[-1]))
    assert found == totals
    assert found[-1] <= FLAWLESS_SEEDS


# Trials that have little left to win.


def exact(k, n, bk, bn):
    """The integral of the two polynomials in x that these beta distributions have."""
    m, b = n + 1, bn + 1  # Pr(P > x): at most k of m below x; Pr(Q < x): more than bk of b
    return sum(
        math.comb(m, i) * math.comb(b, j) / ((m + b + 1) * math.comb(m + b, i + j))
        for i in range(k + 1)
        for j in range(bk + 1, b + 1)
    )


@pytest.mark.parametrize(
    "counts", [(0, 1, 1, 1), (1, 1, 60, 60), (6, 6, 60, 60), (3, 9, 200, 300), (0, 4, 5, 10)]
)
def test_the_expected_gain_is_the_integral(counts):
    assert expected_gain(*counts) == pytest.approx(exact(*counts), rel=1e-9)


def test_who_leads_is_never_futile():
    for other in (4_999, 5_000):  # two equal ones would stop each other
        assert not is_futile(SeedCount(5_000, 10_000), SeedCount(other, 10_000), 0.005)
    best = best_count([SeedCount(1, 1_000), SeedCount(5_000, 10_000), SeedCount(1, 2)])
    assert is_futile(SeedCount(4_999, 10_000), best, 0.005)
    assert not is_futile(SeedCount(0, 9), None, 0.005)
    assert not is_futile(SeedCount(0, 60), SeedCount(60, 60), None)


@pytest.mark.parametrize(("futility", "last"), [(FUTILITY, "STOP"), (None, "CONTINUE")])
def test_a_trial_is_stopped_when_it_has_little_to_win(futility, last):
    """Too early for a proof: of Ray, and of Optuna."""
    study = optuna.create_study(pruner=xt.SeedRacePruner(futility=futility))
    first, second = study.ask(), study.ask()
    first.report(20, step=20)
    second.report(1, step=4)
    assert not first.should_prune()
    assert second.should_prune() == (last == "STOP")
    scheduler = xt.SeedRaceScheduler(futility=futility)
    good, bad = (SimpleNamespace(trial_id=name, last_result=None) for name in ("good", "bad"))
    for trial in (good, bad):
        scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, good, {"successes": 20, "n": 20}) == "CONTINUE"
    assert scheduler.on_trial_result(None, bad, {"successes": 1, "n": 4}) == last


@pytest.mark.parametrize("plugin", [xt.SeedRacePruner, xt.SeedRaceScheduler])
@pytest.mark.parametrize("name", ["futility", "alpha"])
@pytest.mark.parametrize("value", [0, 1, -0.1])
def test_what_is_no_difference_of_rates_and_no_risk_is_refused(plugin, name, value):
    with pytest.raises(xt.InputError, match=name):
        plugin(**{name: value})
