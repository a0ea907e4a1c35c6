"""Proposals by a sampler of Optuna, and a space's parameters and points in Optuna's terms.

A sampler reads a study: one in memory, or one that several searches share. Each proposal gets a
sampler seeded by the search's seed and the proposal's number alone, so that a resumed search
proposes what it would have proposed.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Final, TypeGuard

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from xortune.core.point import Point, Value
from xortune.deciding.shared_study import (
    PROPOSAL,
    RUN,
    SOLVED,
    SharedStudy,
    directions,
    open_study,
    storage_errors,
    trials_of_run,
)
from xortune.racing.objectives import SeedSummary, sampler_values
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

STARTUP: Final = 10
"""TPE draws from the whole space until this number of trials has ended: Optuna's default."""


# -------------------------------------------------------------------------------------------------
# A space's parameters and points in Optuna's terms, and random points.


def distribution(parameter: Choice | Range) -> BaseDistribution:
    """Optuna's distribution of a parameter that is searched."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.integer:
        return IntDistribution(int(low), int(high), parameter.log, int(step or 1))
    return FloatDistribution(low, high, parameter.log, step)


def point_of(space: SearchSpace, raw: Callable[[Choice | Range], Value]) -> Point:
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


def params_of(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Value]:
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


def suggested(trial: optuna.Trial, parameter: Choice | Range) -> Value:
    """The value that a trial suggests."""
    name = parameter.name
    if isinstance(parameter, Choice):
        value: Value = trial.suggest_categorical(name, parameter.values)
        return equal_values(parameter, value)[0]  # a storage returns no `Nested`
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if parameter.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


class Draw:
    """Draws the points that Optuna's random sampler draws, to the bit, without a study.

    A study reads all its trials at each ask, which takes hours for 100,000 of them; a sampler for
    each point takes three times as long as this.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._random = np.random.RandomState()  # as that sampler does

    def point(self, seed: int, known: Mapping[str, Value] = MappingProxyType({})) -> Point:
        """The first point that a sampler of this seed draws; but for values that are known."""
        self._random.seed(seed)

        def raw(parameter: Choice | Range) -> Value:
            name = parameter.name
            return known[name] if name in known else self._drawn(parameter)

        return point_of(self._space, raw)

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


def proposal_seed(space: SearchSpace, number: int, shared: SharedStudy | None = None) -> int:
    """The seed for a proposal."""
    entropy = [space.search.seed, number]
    if shared is not None:
        entropy.append(int(shared.run, 16))
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


class OptunaStudy:
    """Optuna's ask and tell over the space, for its objectives.

    In a shared study the proposals also depend on the run, so that two searches with the same seed
    propose different points. A resumed search neither asks for a trial nor tells one again.

    Args:
        space: what is searched.
        shared: a study that other searches use too; None for one in memory.
        values_of: returns the values for the sampler, one for each objective.

    Raises:
        InputError: here and from its methods: the storage fails. Here, too: the study is another
            space's.
    """

    def __init__(
        self,
        space: SearchSpace,
        shared: SharedStudy | None = None,
        values_of: Callable[
            [Sequence[Objective], Point, SeedSummary], tuple[float, ...]
        ] = sampler_values,
    ) -> None:
        self._space, self._shared, self._values_of = space, shared, values_of
        # TPE's own study has the place of a number in its list: close numbers are alike.
        self._orders: dict[str, tuple[Value, ...]] = {}
        if space.search.sampler == "tpe" and shared is None:
            orders = {one.name: ordered_values(one) for one in space.parameters}
            self._orders = {name: order for name, order in orders.items() if order is not None}
        self._ids: dict[int, int] = {}  # trials under way, by their number in the run
        self._before: dict[int, FrozenTrial] = {}  # trials of earlier sessions, by that number
        self._storage: BaseStorage = InMemoryStorage()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if shared is None:
            self._study = optuna.create_study(storage=self._storage, directions=directions(space))
            return
        with storage_errors(shared):
            self._study, self._storage = open_study(shared, space)
            self._before = trials_of_run(self._study, shared.run)

    def ask(self, number: int) -> Point:
        """The sampler's proposal, or the one of this number in an earlier session."""
        with storage_errors(self._shared):
            if (before := self._before.pop(number, None)) is not None:
                self._ids[number] = self._id(before.number)
                return point_of(self._space, lambda parameter: before.params[parameter.name])
            return self._ask(number)

    def enter(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known; samplers with state compute it again."""
        with storage_errors(self._shared):
            if self._shared is None and self._space.search.sampler in _KEEPS_STATE:
                self._study.enqueue_trial(params_of(self._space, point))
                self._ask(number)
            else:
                self._enter(number, point)

    def avoid(self, point: Mapping[str, Value]) -> None:
        """Do nothing: the study may propose a point again."""

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Tell the study the values of a finished proposal, unless it has them."""
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

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Do nothing: the study is told of finished proposals."""

    def _suggested(self, trial: optuna.Trial, parameter: Choice | Range) -> Value:
        if (order := self._orders.get(parameter.name)) is None:
            return suggested(trial, parameter)
        return order[trial.suggest_int(parameter.name, 0, len(order) - 1)]

    def _ask(self, number: int) -> Point:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._study.sampler = _SAMPLERS[self._space.search.sampler](
                proposal_seed(self._space, number, self._shared)
            )
            trial = self._study.ask()
            # Optuna computes it, and saves the sampler's state, when it is first read. A replay,
            # whose values are fixed, would never read it.
            assert trial.relative_params is not None
            point = point_of(self._space, lambda parameter: self._suggested(trial, parameter))
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
        if (before := self._before.pop(number, None)) is not None:
            self._ids[number] = self._id(before.number)
            return
        params = {
            name: self._orders[name].index(value) if name in self._orders else value
            for name, value in params_of(self._space, point).items()
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
        return self._storage.get_study_id_from_name(self._study.study_name)

    def _id(self, trial: int) -> int:
        """The storage's id of a trial of the study, by its number there."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial)
