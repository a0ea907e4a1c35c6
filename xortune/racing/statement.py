"""What a search for the best success rate can say at its end: of its answer, and of its count.

    statement = statement_of(groups, Aim(epsilon=0.01, delta=0.1))
    statement.holds     # proven: nothing is better than the answer by more than epsilon
    statement.gap       # the smallest epsilon for which that is proven
    str(statement)      # what is proven, and what is believed, each called what it is

The answer is the configuration with the highest lower end of Wilson's interval.

**What is proven** holds for any rates. Let b be a configuration with the highest rate, and K the
number of configurations. The upper bound of b holds at all n with probability 1 - delta / 2, and
the lower bounds of all configurations together with probability 1 - delta / 2: a bound has the risk
delta / 2 `race_share(K)`. That is at most delta / 2 `race_share(i)` for the i-th configuration in
the order of first results, also while K grows, and these shares sum to delta / 2. If both hold, b
is not better than the answer by more than its upper bound minus the answer's lower bound, so not by
more than the *gap*: the highest upper bound of the others minus the answer's lower bound. Only one
upper bound has to hold, that of b, whichever it is; so rivals cost no share of delta. The bounds
are those of `stats.anytime`, so the gap holds at every moment of the search, for any choice of who
gets seeds. The outcomes of different configurations may depend on each other.

**What is believed** is the posterior probability that no other configuration's rate is more than
epsilon above the answer's: with the learned prior and with the flat one of `racing.posterior`, the
lower of the two. The learned prior believes too early where there are few configurations, the flat
one where there are many.

A search ends when its aim is proven, or when it is believed with probability 1 - delta / 2 and the
search has spent as many seeds as one configuration may get. docs/racing.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from xortune.core.formats import (
    count,
    interval,
    measured,
    number,
    roughly,
    rounded_down,
    rounded_up,
)
from xortune.core.outcome import wilson
from xortune.racing.posterior import (
    FLAT,
    Group,
    Posterior,
    beats,
    divergence,
    flat,
    learned,
    rates,
    up_to,
)
from xortune.racing.race import race_share
from xortune.stats.anytime import anytime_lower, anytime_upper
from xortune.stats.proportions import clopper_pearson_lower, clopper_pearson_upper

RIVALS_SHARE = 0.5
"""The share of delta of the upper bound of the best configuration; the rest is for lower bounds."""

POSTERIOR_SHARE = 0.5
"""The share of delta that the posterior may spend where it ends a search: the learned prior comes
from the same counts."""

LEAST_RATE = 1e-6
"""Rates from which another is told are at least as far from 0 and 1: no rate is beyond them."""

WINNERS_WEIGHT = 4.0
"""The weight of the flat prior, in configurations, in the prior that shrinks the winner's rate."""


LEAST_POINTS = 0.05
"""An optimism of fewer percentage points is not told."""


@dataclass(frozen=True)
class Aim:
    """What a search wants to say: its answer is within epsilon of the best, by 1 - delta.

    Attributes:
        epsilon: in success rates.
        delta: the greatest probability that it is wrong.
        least: seeds before a belief ends the search.
    """

    epsilon: float = 0.01
    delta: float = 0.1
    least: int = 0

    @property
    def enough(self) -> float:
        """The posterior probability that ends a search."""
        return 1 - POSTERIOR_SHARE * self.delta


@dataclass(frozen=True)
class Statement:
    """What a search can say of its answer.

    Attributes:
        epsilon: how much better than the answer no configuration of the search shall be.
        probability: with which that shall hold, 1 - delta.
        gap: proven with this probability, whatever the rates are: no configuration is better than
            the answer by more than the gap.
        belief: the posterior probability that none is better by more than epsilon.
        rivals: how many configurations have to be told from the answer before that is believed.
        gain: by how much the likeliest of them is expected to be better: E[max(p - q, 0)].
        seeds: about how many more seeds that would take.
    """

    epsilon: float
    probability: float
    gap: float
    belief: float
    rivals: int
    gain: float
    seeds: int

    @property
    def holds(self) -> bool:
        """Whether it is proven that no configuration is better by more than epsilon."""
        return self.gap <= self.epsilon

    @property
    def is_believed(self) -> bool:
        """Whether the posterior says so; no proof."""
        return self.rivals == 0

    @property
    def method(self) -> str:
        """Where what it says comes from, in a sentence."""
        proven = "What is proven follows from the counts alone, by bounds that hold at every look"
        if self.holds:
            return f"{proven}."
        return (
            f"{proven}; what is believed needs a prior, flat or learned from the counts of all "
            "configurations, whichever says less."
        )

    def __str__(self) -> str:
        shown = self.epsilon if self.holds else rounded_up(self.gap, 3)
        proven = (
            f"Proven, whatever the true rates are: with a probability of at least "
            f"{number(100 * self.probability)} %, no configuration of this search is better than "
            f"the best by more than {number(shown)}."
        )
        if self.holds:
            return proven
        if self.is_believed:
            posterior = number(100 * rounded_down(self.belief, 3))
            return (
                f"{proven} Believed, but not proven: none is better by more than "
                f"{number(self.epsilon)} (posterior probability {posterior} %)."
            )
        who = count(self.rivals, "configuration")
        its = "it" if self.rivals == 1 else "the likeliest"
        return (
            f"{proven} Not known: whether one is better by more than {number(self.epsilon)}. "
            f"{who} could be; {its} is expected to gain {number(self.gain)} (no gain where it is "
            f"not better), and about {roughly(self.seeds)} more "
            f"{'seed' if self.seeds == 1 else 'seeds'} would tell what to believe."
        )


def statement_of(groups: Sequence[Group], aim: Aim) -> Statement:
    """What can be said of the configuration with the highest lower end of Wilson's interval."""
    answer = _answer(groups)
    chances = [(_chance(groups, one, aim), one) for one in (learned(groups), flat(groups))]
    belief, posterior = min(chances, key=lambda of: of[0])
    said = aim.epsilon, 1 - aim.delta, gap_of(groups, aim.delta), belief
    allowed = 1 - aim.enough
    if belief >= aim.enough:
        return Statement(*said, 0, 0.0, 0)
    # The rivals: the likeliest to be better, so many that all others together are negligible.
    better = beats(posterior, answer, aim.epsilon)
    order = np.argsort(-better, kind="stable")
    members = np.array([group.members - (i == answer) for i, group in enumerate(groups)])
    remaining = better @ members
    each = allowed / members.sum()
    rivals, seeds, hardest = 0, 0.0, 0.0
    for i in order.tolist():
        if not members[i]:
            continue
        if remaining <= allowed / 2:
            break
        some = min(int(members[i]), math.ceil((remaining - allowed / 2) / better[i]))
        rivals, remaining = rivals + some, remaining - some * better[i]
        rival, own = min(posterior.means[[i, answer]]), posterior.means[answer]
        need = _seeds_to_tell(rival, own + aim.epsilon, each)
        seeds += some * max(need - groups[i].n, 0.0)
        hardest = max(hardest, _seeds_to_tell(own, rival - aim.epsilon, each))
    seeds += max(hardest - groups[answer].n, 0.0)
    first = next(i for i in order.tolist() if members[i])
    above = np.maximum(rates()[:, None] - rates(), 0.0)
    gain = float(posterior.beliefs[first] @ above @ posterior.beliefs[answer])
    return Statement(*said, max(rivals, 1), gain, max(math.ceil(seeds), 1))


def gap_of(groups: Sequence[Group], delta: float) -> float:
    """By how much another configuration is better than the answer at most, with 1 - delta.

    See the module for the proof. At least 0; of a single configuration 0.
    """
    answer = _answer(groups)
    risk = (1 - RIVALS_SHARE) * delta * float(race_share(sum(one.members for one in groups)))
    others = [one for i, one in enumerate(groups) if one.members > (i == answer)]
    highest = max((_upper(o.successes, o.n, RIVALS_SHARE * delta) for o in others), default=0.0)
    return max(0.0, highest - _lower(groups[answer].successes, groups[answer].n, risk))


def says_enough(groups: Sequence[Group], posterior: Posterior, aim: Aim) -> bool:
    """Whether a search without new configurations ends.

    Of a single configuration nothing is said: it gets all seeds if its first ones did not all fail.
    Where nothing succeeds nothing is said either, and the learned prior alone ends the search.

    Args:
        groups: all configurations.
        posterior: with the learned prior.
        aim: what the search wants to say.
    """
    if sum(group.members for group in groups) == 1:
        return groups[0].successes == 0
    is_believed = _chance(groups, posterior, aim) >= aim.enough
    if not any(group.successes for group in groups):
        return is_believed
    if is_believed and sum(group.n * group.members for group in groups) >= aim.least:
        return _chance(groups, flat(groups), aim) >= aim.enough
    return gap_of(groups, aim.delta) <= aim.epsilon


def _answer(groups: Sequence[Group]) -> int:
    counts = np.array([(group.successes, group.n) for group in groups])
    return int(wilson(counts[:, 0], counts[:, 1])[0].argmax())


def _chance(groups: Sequence[Group], posterior: Posterior, aim: Aim) -> float:
    """P(no other configuration's rate is more than epsilon above the answer's)."""
    answer = _answer(groups)
    others = np.array([group.members - (i == answer) for i, group in enumerate(groups)], np.float64)
    within = np.maximum(up_to(posterior, aim.epsilon), 1e-300)
    return float(posterior.beliefs[answer] @ np.exp(others @ np.log(within)))


def _seeds_to_tell(rate: float, other: float, risk: float) -> float:
    """ln(1/risk) / kl(rate, other), Chernoff's bound: how many tell a rate from another one."""
    other = min(max(other, LEAST_RATE), 1 - LEAST_RATE)
    return math.log(1 / risk) / max(float(divergence(rate, other)), 1e-9)


@lru_cache(maxsize=4096)
def _upper(successes: int, n: int, risk: float) -> float:
    return float(anytime_upper(successes, n, alpha=risk))


@lru_cache(maxsize=4096)
def _lower(successes: int, n: int, risk: float) -> float:
    return float(anytime_lower(successes, n, alpha=risk))


# -------------------------------------------------------------------------------------------------
# How optimistic the winner's count is.


@dataclass(frozen=True)
class Winner:
    """What the success rate of a winner may be, since it was chosen by its count.

    Attributes:
        rate: its count, shrunk towards the counts of the others: the posterior mean with a prior
            that is learned from all of them (Efron 2011, Tweedie's formula and selection bias,
            JASA 106, 1602-1614).
        low, high: an interval for the rate of the winner, whichever of the K configurations it is,
            with the confidence asked for: Clopper and Pearson's, whose lower end has the risk of
            one side divided by K (Bonferroni).
        optimism: the share of its seeds that succeeded, minus `rate`.
        chosen_from: K.
        confidence: of the interval.
    """

    rate: float
    low: float
    high: float
    optimism: float
    chosen_from: int
    confidence: float

    @property
    def points(self) -> str:
        """`optimism` in percentage points: `1.4 points`; empty where it is none."""
        shown = float(f"{100 * self.optimism:.2g}")
        unit = "point" if shown == 1 else "points"
        return f"{number(shown)} {unit}" if shown >= LEAST_POINTS else ""

    def __str__(self) -> str:
        chosen = f"It is the best of {count(self.chosen_from, 'configuration')} by its count"
        if self.points:
            shrunken = measured(self.rate, self.low, self.high)
            chosen += (
                f", which is optimistic by about {self.points}: shrunken towards the counts of the "
                f"others its rate is {shrunken}"
            )
        return (
            f"{chosen}. With {number(100 * self.confidence)} % confidence, whichever of them is "
            f"chosen, its rate is in {interval(self.low, self.high)}."
        )


def winner_of(groups: Sequence[Group], first: int, confidence: float = 0.95) -> Winner:
    """How optimistic the count of a winner is.

    Args:
        groups: all configurations.
        first: the index of the group that the winner is in.
        confidence: of the interval.
    """
    k, n = groups[first].successes, groups[first].n
    several = sum(group.members for group in groups)
    rate = float(learned(groups, FLAT, WINNERS_WEIGHT).means[first])
    risk = (1 - confidence) / 2
    low = float(clopper_pearson_lower(k, n, confidence=1 - risk / several))
    high = float(clopper_pearson_upper(k, n, confidence=1 - risk))
    return Winner(rate, low, high, k / n - rate, several, confidence)
