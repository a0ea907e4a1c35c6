"""Where configurations come from: Optuna's samplers, or the space's own grid.

Randomness is a function of the search's seed and the proposal's number alone: every proposal gets a
sampler seeded for it, so that a search that is resumed proposes what it would have proposed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from xortune.core.point import Point, Value
from xortune.racing.objectives import Seen, told
from xortune.spaces.grid import grid, grid_size
from xortune.spaces.model import (
    Choice,
    Fixed,
    Objective,
    Parameter,
    Range,
    SearchSpace,
    Steps,
    contains,
    is_active,
)

LEARNING = ("tpe", "gp", "nsgaii", "cmaes")
"""Samplers whose proposals depend on earlier results."""

ANYWHERE = 4
"""With TPE and a race, one of so many proposals is drawn from the whole space. Left to itself TPE
settles where it first found something good, and where configs race, a look elsewhere costs a few
seeds; see benchmarks/README.md."""

Distribution: TypeAlias = CategoricalDistribution | FloatDistribution | IntDistribution

_KEEPS_STATE = ("nsgaii", "cmaes")
"""Samplers that note in each trial what they have computed, and go on from there."""


def budget(space: SearchSpace) -> int:
    """How many proposals the search makes in all."""
    if space.search.trials is not None:
        return space.search.trials
    size = grid_size(space)
    if not space.start:
        return size
    keys = {point.key for point in space.start}
    return size + len(keys - {point.key for point in grid(space)})


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


def proposer_for(
    space: SearchSpace,
    earlier: Sequence[SearchSpace] = (),
    normal: Callable[[Point], Point] = lambda point: point,
) -> Proposer:
    """The proposer that the space's sampler names.

    Args:
        space: what is searched.
        earlier: what was searched before the run was extended, the first space first; each holds
            all that the ones before it hold.
        normal: the point as it is replayed, in its trainer's normal form.
    """
    if space.search.sampler == "grid":
        return GridProposer(space, earlier)
    if space.search.sampler == "random":
        return RandomProposer(space, earlier=earlier, normal=normal)
    return OptunaProposer(space, earlier=earlier, normal=normal)


class GridProposer:
    """`start`, then every point of the space's grid that is not among them.

    Of a run that was extended, that of each earlier space comes first: so a number stands for the
    same point as before.
    """

    def __init__(self, space: SearchSpace, earlier: Sequence[SearchSpace] = ()) -> None:
        self._points = _points([*earlier, space])

    def propose(self, number: int) -> Point | None:  # noqa: ARG002  # the order is the space's own
        """The next point of the grid."""
        return next(self._points, None)

    def replay(self, number: int, point: Mapping[str, Value]) -> None:  # noqa: ARG002
        """Pass over one point of the grid."""
        next(self._points, None)

    def learn(self, number: int, seen: Seen) -> None:
        """A grid learns nothing."""


def _points(spaces: Sequence[SearchSpace]) -> Iterator[Point]:
    started: set[str] = set()
    for index, space in enumerate(spaces):
        before = spaces[:index]
        for point in space.start:
            if point.key not in started and not any(_in_grid(point, one) for one in before):
                started.add(point.key)
                yield point
        for point in grid(space):
            if started and point.key in started:
                continue
            if not any(_in_grid(point, one) for one in before):
                yield point


def _in_grid(point: Point, space: SearchSpace) -> bool:
    """Whether a point of the grid of an extended space was one of the earlier space's too."""
    for parameter in space.parameters:
        if parameter.name not in point:
            continue
        value = point[parameter.name]
        match parameter:
            case Fixed():
                inside = contains((parameter.value,), value)
            case Choice():
                inside = contains(parameter.values, value)
            case Range():  # of the same step, or it would be no extension
                assert isinstance(value, int | float)
                inside = parameter.low <= value <= parameter.high
        if not inside:
            return False
    return True


class OptunaProposer:
    """Optuna's ask and tell over the space, for its objectives.

    Of a run that was extended, all that was proposed in an earlier space is entered as a proposal
    in this one, where it lies too. What was added to `start` takes the numbers that come next.

    Args:
        space: what is searched.
        told: the numbers for a config, one for each of the space's objectives.
        earlier: what was searched before the run was extended; see `proposer_for`.
        normal: the point as it is replayed.
    """

    def __init__(
        self,
        space: SearchSpace,
        told: Callable[[Sequence[Objective], Seen], tuple[float, ...]] = told,
        *,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = lambda point: point,
    ) -> None:
        first = len(earlier[0].start) if earlier else len(space.start)
        self._start, self._added = space.start[:first], list(space.start[first:])
        self._normal, self._seen = normal, set[str]()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._numbers = space, told
        self._study = optuna.create_study(
            directions=["maximize" if o.maximize else "minimize" for o in space.objectives]
        )
        self._trials: dict[int, optuna.Trial] = {}

    def propose(self, number: int) -> Point:
        """What the sampler, seeded for this number, makes of the results told so far."""
        if number < len(self._start):
            self.replay(number, self._start[number])
            return self._start[number]
        while self._added:
            point = self._added.pop(0)
            if self._normal(point).key not in self._seen:
                self.replay(number, point)
                return point
        sampler = self._space.search.sampler
        if sampler == "tpe" and len(self._space.seeds.ladder) > 1 and number % ANYWHERE == 0:
            sampler = "random"
        return self._ask(number, sampler)

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known; the sampler may take notes, not decide."""
        if self._added:
            self._seen.add(self._normal(Point(point)).key)
        sampler = self._space.search.sampler
        searched = {p.name: p for p in self._space.parameters if not isinstance(p, Fixed)}
        self._study.enqueue_trial(
            {n: as_proposed(searched[n], value) for n, value in point.items() if n in searched}
        )
        self._ask(number, sampler if sampler in _KEEPS_STATE else "random")

    def learn(self, number: int, seen: Seen) -> None:
        """Tell Optuna how good a finished proposal is."""
        self._study.tell(self._trials.pop(number), self._numbers(self._space.objectives, seen))

    def seed(self, number: int) -> int:
        """Of the sampler that makes a proposal."""
        return _seed_for(self._space.search.seed, number)

    def _ask(self, number: int, sampler: str) -> Point:
        with warnings.catch_warnings():  # that they are experimental is our choice, not news
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = _SAMPLERS[sampler](self.seed(number))
            trial = self._study.ask()
            # Computed when asked for, with the sampler's notes; on a replay nobody else asks.
            assert trial.relative_params is not None
            point = suggested(self._space, trial)
        self._forget_inactive(trial)
        self._trials[number] = trial
        return point

    def _forget_inactive(self, trial: optuna.Trial) -> None:
        """Take what was sampled for parameters that are not active out of the sampler's notes.

        TPE and GP note what they sampled for others to see while the trial runs. A parameter whose
        condition does not hold is no part of the proposal, and nobody could replay it.
        """
        storage = self._study._storage
        for name in list(storage.get_trial_system_attrs(trial._trial_id)):
            if "relative_params" in name:
                storage.set_trial_system_attr(trial._trial_id, name, "")


class RandomProposer(OptunaProposer):
    """What Optuna's random sampler says, without a study: nothing is learnt, so nothing is kept.

    A study looks at all its trials whenever it is asked, which takes hours over 100,000 of them.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = lambda point: point,
    ) -> None:
        super().__init__(space, earlier=earlier, normal=normal)
        self._draw = Draw(space)

    def replay(self, number: int, point: Mapping[str, Value]) -> None:  # noqa: ARG002
        """Nothing follows from it but that a point added to `start` was proposed."""
        if self._added:
            self._seen.add(self._normal(Point(point)).key)

    def learn(self, number: int, seen: Seen) -> None:
        """A random search learns nothing."""

    def _ask(self, number: int, sampler: str) -> Point:  # noqa: ARG002  # there is only one
        return self._draw.point(self.seed(number))


class Draw:
    """Points as Optuna's random sampler draws them, to the bit, without a study or a trial.

    A sampler that is made anew for each point takes several times as long.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._random = np.random.RandomState()  # what that sampler uses
        self._known: dict[str, tuple[Distribution, _SearchSpaceTransform]] = {}

    def point(self, seed: int) -> Point:
        """What a sampler of that seed draws first."""
        self._random.seed(seed)
        return suggested(self._space, self)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As a trial does."""
        if len(choices) == 1:
            return choices[0]
        return self._drawn(name, lambda: CategoricalDistribution(choices))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """As a trial does."""
        return int(self._drawn(name, lambda: IntDistribution(low, high, log=log, step=step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """As a trial does."""
        return float(self._drawn(name, lambda: FloatDistribution(low, high, log=log, step=step)))

    def _drawn(self, name: str, made: Callable[[], Distribution]) -> Any:
        if name not in self._known:
            one = made()
            self._known[name] = one, _SearchSpaceTransform({name: one})
        distribution, transform = self._known[name]
        if not isinstance(distribution, CategoricalDistribution) and distribution.single():
            return distribution.low  # nothing is drawn
        bounds = transform.bounds
        return transform.untransform(self._random.uniform(bounds[:, 0], bounds[:, 1]))[name]


def suggested(space: SearchSpace, trial: optuna.Trial | FrozenTrial | Draw) -> Point:
    """The values that a trial suggests for the parameters that are active."""
    values: dict[str, Value] = {}
    for parameter in space.parameters:
        if is_active(parameter, values):
            values[parameter.name] = _suggest(trial, parameter)
    return Point(values)


def _suggest(trial: optuna.Trial | FrozenTrial | Draw, parameter: Parameter) -> Value:
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


def as_proposed(parameter: Choice | Range, value: Value) -> Value:
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
