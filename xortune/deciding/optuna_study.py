"""Proposals by a sampler of Optuna, and a space's parameters and points in Optuna's terms.

A sampler reads a study in memory. Each proposal gets a sampler seeded by the search's seed and the
proposal's number alone, so that a resumed search proposes what it would have proposed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TypeGuard

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from xortune.core.point import Point, Value
from xortune.racing.objectives import SeedSummary, sampler_values
from xortune.spaces.model import (
    Choice,
    Fixed,
    Objective,
    Parameter,
    Range,
    SearchSpace,
    Steps,
    is_active,
    is_number,
)
from xortune.spaces.samplers import sampler_named

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
        return value
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if parameter.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


def drawn(
    space: SearchSpace, seed: int, known: Mapping[str, Value] = MappingProxyType({})
) -> Point:
    """The first point that Optuna's random sampler of this seed draws; but for values known.

    Without a study, which reads all its trials at each ask: hours for 100,000 of them.
    """
    sampler = RandomSampler(seed)

    def raw(parameter: Choice | Range) -> Value:
        name = parameter.name
        if name in known:
            return known[name]
        searched = distribution(parameter)
        if searched.single():
            return parameter.values[0] if isinstance(parameter, Choice) else parameter.low
        value: Value = sampler.sample_independent(*_nothing_known(), name, searched)
        return value

    return point_of(space, raw)


@cache
def _nothing_known() -> tuple[optuna.Study, optuna.trial.FrozenTrial]:
    """A study and a trial, which the random sampler does not look at."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(), create_trial(state=TrialState.RUNNING)


# -------------------------------------------------------------------------------------------------
# Optuna's samplers.


def proposal_seed(space: SearchSpace, number: int) -> int:
    """The seed for a proposal."""
    return int(np.random.SeedSequence([space.search.seed, number]).generate_state(1)[0])


def _directions(space: SearchSpace) -> list[StudyDirection]:
    """Of the objectives, in Optuna's terms."""
    maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    return [maximize if objective.maximize else minimize for objective in space.objectives]


class OptunaStudy:
    """Optuna's ask and tell over the space, for its objectives.

    Args:
        space: what is searched.
        values_of: returns the values for the sampler, one for each objective.
    """

    def __init__(
        self,
        space: SearchSpace,
        values_of: Callable[
            [Sequence[Objective], Point, SeedSummary], tuple[float, ...]
        ] = sampler_values,
    ) -> None:
        self._space, self._values_of = space, values_of
        self._sampler = sampler_named(space.search.sampler)
        # It is told the place of a number in its list: close numbers are alike.
        self._orders: dict[str, tuple[Value, ...]] = {}
        if self._sampler.ranks:
            orders = {one.name: ordered_values(one) for one in space.parameters}
            self._orders = {name: order for name, order in orders.items() if order is not None}
        self._ids: dict[int, int] = {}  # trials under way, by the proposal's number
        self._storage = InMemoryStorage()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(storage=self._storage, directions=_directions(space))
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)

    def ask(self, number: int) -> Point:
        """The sampler's proposal."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            assert self._sampler.make is not None
            seed = proposal_seed(self._space, number)
            seed = self._space.search.seed if self._sampler.is_sequence else seed
            self._study.sampler = self._sampler.make(seed)
            trial = self._study.ask()
            # Optuna computes it, and saves the sampler's state, when it is first read. A replay,
            # whose values are fixed, would never read it.
            assert trial.relative_params is not None
            point = point_of(self._space, lambda parameter: self._suggested(trial, parameter))
        # TPE and GP store all sampled parameters for others to see while the trial runs. Remove
        # them: a replay does not know the inactive ones.
        here = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)
        self._ids[number] = here
        for name in list(self._storage.get_trial_system_attrs(here)):
            if "relative_params" in name:
                self._storage.set_trial_system_attr(here, name, "")
        return point

    def enter(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known; samplers with state compute it again."""
        if self._sampler.keeps_state:
            self._study.enqueue_trial(params_of(self._space, point))
            self.ask(number)
            return
        params = {
            name: self._orders[name].index(value) if name in self._orders else value
            for name, value in params_of(self._space, point).items()
        }
        searched = {p.name: p for p in self._space.parameters if not isinstance(p, Fixed)}
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={
                name: IntDistribution(0, len(self._orders[name]) - 1)
                if name in self._orders
                else distribution(searched[name])
                for name in params
            },
        )
        self._ids[number] = self._storage.create_new_trial(self._study_id, template)

    def avoid(self, point: Mapping[str, Value]) -> None:
        """Do nothing: the study may propose a point again."""

    def learn(self, number: int, point: Point, seen: SeedSummary) -> None:
        """Tell the study the values of a finished proposal."""
        values = self._values_of(self._space.objectives, point, seen)
        trial = self._storage.get_trial(self._ids.pop(number))
        self._study.tell(trial.number, values)

    def see(self, point: Point, seen: SeedSummary) -> None:
        """Do nothing: the study is told of finished proposals."""

    def _suggested(self, trial: optuna.Trial, parameter: Choice | Range) -> Value:
        if (order := self._orders.get(parameter.name)) is None:
            return suggested(trial, parameter)
        return order[trial.suggest_int(parameter.name, 0, len(order) - 1)]
