"""Where configurations come from: Optuna's samplers, or the space's own grid.

Randomness is a function of the search's seed and the proposal's number alone: every proposal gets a
sampler seeded for it, so that a search that is resumed proposes what it would have proposed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from xortune.objective import Seen, told
from xortune.point import Point, Value
from xortune.space import Choice, Fixed, Parameter, Range, SearchSpace, grid, is_active
from xortune.space_model import Objective, Steps

__all__ = ["LEARNING", "GridProposer", "OptunaProposer", "Proposer", "proposer_for"]

LEARNING = ("tpe", "gp", "nsgaii", "cmaes")
"""Samplers whose proposals depend on earlier results."""

_KEEPS_STATE = ("nsgaii", "cmaes")
"""Samplers that note in each trial what they have computed, and go on from there."""


class Proposer(Protocol):
    """Proposes points by number, 0, 1, 2, ..., and learns how earlier ones did."""

    def propose(self, number: int) -> Point | None:
        """The raw values of proposal `number`; None when there are no more."""
        ...

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Take proposal `number` as made already, with these values."""
        ...

    def learn(self, number: int, seen: Seen) -> None:
        """What was seen of proposal `number`, in all its turns so far."""
        ...


def proposer_for(space: SearchSpace) -> Proposer:
    """The proposer that the space's sampler names."""
    return GridProposer(space) if space.search.sampler == "grid" else OptunaProposer(space)


class GridProposer:
    """`start`, then every point of the space's grid that is not among them."""

    def __init__(self, space: SearchSpace) -> None:
        self._points = _with_start(space)

    def propose(self, number: int) -> Point | None:  # noqa: ARG002  # the order is the space's own
        """The next point of the grid."""
        return next(self._points, None)

    def replay(self, number: int, point: Mapping[str, Value]) -> None:  # noqa: ARG002
        """Pass over one point of the grid."""
        next(self._points, None)

    def learn(self, number: int, seen: Seen) -> None:
        """A grid learns nothing."""


def _with_start(space: SearchSpace) -> Iterator[Point]:
    yield from space.start
    if not space.start:
        yield from grid(space)
        return
    first = {point.key for point in space.start}
    yield from (point for point in grid(space) if point.key not in first)


class OptunaProposer:
    """Optuna's ask and tell over the space, for its objectives.

    Args:
        space: what is searched.
        told: the numbers for a config, one for each of the space's objectives.
    """

    def __init__(
        self,
        space: SearchSpace,
        told: Callable[[Sequence[Objective], Seen], tuple[float, ...]] = told,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._numbers = space, told
        self._study = optuna.create_study(
            directions=["maximize" if o.maximize else "minimize" for o in space.objectives]
        )
        self._trials: dict[int, optuna.Trial] = {}

    def propose(self, number: int) -> Point:
        """What the sampler, seeded for this number, makes of the results told so far."""
        if number < len(self._space.start):
            self.replay(number, self._space.start[number])
            return self._space.start[number]
        return self._ask(number, self._space.search.sampler)

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known; the sampler may take notes, not decide."""
        sampler = self._space.search.sampler
        searched = {p.name: p for p in self._space.parameters if not isinstance(p, Fixed)}
        self._study.enqueue_trial(
            {n: _as_proposed(searched[n], value) for n, value in point.items() if n in searched}
        )
        self._ask(number, sampler if sampler in _KEEPS_STATE else "random")

    def learn(self, number: int, seen: Seen) -> None:
        """Tell Optuna how good a finished proposal is."""
        self._study.tell(self._trials.pop(number), self._numbers(self._space.objectives, seen))

    def _ask(self, number: int, sampler: str) -> Point:
        values: dict[str, Value] = {}
        with warnings.catch_warnings():  # that they are experimental is our choice, not news
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = _SAMPLERS[sampler](_seed_for(self._space.search.seed, number))
            trial = self._study.ask()
            # Computed when asked for, with the sampler's notes; on a replay nobody else asks.
            assert trial.relative_params is not None
            for parameter in self._space.parameters:
                if is_active(parameter, values):
                    values[parameter.name] = _suggest(trial, parameter)
        self._forget_inactive(trial)
        self._trials[number] = trial
        return Point(values)

    def _forget_inactive(self, trial: optuna.Trial) -> None:
        """Take what was sampled for parameters that are not active out of the sampler's notes.

        TPE and GP note what they sampled for others to see while the trial runs. A parameter whose
        condition does not hold is no part of the proposal, and nobody could replay it.
        """
        storage = self._study._storage
        for name in list(storage.get_trial_system_attrs(trial._trial_id)):
            if "relative_params" in name:
                storage.set_trial_system_attr(trial._trial_id, name, "")


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Value:
    match parameter:
        case Fixed():
            return parameter.value
        case Choice():
            value: Value = trial.suggest_categorical(parameter.name, parameter.values)
            return value
        case Range(integer=True):
            low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
            return trial.suggest_int(parameter.name, low, high, step=step, log=parameter.log)
        case Range():
            number = trial.suggest_float(
                parameter.name,
                float(parameter.low),
                float(parameter.high),
                step=parameter.step,
                log=parameter.log,
            )
            # Optuna says 0.30000000000000004 where the grid, `start` and the user say 0.3.
            return number if parameter.step is None else Steps(parameter)[_step(parameter, number)]


def _as_proposed(parameter: Choice | Range, value: Value) -> Value:
    """What Optuna's samplers say for a value: exactly that, for a replay to be exact."""
    if isinstance(parameter, Range) and parameter.step is not None and not parameter.integer:
        assert isinstance(value, int | float)
        raw = parameter.low + _step(parameter, value) * parameter.step
        return min(raw, float(parameter.high))
    return value


def _step(parameter: Range, value: float) -> int:
    assert parameter.step is not None
    return round((value - parameter.low) / parameter.step)


def _seed_for(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _tpe(seed: int) -> BaseSampler:
    # group: parameters under a condition are modelled together with those they occur with.
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
    "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
}
