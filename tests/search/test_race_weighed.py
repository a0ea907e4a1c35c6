"""Who gets seeds by what they are worth, held against sums over every way that they may end."""

from math import comb

import numpy as np
import pytest
from fakes import at, race_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.racing.grants import LOOKS, PRIOR_WEIGHT, RATES, Grants
from xortune.racing.grants import race_of as race_for
from xortune.racing.race import RaceRule
from xortune.spaces.model import rungs_up_to
from xortune.spaces.space import parse_space

RUNGS = rungs_up_to(64, 1)


def likelihood(k, n):
    return RATES**k * (1 - RATES) ** (n - k)


class Plain:
    """Each configuration by itself, every sum written out."""

    def __init__(self, rungs):
        self.rungs, self.at, self.prior = rungs, {}, np.full(len(RATES), 1 / len(RATES))

    def learn(self):
        for _ in range(2):
            total = np.full(len(RATES), PRIOR_WEIGHT / len(RATES))
            for k, n in self.at.values():
                total += self.prior * likelihood(k, n) / sum(self.prior * likelihood(k, n))
            self.prior = total / sum(total)

    def belief(self, k, n):
        return self.prior * likelihood(k, n) / sum(self.prior * likelihood(k, n))

    @staticmethod
    def worth(belief, step, gain):
        """The best mean gain for each seed, over all m from the step on."""
        found = 0.0
        for m in (m for m in LOOKS if m >= min(step, LOOKS[-1])):
            total = 0.0
            for j in range(m + 1):
                ends = belief * comb(m, j) * RATES**j * (1 - RATES) ** (m - j)
                total += max(0.0, float(sum(ends * gain)))
            found = max(found, total / m)
        return found

    def next(self, busy):
        if not self.at:
            return None
        self.learn()
        means = {name: float(sum(self.belief(*at) * RATES)) for name, at in self.at.items()}
        leader = max(means, key=means.__getitem__)
        second = max((m for name, m in means.items() if name != leader), default=0.0)
        worths = {None: self.worth(self.prior, self.rungs[0], RATES - means[leader])}
        for name, (k, n) in self.at.items():
            if name not in busy and n < self.rungs[-1]:
                gain = second - RATES if name == leader else RATES - means[leader]
                step = next(rung for rung in self.rungs if rung > n) - n
                worths[name] = self.worth(self.belief(k, n), step, gain)
        return worths


SEEN = st.tuples(st.integers(0, 5), st.sampled_from(RUNGS), st.integers(0, 4))


@given(
    st.lists(st.tuples(SEEN, st.sets(st.integers(0, 5), max_size=3)), min_size=1, max_size=8),
    st.sampled_from([RUNGS, (8, 32, 64)]),
)
@settings(max_examples=12)
def test_the_next_seeds_go_where_they_are_worth_most(events, rungs):
    grants, plain = Grants(RaceRule(rungs, alpha=1e-9), weighs=True), Plain(rungs)
    assert grants.next(()) is None, "somebody has to be first"
    for (name, n, failures), busy in events:
        k = max(0, n - failures)
        grants.see(name, k, n)
        plain.at.pop(name, None)
        plain.at[name] = k, n
        chosen, worths = grants.next(busy), plain.next(busy)
        assert worths[chosen] == pytest.approx(max(worths.values()), rel=1e-9, abs=1e-15)


def test_equals_with_one_count_come_in_their_turn_and_who_is_worse_is_out():
    grants = Grants(RaceRule(RUNGS, alpha=0.05), weighs=True)
    for name, speed in (("slow", 0.4), ("quick", 0.6)):
        grants.see(name, 4, 4, speed=speed)
    grants.see("never", 0, 8)
    first = grants.next(())
    assert {first, grants.next({first})} == {"slow", "quick"}
    grants.see("quick", 64, 64)
    assert grants.is_stopped("never")
    assert grants.next({"slow"}) in (None, "quick")


@pytest.mark.parametrize(
    ("more", "rungs", "weighs"),
    [
        ("", (1, 2, 4, 8), True),
        ("stop: {proven_rate: 0.2}", (2, 4, 8), False),
        ("objectives: [success_rate, width]", (2, 4, 8), False),
    ],
)
def test_seeds_are_weighed_where_the_best_rate_is_all_that_is_wanted(more, rungs, weighs):
    space = parse_space(
        "{name: x, epochs: 9, parameters: {width: {low: 2, high: 9}}, search: {trials: 3}, "
        f"seeds: {{race: {{max: 8}}}}, {more}}}"
    )
    assert space.seeds.ladder == rungs
    assert race_for(space).weighs is weighs


def test_a_search_finds_the_one_that_always_solves_in_few_seeds():
    rates = [*([0.0, 0.3, 0.1, 0.6, 0.2] * 8)[:37], 1.0, 0.9, 0.1]
    session, proposer = race_of(rates, window=1, workers=1, ladder=rungs_up_to(64, 1))
    told = {event[1]: event[2] for event in proposer.events if event[0] == "learn"}
    assert sorted(told) == list(range(40)), "the sampler hears of each"
    best = at(*rates)[37].key
    seeds = spent(session.evaluations)
    assert seeds[best] == 64
    before = [e for e in session.evaluations if e.proposal < 37]
    assert sum(e.block.count for e in before) < 37 * 4


def test_who_failed_its_first_seed_is_not_lost_once_the_last_one_is_proposed():
    rates = [0.4, 0.1, 0.3] * 4 + [0.9]  # spread evenly: each fails its first seed
    session, _ = race_of(rates, window=1, workers=1, ladder=rungs_up_to(64, 1))
    assert spent(session.evaluations)[at(*rates)[-1].key] == 64
