"""Proposals: the space's grid, random points, and those of a model that is told the results.

Each proposal depends on the search's seed, its number and the results told alone, so that a resumed
search proposes what it would have proposed.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from itertools import islice
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from xortune.core.errors import InputError
from xortune.core.point import Point, Value
from xortune.deciding.knowledge import OldProposals, TakenOver
from xortune.deciding.measured import Measured
from xortune.deciding.optuna_study import OptunaStudy, drawn, point_of, proposal_seed
from xortune.racing.gaussian_process import (
    FITTED_CONFIGS,
    KNOWN_CONFIGS,
    Coordinate,
    Floats,
    LearnedNumber,
    NumberSums,
    Observed,
    axes_of,
    coordinates_of,
    distances,
    fitted,
    learned_number,
    one_thread,
    places,
    proposed,
)
from xortune.racing.objectives import SeedSummary, only_rate, price_of_seed
from xortune.spaces.grid import budget, grid
from xortune.spaces.model import Choice, Range, SearchSpace, finite_values
from xortune.spaces.samplers import sampler_named

RANDOM_EVERY_OF_NUMBERS = 3
"""Every so many-th proposal is drawn from the whole space where a number's process proposes."""

OLD = 2**31
"""The number from which the draws of old configurations are seeded, where they lack a parameter."""

RANDOM_EVERY_OF_COUNTS = 2
"""The same where the counts guard the proposals of a race: solved or not says little."""

Proposer: TypeAlias = "GridProposer | PricedGridProposer | SampledProposer"
"""Proposes points by number, 0, 1, 2, ..., and learns from their results."""


def _unchanged(point: Point) -> Point:
    return point


def proposer_for(
    space: SearchSpace,
    earlier: Sequence[SearchSpace] = (),
    normal: Callable[[Point], Point] = _unchanged,
    taken: TakenOver | None = None,
) -> Proposer:
    """The proposer for the space's sampler.

    Args:
        space: what is searched.
        earlier: the run's spaces before it was extended, the first one first; each contains those
            before it.
        normal: returns a point in its trainer's normal form, as it is replayed.
        taken: what is taken over from another run.
    """
    sampler, races = sampler_named(space.search.sampler), len(space.seeds.ladder) > 1
    if sampler.walks and space.seeds.price is not None:
        return PricedGridProposer(space, earlier, normal)
    if sampler.walks:
        return GridProposer(space, earlier)
    model: Model | None = None
    number, guards = learned_number(space) if sampler.instead else None, False
    if number is not None:
        model, every = NumberModel(space, number), RANDOM_EVERY_OF_NUMBERS
        guards = number.objective is None  # else the counts are not what is searched for
    else:
        if sampler.instead is not None:
            guards = only_rate(space.objectives)
            space = replace(space, search=replace(space.search, sampler=sampler.instead))
            sampler = sampler_named(sampler.instead)
        model = None if sampler.make is None else OptunaStudy(space)
        every = (RANDOM_EVERY_OF_COUNTS if guards else sampler.random_every) if races else 0
    return SampledProposer(space, model, earlier, normal, taken=taken, guards=guards, every=every)


# -------------------------------------------------------------------------------------------------
# The grid.


class GridProposer:
    """Proposes `start`, then the other points of the space's grid.

    In an extended run those of each earlier space come first, so that a number stands for the same
    point as before.
    """

    def __init__(self, space: SearchSpace, earlier: Sequence[SearchSpace] = ()) -> None:
        self._points = _points([*earlier, space])
        self._proposed, self._foreseen = 0, deque[Point]()

    def propose(self, number: int) -> Point | None:  # noqa: ARG002
        """The next point of the grid."""
        self._proposed += 1
        return self._foreseen.popleft() if self._foreseen else next(self._points, None)

    def foresee(self, number: int) -> Point | None:
        """A later point of the grid."""
        index = number - self._proposed
        self._foreseen.extend(islice(self._points, max(0, index + 1 - len(self._foreseen))))
        return self._foreseen[index] if index < len(self._foreseen) else None

    def replay(self, number: int, point: Mapping[str, Value]) -> None:  # noqa: ARG002
        """Skip one point of the grid."""
        self.propose(number)

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Do nothing: the grid is fixed."""

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Do nothing: the grid is fixed."""


def _points(spaces: Sequence[SearchSpace]) -> Iterator[Point]:
    known: set[str] = set()  # keys of `start`, and of the points of earlier spaces
    for space in spaces:
        for point in space.start:
            if point.key not in known:
                known.add(point.key)
                yield point
        for point in grid(space):
            if known and point.key in known:
                continue
            if space is not spaces[-1]:
                known.add(point.key)
            yield point


WINDOW = 512
"""Of so many of the next points of a grid the cheapest is proposed."""


class PricedGridProposer:
    """Proposes `start`, then the points of a grid whose seeds have a price, the cheap ones first.

    A grid's own order may begin with all dear ones. Each of its points is proposed once, in
    whatever order; if the cheap ones come first, the best of them is known before the dear ones are
    paid for. A sampler that draws must not do so: it would hardly ever draw a dear one.

    Args:
        space: what is searched.
        earlier, normal: see `proposer_for`.
    """

    def __init__(
        self,
        space: SearchSpace,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = _unchanged,
    ) -> None:
        self._points, self._read = _points([*earlier, space]), 0
        self._ends = [budget(one) for one in (*earlier, space)]  # numbers from which a space grew
        self._normal, self._started = normal, len([*earlier, space][0].start)
        self._waiting: dict[str, tuple[Point, NDArray[np.intp]]] = {}  # by key, in the grid's order
        self._prices, self._measured = ExpectedPrices(space), Measured.of(space)

    def propose(self, number: int) -> Point | None:
        """The point of the next `WINDOW` that is expected to be the cheapest."""
        self._fill(number)
        if not self._waiting:
            return None
        cheapest = 0
        if number >= self._started:
            columns = np.array([columns for _, columns in self._waiting.values()])
            cheapest = int(self._prices.least(columns).argmin())
        key = next(islice(self._waiting, cheapest, None))
        return self._take(key)

    def foresee(self, number: int) -> None:
        """None: what comes next depends on prices that are not known yet."""

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Do not propose a point again."""
        self._fill(number)
        if (key := Point(point).key) in self._waiting:
            self._take(key)

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Do nothing: prices are seen."""

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Learn what a seed of a configuration costs."""
        assert self._measured.price is not None
        price = price_of_seed(self._measured.price, self._measured.names, seen)
        if price is not None:
            self._prices.see(point.key, price)

    def _fill(self, number: int) -> None:
        """Read on in the grid, but no further than the space that proposes this number."""
        end = next((end for end in self._ends if end > number), self._read)
        for point in islice(self._points, min(WINDOW - len(self._waiting), end - self._read)):
            self._read += 1
            key = point.key
            with suppress(InputError):  # raised when the search proposes it
                key = self._normal(point).key
            self._waiting[key] = point, self._prices.columns(point)

    def _take(self, key: str) -> Point:
        point, columns = self._waiting.pop(key)
        self._prices.enter(key, columns)
        return point


EFFECT = 1.0
"""Standard deviation of what a value of a parameter changes in log2(price), before any is seen."""

DEVIATION = 0.5
"""Standard deviation of log2(price) from the sum of these effects."""

MOST_VALUES = 32
"""Values of a parameter that have an effect of their own; of more, neighbours have the same."""


class ExpectedPrices:
    """What a seed of a configuration may cost, in the light of others: a sum of effects of values.

    Bayesian linear regression of log2(price), with known variances (Bishop 2006, Pattern
    Recognition and Machine Learning, 3.3), updated one configuration at a time. One that is in
    training counts with its expected price (the kriging believer; see `racing.grants`), so that one
    of another kind comes next.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._axes: list[tuple[Coordinate, int, int]] = []  # with the first column, and how many
        size = 1  # column 0 is common to all
        for axis in axes_of(space.parameters):
            values = min(len(finite_values(axis.parameter) or ()), MOST_VALUES)
            self._axes.append((axis, size, values))
            size += values
        # The last column is of no value: parameters that are not active.
        self._covariance = np.diag([100 * EFFECT**2, *[EFFECT**2] * (size - 1), 0.0])
        self._sums = np.zeros(size + 1)
        self._entered: dict[str, tuple[NDArray[np.intp], float]] = {}  # with log2(price)

    def columns(self, point: Mapping[str, Value]) -> NDArray[np.intp]:
        """Whole numbers, shape (1 + parameters,): the columns that are 1 for a configuration."""
        found = [0]
        for axis, first, values in self._axes:
            if axis.parameter.name not in point:
                found.append(len(self._sums) - 1)
                continue
            at = axis.coordinate(point[axis.parameter.name])
            place = round(at * (values - 1)) if axis.ordered else min(int(at), values - 1)
            found.append(first + place)
        return np.array(found)

    def enter(self, key: str, columns: NDArray[np.intp]) -> None:
        """Enter a configuration, of which the price is not known yet."""
        across = self._covariance[:, columns].sum(axis=1)
        across /= math.sqrt(DEVIATION**2 + across[columns].sum())
        expected = float(self._means()[columns].sum())
        self._covariance -= np.outer(across, across)
        self._sums[columns] += expected / DEVIATION**2
        self._entered[key] = columns, expected

    def see(self, key: str, price: float) -> None:
        """Learn the price of a configuration that was entered, in place of what was expected."""
        if (known := self._entered.get(key)) is None:
            return
        columns, before = known
        now = math.log2(price)
        self._sums[columns] += (now - before) / DEVIATION**2
        self._entered[key] = columns, now

    def least(self, columns: NDArray[np.intp]) -> Floats:
        """log2 of what configurations may cost at least: the mean less the standard deviation.

        Args:
            columns: of each configuration; shape (count, 1 + parameters).

        Returns:
            float64, shape (count,).
        """
        variances = self._covariance[columns[:, :, None], columns[:, None, :]].sum(axis=(1, 2))
        means = self._means()[columns].sum(axis=1)
        return np.asarray(means - np.sqrt(np.maximum(variances, 0.0)))

    def _means(self) -> Floats:
        return np.asarray(self._covariance @ self._sums)


# -------------------------------------------------------------------------------------------------
# Random points, and those of a model.


class Model(Protocol):
    """Proposes points by what it was told."""

    def ask(self, number: int) -> Point | None:
        """The proposal of a number; None if a random one is better."""

    def enter(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter the proposal of a number that was not asked for."""

    def avoid(self, point: Mapping[str, Value]) -> None:
        """Do not propose a point, of whose results the model is not told."""

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Learn the results of a finished proposal."""

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Learn all results of a configuration so far."""


class SampledProposer:
    """Proposes `start`, then points of a model in turn with random ones.

    In an extended run the proposals of earlier spaces are entered as proposals of this one, which
    contains them. Points added to `start` get the next numbers.

    Args:
        space: what is searched.
        model: proposes; None: all proposals are random.
        earlier, normal, taken: see `proposer_for`.
        every: every so many-th proposal is random, and the first ones, see `Sampler`; 0: no others.
        guards: whether a random proposal takes the place of the model's where the counts of
            random ones promise more; see `ProposalKinds`.
    """

    def __init__(
        self,
        space: SearchSpace,
        model: Model | None,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = _unchanged,
        *,
        taken: TakenOver | None = None,
        guards: bool = False,
        every: int = 0,
    ) -> None:
        first = len(earlier[0].start) if earlier else len(space.start)
        self._start, self._added = space.start[:first], list(space.start[first:])
        self._normal, self._entered = normal, set[str]()
        self._space, self._model = space, model
        self._startup, self._every = sampler_named(space.search.sampler).startup, every
        self._kinds = ProposalKinds() if guards else None
        common = () if taken is None else taken.points
        seeds = (proposal_seed(space, OLD + i) for i in range(len(common)))
        old = [drawn(space, *one) for one in zip(seeds, common, strict=True)]
        self._old = OldProposals(old, normal, len(self._start))

    def propose(self, number: int) -> Point:
        """The next point: of `start`, of the model, or drawn from the whole space."""
        if number < len(self._start):
            self.replay(number, self._start[number])
            return self._start[number]
        while self._added:
            point = self._added.pop(0)
            if self._normal(point).key not in self._entered:
                self.replay(number, point)
                return point
        if (old := self._old.at(number)) is not None:
            self.replay(number, old)
            return old
        number = self._old.own(number)
        guarded = self._kinds is not None and not self._kinds.learned_are_worth_more
        learned = None
        if self._model is not None and not guarded and not self._draws(number):
            learned = self._model.ask(number)
        point = self._drawn(number) if learned is None else learned
        if self._model is not None and learned is None:
            self._model.enter(number, point)
        self._enter_kind(number, self._normal(point).key)
        return point

    def foresee(self, number: int) -> Point | None:
        """A proposal that depends on no results: of `start`, or drawn from the whole space."""
        if number < len(self._start):
            return self._start[number]
        if self._added or self._old.are_left:
            return None
        own = self._old.own(number)
        return self._drawn(own) if self._draws(own) else None

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known."""
        if self._added:
            self._entered.add(self._normal(Point(point)).key)
        if self._old.enter(number, Point(point)):
            if self._model is not None:
                self._model.avoid(point)
            return
        self._enter_kind(self._old.own(number), Point(point).key)
        if self._model is not None:
            self._model.enter(self._old.own(number), point)

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Tell the model the results of a finished proposal, unless an old run made it."""
        if self._model is not None and point not in self._old:
            self._model.learn(self._old.own(number), point, seen)

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Tell the model and the safeguard all results of a configuration so far."""
        self._old.see(point, seen.k, seen.n)
        if self._kinds is not None:
            self._kinds.see(point.key, seen.k, seen.n)
        if self._model is not None and point not in self._old:
            self._model.see(point, seen)

    def _draws(self, number: int) -> bool:
        """Whether a proposal is drawn from the whole space, whatever the results."""
        if self._model is None or number < self._startup:
            return True
        return self._every > 0 and number % self._every == 0

    def _drawn(self, number: int) -> Point:
        return drawn(self._space, proposal_seed(self._space, number))

    def _enter_kind(self, number: int, key: str) -> None:
        """Say what a proposal was. A learned one that is the random one of its number is random."""
        if self._kinds is None or number < len(self._start):
            return
        self._kinds.enter(key, learned=self._normal(self._drawn(number)).key != key)


# -------------------------------------------------------------------------------------------------
# The safeguard of sampler auto: counts say whether learned proposals beat random ones.


RATES = expit(np.linspace(logit(0.003), logit(0.9995), 32))
"""The rates of a prior."""

KIND_PRIOR_WEIGHT = 4.0
"""The weight of a uniform distribution over `RATES` in a prior, in configurations."""

EXPECTATION_STEPS = 20
"""Steps of expectation maximisation."""


def first_seed_values(kinds: Sequence[Mapping[tuple[int, int], int]]) -> list[float]:
    """What a new configuration of each kind may gain over the best one known.

    Each kind has a prior of rates, fitted to its counts by expectation maximisation (Laird 1978,
    JASA 73, 805-811). The value is the mean of what a rate exceeds the best mean rate by.

    Args:
        kinds: for each kind the number of configurations by successes and seeds.
    """
    priors, best = [], 0.0
    for counts in kinds:
        prior = np.full(len(RATES), 1 / len(RATES))
        if counts:
            at, sizes = np.array(list(counts), np.float64), np.array(list(counts.values()))
            logs = at[:, :1] * np.log(RATES) + (at[:, 1:] - at[:, :1]) * np.log1p(-RATES)
            chances = np.exp(logs - logs.max(axis=1, keepdims=True))
            for _ in range(EXPECTATION_STEPS):
                beliefs = prior * chances
                shares = (sizes / beliefs.sum(axis=1)) @ beliefs
                prior = (KIND_PRIOR_WEIGHT / len(RATES) + shares) / (
                    KIND_PRIOR_WEIGHT + sizes.sum()
                )
            beliefs = prior * chances
            best = max(best, float((beliefs @ RATES / beliefs.sum(axis=1)).max()))
        priors.append(prior)
    return [float(prior @ np.maximum(RATES - best, 0.0)) for prior in priors]


class ProposalKinds:
    """Which configurations were drawn at random and which were learned, and their counts."""

    def __init__(self) -> None:
        self._learned: dict[str, bool] = {}  # by key
        self._counts: dict[str, tuple[int, int]] = {}  # by key
        self._groups: tuple[Counter[tuple[int, int]], ...] = (Counter(), Counter())

    def enter(self, key: str, *, learned: bool) -> None:
        """Enter a proposal; the first one of a configuration says what it is."""
        self._learned.setdefault(key, learned)

    def see(self, key: str, successes: int, n: int) -> None:
        """Replace the count of a configuration, if it was entered."""
        if (learned := self._learned.get(key)) is None:
            return
        group = self._groups[learned]
        if (before := self._counts.get(key)) is not None:
            group[before] -= 1
            if not group[before]:
                del group[before]
        self._counts[key] = successes, n
        group[successes, n] += 1

    @property
    def learned_are_worth_more(self) -> bool:
        """Whether a learned proposal's first seed is worth at least that of a random one."""
        random, learned = first_seed_values(self._groups)
        return learned >= random


# -------------------------------------------------------------------------------------------------
# The number that a rule judges, or that is the objective.


class NumberModel:
    """A Gaussian process of a number; see `racing.gaussian_process`.

    Args:
        space: what is searched; without conditions.
        number: what is learned.
    """

    def __init__(self, space: SearchSpace, number: LearnedNumber) -> None:
        self._space, self._number, self._axes = space, number, axes_of(space.parameters)
        self._taken = set[bytes]()
        self._rows: dict[str, int] = {}  # by key, the row of what was seen
        self._at = array("d")  # coordinates, one row after the other
        self._seen = tuple(array("d") for _ in fields(NumberSums))

    def ask(self, number: int) -> Point | None:
        """The proposal of the process; None if it expects to gain too little."""
        if not self._rows:
            return None
        with one_thread():
            point = self._modelled(number)
        if point is not None:
            self.avoid(point)
        return point

    def enter(self, number: int, point: Mapping[str, Value]) -> None:  # noqa: ARG002
        """Do not propose a point again."""
        self.avoid(point)

    def avoid(self, point: Mapping[str, Value]) -> None:
        """Do not propose a point."""
        self._taken.update(places(coordinates_of(self._axes, point)[None]))

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Do nothing: the process has seen all results."""

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Learn all results of a configuration so far."""
        row = self._rows.setdefault(point.key, len(self._rows))
        if row == len(self._seen[0]):
            self._at.extend(coordinates_of(self._axes, point))
            for column in self._seen:
                column.append(0.0)
        for column, number in zip(self._seen, self._number.summary(seen), strict=True):
            column[row] = number

    def _modelled(self, number: int) -> Point | None:
        rng = np.random.default_rng(proposal_seed(self._space, number))
        at = np.array(self._at).reshape(-1, len(self._axes))
        numbers = NumberSums(*map(np.array, self._seen))
        known = Observed(at, *distances(numbers, self._number.bar)).part(KNOWN_CONFIGS, rng)
        kernel = fitted(self._axes, known.part(FITTED_CONFIGS, rng))
        best = proposed(self._axes, kernel, known, self._taken, rng)
        if best is None:
            return None
        values = {
            axis.parameter.name: axis.value(coordinate)
            for axis, coordinate in zip(self._axes, best.tolist(), strict=True)
        }
        return point_of(self._space, lambda one: values.get(one.name, _only(one)))


def _only(parameter: Choice | Range) -> Value:
    """The only value of a parameter that is no coordinate."""
    return parameter.values[0] if isinstance(parameter, Choice) else parameter.low
