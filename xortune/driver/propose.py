"""Proposals: the space's grid, or an Optuna sampler that is told the results.

Every proposal gets a sampler seeded by the search's seed and the proposal's number alone, so that a
resumed search proposes what it would have proposed. The sampler reads an Optuna study: one in
memory, or one in a storage, through which several searches learn from each other.
"""

from __future__ import annotations

import math
import warnings
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from itertools import islice
from typing import TypeAlias, TypeGuard

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    TPESampler,
)
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from xortune.core.point import Point, Value
from xortune.driver.safeguard import ProposalKinds
from xortune.driver.shared_study import (
    PROPOSAL,
    RUN,
    SOLVED,
    SharedStudy,
    directions,
    open_study,
    storage_errors,
    trials_of_run,
)
from xortune.racing.gaussian_process import (
    FITTED_CONFIGS,
    KNOWN_CONFIGS,
    Floats,
    Kernel,
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
from xortune.racing.objectives import (
    SeedSummary,
    only_rate,
    sampler_values,
)
from xortune.spaces.grid import grid
from xortune.spaces.model import (
    Choice,
    Fixed,
    Objective,
    Parameter,
    Range,
    SearchSpace,
    Steps,
    equal_values,
    is_active,
    is_number,
)

LEARNING = ("auto", "tpe", "gp", "nsgaii", "cmaes")
"""Samplers whose proposals depend on earlier results."""

RANDOM_EVERY = 4
"""In a race, every fourth proposal of TPE or of a number's process is drawn from the whole space.
TPE alone settles where it first found something good, and in a race a look elsewhere costs a few
seeds; see benchmarks/README.md."""

STARTUP = 10
"""TPE draws from the whole space until this number of trials has ended: Optuna's default."""


Proposer: TypeAlias = "GridProposer | OptunaProposer | NumberProposer"
"""Proposes points by number, 0, 1, 2, ..., and learns from their results."""


def _unchanged(point: Point) -> Point:
    return point


def proposer_for(
    space: SearchSpace,
    earlier: Sequence[SearchSpace] = (),
    normal: Callable[[Point], Point] = _unchanged,
    shared: SharedStudy | None = None,
) -> Proposer:
    """The proposer for the space's sampler.

    Args:
        space: what is searched.
        earlier: the run's spaces before it was extended, the first one first; each contains those
            before it.
        normal: returns a point in its trainer's normal form, as it is replayed.
        shared: a study that other searches use too; None for one of its own.

    Raises:
        InputError: the storage fails, or the study is another space's.
    """
    sampler = space.search.sampler
    if sampler == "grid":
        return GridProposer(space, earlier)
    if sampler != "auto":
        return OptunaProposer(space, earlier, normal, shared)
    if shared is None and (number := learned_number(space)) is not None:
        return NumberProposer(space, number, earlier, normal)
    space = replace(space, search=replace(space.search, sampler="tpe"))
    guards = shared is None and only_rate(space.objectives)
    return OptunaProposer(space, earlier, normal, shared, guards=guards)


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


# -------------------------------------------------------------------------------------------------
# A space's parameters and points in Optuna's terms.


def distribution(parameter: Choice | Range) -> BaseDistribution:
    """Optuna's distribution of a parameter that is searched."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.integer:
        return IntDistribution(int(low), int(high), parameter.log, int(step or 1))
    return FloatDistribution(low, high, parameter.log, step)


def _point(space: SearchSpace, raw: Callable[[Choice | Range], Value]) -> Point:
    """The point of Optuna's values for the active parameters."""
    values: dict[str, Value] = {}
    for parameter in space.parameters:
        if not is_active(parameter, values):
            continue
        value = parameter.value if isinstance(parameter, Fixed) else raw(parameter)
        if _in_steps(parameter):
            # Optuna has 0.30000000000000004 where the grid, `start` and the user have 0.3.
            value = Steps(parameter)[_step(parameter, value)]
        values[parameter.name] = value
    return Point(values)


def _params(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Value]:
    """Optuna's values of the searched parameters of a point, to the bit."""
    active: dict[str, Value] = {}
    params: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.name not in point or not is_active(parameter, active):
            continue
        value = active[parameter.name] = point[parameter.name]
        if _in_steps(parameter):
            assert parameter.step is not None
            raw = parameter.low + _step(parameter, value) * parameter.step
            value = min(raw, float(parameter.high))
        if not isinstance(parameter, Fixed):
            params[parameter.name] = value
    return params


def ordered_values(parameter: Parameter) -> tuple[Value, ...] | None:
    """The values of a choice in ascending order, if they are three numbers or more; else None."""
    if not isinstance(parameter, Choice):
        return None
    numbers = sorted(filter(is_number, parameter.values))
    return tuple(numbers) if 2 < len(numbers) == len(parameter.values) else None


def _in_steps(parameter: Parameter) -> TypeGuard[Range]:
    return isinstance(parameter, Range) and parameter.step is not None and not parameter.integer


def _step(parameter: Range, value: Value) -> int:
    assert parameter.step is not None
    assert isinstance(value, int | float)
    return round((value - parameter.low) / parameter.step)


class Draw:
    """Draws the points that Optuna's random sampler draws, to the bit, without a study.

    A study reads all its trials at each ask, which takes hours for 100,000 of them; a sampler for
    each point takes three times as long as this.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._random = np.random.RandomState()  # as that sampler does

    def point(self, seed: int) -> Point:
        """The first point that a sampler of this seed draws."""
        self._random.seed(seed)
        return _point(self._space, self._drawn)

    def _drawn(self, parameter: Choice | Range) -> Value:
        if isinstance(parameter, Choice):
            if len(values := parameter.values) == 1:
                return values[0]
            return values[int(self._random.uniform(size=len(values)).argmax())]
        low, high = parameter.low, parameter.high
        step = int(parameter.step or 1) if parameter.integer else parameter.step
        if low == high or (step is not None and high - low < step):
            return low
        margin = 0.0 if step is None else step / 2  # both ends are as likely as what is between
        if parameter.log:
            value = self._random.uniform(math.log(low - margin), math.log(high + margin))
            value = math.exp(value)
        else:
            value = self._random.uniform(low - margin, high + margin)
        if parameter.integer and parameter.log:
            return int(min(max(round(value), low), high))
        if parameter.integer:
            assert step is not None
            return int(min(max(math.floor((value - low) / step + 0.5) * step + low, low), high))
        if step is not None:
            return float(min(max(round((value - low) / step) * step + low, low), high))
        return float(min(max(value, low), np.nextafter(high, high - 1)))


# -------------------------------------------------------------------------------------------------
# Optuna's samplers.


_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(
        n_startup_trials=STARTUP, multivariate=True, group=True, constant_liar=True, seed=seed
    ),
    "gp": lambda seed: GPSampler(seed=seed),
    "nsgaii": lambda seed: NSGAIISampler(seed=seed),
    "cmaes": lambda seed: CmaEsSampler(seed=seed),
}

_KEEPS_STATE = ("nsgaii", "cmaes")
"""Samplers that store their state in each trial, and continue from it."""


class OptunaProposer:
    """Optuna's ask and tell over the space, for its objectives.

    In an extended run the proposals of earlier spaces are entered as proposals of this one, which
    contains them. Points added to `start` get the next numbers.

    In a shared study the proposals also depend on the run, so that two searches with the same seed
    propose different points. A resumed search neither asks for a trial nor tells one again.

    Args:
        space: what is searched.
        earlier, normal, shared: see `proposer_for`.
        guards: whether a random proposal takes the place of the sampler's where the counts of
            random ones promise more; see `safeguard`.
        values_of: returns the values for the sampler, one for each objective.

    Raises:
        InputError: here and from its methods: the storage fails. Here, too: the study is another
            space's.
    """

    def __init__(
        self,
        space: SearchSpace,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = _unchanged,
        shared: SharedStudy | None = None,
        *,
        guards: bool = False,
        values_of: Callable[
            [Sequence[Objective], Point, SeedSummary], tuple[float, ...]
        ] = sampler_values,
    ) -> None:
        first = len(earlier[0].start) if earlier else len(space.start)
        self._start, self._added = space.start[:first], list(space.start[first:])
        self._normal, self._entered = normal, set[str]()
        self._space, self._shared, self._values_of = space, shared, values_of
        self._draw = Draw(space)
        self._kinds = ProposalKinds() if guards else None
        # TPE's own study has the place of a number in its list: close numbers are alike.
        self._orders: dict[str, tuple[Value, ...]] = {}
        if space.search.sampler == "tpe" and shared is None:
            orders = {one.name: ordered_values(one) for one in space.parameters}
            self._orders = {name: order for name, order in orders.items() if order is not None}
        self._ids: dict[int, int] = {}  # trials under way, by their number in the run
        self._before: dict[int, FrozenTrial] = {}  # trials of earlier sessions, by that number
        self._study: optuna.Study | None = None
        self._storage: BaseStorage = InMemoryStorage()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if shared is not None:
            with storage_errors(shared):
                self._study, self._storage = open_study(shared, space)
                self._before = trials_of_run(self._study, shared.run)
        elif space.search.sampler != "random":
            self._study = optuna.create_study(storage=self._storage, directions=directions(space))

    def propose(self, number: int) -> Point:
        """Ask the sampler, seeded for this number and told the results so far."""
        if number < len(self._start):
            self.replay(number, self._start[number])
            return self._start[number]
        while self._added:
            point = self._added.pop(0)
            if self._normal(point).key not in self._entered:
                self.replay(number, point)
                return point
        sampler = self._sampler(number)
        if sampler != "random" and self._kinds is not None:
            sampler = sampler if self._kinds.learned_are_worth_more else "random"
        with storage_errors(self._shared):
            if (before := self._before.pop(number, None)) is not None:
                self._ids[number] = self._id(before.number)
                return _point(self._space, lambda parameter: before.params[parameter.name])
            learned = None if sampler == "random" else self._ask(number, sampler)
            point = self._draw.point(self.seed(number)) if learned is None else learned
            if learned is None:
                self._enter(number, point)
        self._enter_kind(number, self._normal(point).key)
        return point

    def foresee(self, number: int) -> Point | None:
        """A proposal that depends on no results: of `start`, or drawn from the whole space."""
        if number < len(self._start):
            return self._start[number]
        if self._added or self._shared is not None:
            return None
        is_drawn = self._sampler(number) == "random"
        return self._draw.point(self.seed(number)) if is_drawn else None

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Learn all results of a configuration so far, which the study is not told."""
        if self._kinds is not None:
            self._kinds.see(point.key, seen.k, seen.n)

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known; samplers with state compute it again."""
        if self._added:
            self._entered.add(self._normal(Point(point)).key)
        self._enter_kind(number, Point(point).key)
        if self._study is None:
            return
        sampler = self._space.search.sampler
        with storage_errors(self._shared):
            if self._shared is None and sampler in _KEEPS_STATE:
                self._study.enqueue_trial(_params(self._space, point))
                self._ask(number, sampler)
            else:
                self._enter(number, point)

    def _enter_kind(self, number: int, key: str) -> None:
        """Say what a proposal was. A learned one that is the random one of its number is random."""
        if self._kinds is None or number < len(self._start):
            return
        drawn = self._normal(self._draw.point(self.seed(number)))
        self._kinds.enter(key, learned=drawn.key != key)

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Tell the study the `sampler_values` of a finished proposal, unless it has them."""
        if self._study is None:
            return
        trial_id = self._ids.pop(number)
        values = self._values_of(self._space.objectives, point, seen)
        with storage_errors(self._shared):
            trial = self._storage.get_trial(trial_id)
            if trial.state.is_finished():
                return
            if self._shared is not None:
                solved = f"{seen.k}/{seen.n}"
                self._storage.set_trial_user_attr(trial_id, SOLVED, solved)
            self._study.tell(trial.number, values, skip_if_finished=True)

    def seed(self, number: int) -> int:
        """The seed of the sampler for a proposal."""
        entropy = [self._space.search.seed, number]
        if self._shared is not None:
            entropy.append(int(self._shared.run, 16))
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _sampler(self, number: int) -> str:
        """The sampler for a proposal."""
        sampler, races = self._space.search.sampler, len(self._space.seeds.ladder) > 1
        first = number < STARTUP and self._shared is None
        elsewhere = first or (races and number % RANDOM_EVERY == 0)
        return "random" if sampler == "tpe" and elsewhere else sampler

    def _suggested(self, trial: optuna.Trial, parameter: Choice | Range) -> Value:
        if (order := self._orders.get(parameter.name)) is None:
            return _suggested(trial, parameter)
        return order[trial.suggest_int(parameter.name, 0, len(order) - 1)]

    def _ask(self, number: int, sampler: str) -> Point | None:
        """The sampler's proposal; None if it has none."""
        assert self._study is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._study.sampler = _SAMPLERS[sampler](self.seed(number))
            trial = self._study.ask()
            # Optuna computes it, and saves the sampler's state, when it is first read. A replay,
            # whose values are fixed, would never read it.
            assert trial.relative_params is not None
            point = _point(self._space, lambda parameter: self._suggested(trial, parameter))
        # TPE and GP store all sampled parameters for others to see while the trial runs. Remove
        # them: a replay does not know the inactive ones.
        self._ids[number] = here = self._id(trial.number)
        for name in list(self._storage.get_trial_system_attrs(here)):
            if "relative_params" in name:
                self._storage.set_trial_system_attr(here, name, "")
        if self._shared is not None:
            trial.set_user_attr(RUN, self._shared.run)
            trial.set_user_attr(PROPOSAL, number)
        return point

    def _enter(self, number: int, point: Mapping[str, Value]) -> None:
        """Make a trial of known values, if the study does not have it."""
        if self._study is None:
            return
        if (before := self._before.pop(number, None)) is not None:
            self._ids[number] = self._id(before.number)
            return
        params = {
            name: self._orders[name].index(value) if name in self._orders else value
            for name, value in _params(self._space, point).items()
        }
        searched = {p.name: p for p in self._space.parameters if not isinstance(p, Fixed)}
        attributes = self._shared and {RUN: self._shared.run, PROPOSAL: number}
        # Not enqueued, because another driver that asks first would get it.
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={
                name: IntDistribution(0, len(self._orders[name]) - 1)
                if name in self._orders
                else distribution(searched[name])
                for name in params
            },
            user_attrs=attributes or {},
        )
        self._ids[number] = self._storage.create_new_trial(self._study_id, template)

    @cached_property
    def _study_id(self) -> int:
        assert self._study is not None
        return self._storage.get_study_id_from_name(self._study.study_name)

    def _id(self, trial: int) -> int:
        """The storage's id of a trial of the study, by its number there."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial)


# -------------------------------------------------------------------------------------------------
# The number that a rule judges.


FITTED_EACH = 80
"""Up to this proposal the process is fitted for each; then for the first of 8, from twice this
number on for the first of 16, and so on."""


def fitted_at(number: int) -> int:
    """The proposal before which the process of a proposal was fitted."""
    block = 4 * 2 ** (number // FITTED_EACH).bit_length() if number >= FITTED_EACH else 1
    return number - number % block


class NumberProposer(OptunaProposer):
    """A Gaussian process of a number proposes, in turn with random proposals.

    The first `STARTUP` proposals and every fourth are random. The others are, too, while the counts
    of random proposals promise more, and where the process expects to gain too little.
    """

    def __init__(
        self,
        space: SearchSpace,
        number: LearnedNumber,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = _unchanged,
    ) -> None:
        drawn = replace(space, search=replace(space.search, sampler="random"))
        guards = number.objective is None  # else the counts are not what is searched for
        super().__init__(drawn, earlier, normal, guards=guards)
        self._number, self._axes = number, axes_of(space.parameters)
        self._taken = set[bytes]()
        self._rows: dict[str, int] = {}  # by key, the row of what was seen
        self._at = array("d")  # coordinates, one row after the other
        self._seen = tuple(array("d") for _ in fields(NumberSums))
        self._then: tuple[Floats, NumberSums] | None = None  # known when the process is fitted
        self._kernel: Kernel | None = None

    def propose(self, number: int) -> Point:
        """As `OptunaProposer.propose`."""
        self._keep(number)
        point = super().propose(number)
        self._taken.update(places(coordinates_of(self._axes, point)[None]))
        return point

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """As `OptunaProposer.replay`."""
        super().replay(number, point)
        self._keep(number)
        self._taken.update(places(coordinates_of(self._axes, point)[None]))

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Learn all results of a configuration so far."""
        super().see(point, seen)
        row = self._rows.setdefault(point.key, len(self._rows))
        if row == len(self._seen[0]):
            self._at.extend(coordinates_of(self._axes, point))
            for column in self._seen:
                column.append(0.0)
        for column, number in zip(self._seen, self._number.summary(seen), strict=True):
            column[row] = number

    def _sampler(self, number: int) -> str:
        return "random" if number < STARTUP or number % RANDOM_EVERY == 0 else "auto"

    def _ask(self, number: int, sampler: str) -> Point | None:  # noqa: ARG002
        if not self._rows:
            return None
        with one_thread():
            return self._modelled(number)

    def _keep(self, number: int) -> None:
        """Keep what is known, if the process of later proposals is fitted to it."""
        if fitted_at(number) == number:
            self._then, self._kernel = self._known(), None

    def _known(self) -> tuple[Floats, NumberSums]:
        at = np.array(self._at).reshape(-1, len(self._axes))
        return at, NumberSums(*map(np.array, self._seen))

    def _observed(self, at: Floats, numbers: NumberSums) -> Observed:
        return Observed(at, *distances(numbers, self._number.bar))

    def _modelled(self, number: int) -> Point | None:
        """The proposal of the process; None if it expects to gain too little."""
        if self._kernel is None:
            assert self._then is not None
            rng = np.random.default_rng(self.seed(fitted_at(number)))
            self._kernel = fitted(self._axes, self._observed(*self._then).part(FITTED_CONFIGS, rng))
        rng = np.random.default_rng(self.seed(number))
        known = self._observed(*self._known()).part(KNOWN_CONFIGS, rng)
        best = proposed(self._axes, self._kernel, known, self._taken, rng)
        if best is None:
            return None
        values = {
            axis.parameter.name: axis.value(coordinate)
            for axis, coordinate in zip(self._axes, best.tolist(), strict=True)
        }
        return _point(self._space, lambda one: values.get(one.name, _only(one)))


def _only(parameter: Choice | Range) -> Value:
    """The only value of a parameter that is no coordinate."""
    return parameter.values[0] if isinstance(parameter, Choice) else parameter.low


def _suggested(trial: optuna.Trial, parameter: Choice | Range) -> Value:
    name = parameter.name
    if isinstance(parameter, Choice):
        value: Value = trial.suggest_categorical(name, parameter.values)
        return equal_values(parameter, value)[0]  # a storage returns no `Nested`
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if parameter.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)
