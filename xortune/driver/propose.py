"""Where configurations come from: the space's grid, or an Optuna sampler that is told how they did.

Randomness is a function of the search's seed and the proposal's number alone: every proposal gets a
sampler seeded for it, so that a search that is resumed proposes what it would have proposed. The
sampler looks at an Optuna study: one of the search's own, in memory, or one in a storage, in which
several searches take part and so learn from each other.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import sys
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
import optuna
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from xortune.core.errors import InputError, worded
from xortune.core.files import without_password
from xortune.core.point import Point, Value
from xortune.racing.objectives import Seen, names_told, told
from xortune.runs.manifest import MANIFEST, manifest_of, update_manifest
from xortune.runs.run import holds_run
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
    equal_values,
    is_active,
)

LEARNING = ("tpe", "gp", "nsgaii", "cmaes")
"""Samplers whose proposals depend on earlier results."""

ANYWHERE = 4
"""With TPE and a race, one of so many proposals is drawn from the whole space. Left to itself TPE
settles where it first found something good, and where configs race, a look elsewhere costs a few
seeds; see benchmarks/README.md."""

STARTUP = 10
"""With TPE, proposals are drawn from the whole space until so many have ended: Optuna's default."""


class Proposer(Protocol):
    """Proposes points by number, 0, 1, 2, ..., and learns how earlier ones did."""

    def propose(self, number: int) -> Point | None:
        """The raw values of proposal `number`; None when there are no more."""

    def foresee(self, number: int) -> Point | None:
        """What a later proposal will be; None if that is not known, or not yet."""

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Take proposal `number` as made already, with these values."""

    def learn(self, number: int, seen: Seen) -> None:
        """What was seen of proposal `number`, in all its turns so far."""


def _as_it_is(point: Point) -> Point:
    return point


def proposer_for(
    space: SearchSpace,
    earlier: Sequence[SearchSpace] = (),
    normal: Callable[[Point], Point] = _as_it_is,
    shared: SharedStudy | None = None,
) -> Proposer:
    """The proposer that the space's sampler names.

    Args:
        space: what is searched.
        earlier: what was searched before the run was extended, the first space first; each holds
            all that the ones before it hold.
        normal: the point as it is replayed, in its trainer's normal form.
        shared: the study that other searches tell too; None for one of its own.

    Raises:
        InputError: the storage fails, or the study is another space's.
    """
    if space.search.sampler == "grid":
        return GridProposer(space, earlier)
    return OptunaProposer(space, earlier, normal, shared)


# -------------------------------------------------------------------------------------------------
# The grid.


def budget(space: SearchSpace) -> int:
    """How many proposals the search makes in all."""
    if space.search.trials is not None:
        return space.search.trials
    size = grid_size(space)
    if not space.start:
        return size
    keys = {point.key for point in space.start}
    return size + len(keys - {point.key for point in grid(space)})


class GridProposer:
    """`start`, then every point of the space's grid that is not among them.

    Of a run that was extended, that of each earlier space comes first: so a number stands for the
    same point as before.
    """

    def __init__(self, space: SearchSpace, earlier: Sequence[SearchSpace] = ()) -> None:
        self._points = _points([*earlier, space])
        self._proposed, self._foreseen = 0, deque[Point]()

    def propose(self, number: int) -> Point | None:  # noqa: ARG002  # the order is the space's own
        """The next point of the grid."""
        self._proposed += 1
        return self._foreseen.popleft() if self._foreseen else next(self._points, None)

    def foresee(self, number: int) -> Point | None:
        """A later point of the grid."""
        wanted = number - self._proposed
        self._foreseen.extend(islice(self._points, max(0, wanted + 1 - len(self._foreseen))))
        return self._foreseen[wanted] if wanted < len(self._foreseen) else None

    def replay(self, number: int, point: Mapping[str, Value]) -> None:  # noqa: ARG002
        """Pass over one point of the grid."""
        self.propose(number)

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


# -------------------------------------------------------------------------------------------------
# A space's parameters and points, as Optuna has them.


def distribution(parameter: Choice | Range) -> BaseDistribution:
    """Optuna's name for a parameter that is searched."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.integer:
        return IntDistribution(int(low), int(high), parameter.log, int(step or 1))
    return FloatDistribution(low, high, parameter.log, step)


def _point(space: SearchSpace, raw: Callable[[Choice | Range], Value]) -> Point:
    """The point of the values that Optuna has for the parameters that are active."""
    values: dict[str, Value] = {}
    for parameter in space.parameters:
        if not is_active(parameter, values):
            continue
        value = parameter.value if isinstance(parameter, Fixed) else raw(parameter)
        if _in_steps(parameter):
            # Optuna says 0.30000000000000004 where the grid, `start` and the user say 0.3.
            value = Steps(parameter)[_step(parameter, value)]
        values[parameter.name] = value
    return Point(values)


def _of_point(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Value]:
    """What Optuna has for the searched parameters of a point, to the bit."""
    active: dict[str, Value] = {}
    found: dict[str, Value] = {}
    for parameter in space.parameters:
        if parameter.name not in point or not is_active(parameter, active):
            continue
        value = active[parameter.name] = point[parameter.name]
        if _in_steps(parameter):
            assert parameter.step is not None
            raw = parameter.low + _step(parameter, value) * parameter.step
            value = min(raw, float(parameter.high))
        if not isinstance(parameter, Fixed):
            found[parameter.name] = value
    return found


def _in_steps(parameter: Parameter) -> TypeGuard[Range]:
    return isinstance(parameter, Range) and parameter.step is not None and not parameter.integer


def _step(parameter: Range, value: Value) -> int:
    assert parameter.step is not None
    assert isinstance(value, int | float)
    return round((value - parameter.low) / parameter.step)


class Draw:
    """Points as Optuna's random sampler draws them, to the bit, without a study or a trial.

    A study looks at all its trials whenever it is asked, which takes hours over 100,000 of them,
    and a sampler that is made anew for each point takes several times as long.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._random = np.random.RandomState()  # what that sampler uses
        self._known: dict[str, tuple[_SearchSpaceTransform, Any, Any]] = {}
        for parameter in space.parameters:
            if not isinstance(parameter, Fixed) and not (one := distribution(parameter)).single():
                transform = _SearchSpaceTransform({parameter.name: one})
                low, high = transform.bounds.T
                if len(low) == 1:  # to draw a number takes a tenth as long as an array of one
                    low, high = low.item(), high.item()
                self._known[parameter.name] = transform, low, high

    def point(self, seed: int) -> Point:
        """What a sampler of that seed draws first."""
        self._random.seed(seed)
        return _point(self._space, self._drawn)

    def _drawn(self, parameter: Choice | Range) -> Value:
        if parameter.name not in self._known:  # there is one value
            return parameter.values[0] if isinstance(parameter, Choice) else parameter.low
        transform, low, high = self._known[parameter.name]
        drawn = np.atleast_1d(self._random.uniform(low, high))
        value: Value = transform.untransform(drawn)[parameter.name]
        return value


# -------------------------------------------------------------------------------------------------
# Optuna's samplers.


class _GroupedTPE(TPESampler):
    """TPE that models parameters under a condition together with those that they occur with.

    So does Optuna's with `group=True`, and goes through all trials one by one each time it is
    asked, to group, rank and read them: two thirds of the time of 2,000 proposals. Here a trial is
    read once, when it has ended, into columns. What is proposed is the same, to the bit.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(n_startup_trials=STARTUP, seed=seed, multivariate=True, constant_liar=True)
        # By the number of a trial.
        self._states: list[int] = []
        self._values: list[float] = []
        self._columns: dict[str, list[float]] = {}  # as Optuna computes with them; NaN for none
        self._open: list[int] = []  # that had not ended at the last look
        self._known: dict[str, BaseDistribution] = {}
        self._first: dict[tuple[str, ...], int] = {}  # of those that ended with these parameters

    def reseed(self, seed: int) -> None:
        """Draw from here on what a sampler of this seed draws."""
        for state in (self._rng, self._random_sampler._rng):
            state.rng.seed(seed)

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        self._look(study.get_trials(deepcopy=False))
        groups: list[set[str]] = []
        for names in map(set, sorted(self._first, key=self._first.__getitem__)):
            parts = [part for group in groups for part in (group & names, group - names)]
            groups = [part for part in (*parts, names.difference(*groups)) if part]
        self._groups = [
            {name: self._known[name] for name in sorted(group) if not self._known[name].single()}
            for group in groups
        ]
        return {name: one for group in self._groups for name, one in group.items()}

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002  # all groups
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for group in self._groups:
            found |= super().sample_relative(study, trial, group)
        return found

    def _look(self, trials: Sequence[FrozenTrial]) -> None:
        """Read the trials that had not ended at the last look."""
        more = range(len(self._states), len(trials))
        self._open += more
        self._states += [TrialState.WAITING] * len(more)
        for numbers in (self._values, *self._columns.values()):
            numbers.extend([math.nan] * len(more))
        for number in self._open:
            trial = trials[number]
            self._states[number] = int(trial.state)
            for name, one in trial.distributions.items():
                column = self._columns.setdefault(name, [math.nan] * len(trials))
                column[number] = one.to_internal_repr(trial.params[name])
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._known |= trial.distributions
                kind = tuple(trial.distributions)
                self._first[kind] = min(number, self._first.get(kind, number))
            if trial.state == TrialState.COMPLETE:
                self._values[number] = trial.values[0]
        self._open = [number for number in self._open if not trials[number].state.is_finished()]

    def _sample(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
        **more: bool,  # of Optuna 4
    ) -> dict[str, Any]:
        states = np.array(self._states)
        if len(study.directions) > 1 or TrialState.PRUNED in states:
            return super()._sample(study, trial, search_space, **more)
        ended = np.flatnonzero(states == TrialState.COMPLETE)
        values = np.array(self._values)[ended]
        best = -values if study.direction == StudyDirection.MAXIMIZE else values
        ranked, n = ended[np.argsort(best, kind="stable")], default_gamma(len(ended))
        running = np.flatnonzero(states == TrialState.RUNNING)
        above = np.concatenate([ranked[n:], running[running != trial.number]])
        none = [math.nan] * len(states)
        columns = np.array([self._columns.get(name, none) for name in search_space])
        whole = ~np.isnan(columns).any(axis=0)
        good, rest = (
            self._parzen_estimator_cls(
                dict(zip(search_space, columns[:, part[whole[part]]], strict=True)),
                search_space,
                self._parzen_estimator_parameters,
            )
            for part in (np.sort(ranked[:n]), np.sort(above))
        )
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        found = self._compare(samples, self._compute_acquisition_func(samples, good, rest))
        return {name: one.to_external_repr(found[name]) for name, one in search_space.items()}


_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _GroupedTPE,
    "gp": lambda seed: GPSampler(seed=seed),
    "nsgaii": lambda seed: NSGAIISampler(seed=seed),
    "cmaes": lambda seed: CmaEsSampler(seed=seed),
}

_KEEPS_STATE = ("nsgaii", "cmaes")
"""Samplers that note in each trial what they have computed, and go on from there."""


class OptunaProposer:
    """Optuna's ask and tell over the space, for its objectives.

    Of a run that was extended, all that was proposed in an earlier space is entered as a proposal
    in this one, where it lies too. What was added to `start` takes the numbers that come next.

    In a shared study the proposals differ from run to run, for two searches with one seed not to
    propose the same. What was asked for before an interruption is not asked for again, and nothing
    is told twice.

    Args:
        space: what is searched.
        earlier, normal, shared: see `proposer_for`.
        told: the numbers for a config, one for each of the space's objectives.

    Raises:
        InputError: here and from its methods: the storage fails. Here, too: the study is another
            space's.
    """

    def __init__(
        self,
        space: SearchSpace,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = _as_it_is,
        shared: SharedStudy | None = None,
        *,
        told: Callable[[Sequence[Objective], Seen], tuple[float, ...]] = told,
    ) -> None:
        first = len(earlier[0].start) if earlier else len(space.start)
        self._start, self._added = space.start[:first], list(space.start[first:])
        self._normal, self._seen = normal, set[str]()
        self._space, self._shared, self._numbers = space, shared, told
        self._draw = Draw(space)
        self._ids: dict[int, int] = {}  # of the trials under way, by their number in the run
        self._before: dict[int, FrozenTrial] = {}  # asked for by earlier sessions
        self._study: optuna.Study | None = None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if shared is not None:
            with told_of_storage(shared):
                self._study = opened(shared, space)
                self._before = _of_run(self._study, shared.run)
        elif space.search.sampler != "random":  # which learns nothing
            self._study = optuna.create_study(directions=_directions(space))

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
        sampler = self._sampler(number)
        if self._study is None:  # of random points, told of nothing
            return self._draw.point(self.seed(number))
        with told_of_storage(self._shared):
            if (before := self._before.pop(number, None)) is not None:
                self._ids[number] = before._trial_id
                return _point(self._space, lambda parameter: before.params[parameter.name])
            if sampler != "random":
                return self._ask(number, sampler)
            point = self._draw.point(self.seed(number))
            self._enter(number, point)
            return point

    def foresee(self, number: int) -> Point | None:
        """What does not depend on results: `start`, and what is drawn from the whole space."""
        if number < len(self._start):
            return self._start[number]
        if self._added or self._shared is not None:
            return None
        sampler = self._sampler(number)
        drawn = sampler == "random" or (sampler == "tpe" and number < STARTUP)
        return self._draw.point(self.seed(number)) if drawn else None

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known; the sampler may take notes, not decide."""
        if self._added:
            self._seen.add(self._normal(Point(point)).key)
        sampler = self._space.search.sampler
        with told_of_storage(self._shared):
            if self._study is not None and self._shared is None and sampler in _KEEPS_STATE:
                self._study.enqueue_trial(_of_point(self._space, point))
                self._ask(number, sampler)
            else:
                self._enter(number, point)

    def learn(self, number: int, seen: Seen) -> None:
        """Tell the study how good a finished proposal is, if it does not know."""
        if self._study is None:
            return
        trial_id = self._ids.pop(number)
        values = self._numbers(self._space.objectives, seen)
        with told_of_storage(self._shared):
            trial = self._study._storage.get_trial(trial_id)
            if trial.state.is_finished():
                return
            if self._shared is not None:
                solved = f"{seen.successes}/{seen.n}"
                self._study._storage.set_trial_user_attr(trial_id, SOLVED, solved)
            self._study.tell(trial.number, values, skip_if_finished=True)

    def seed(self, number: int) -> int:
        """Of the sampler that makes a proposal."""
        words = [self._space.search.seed, number]
        if self._shared is not None:
            words.append(int(self._shared.run, 16))
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def _sampler(self, number: int) -> str:
        """Which sampler makes a proposal."""
        sampler = self._space.search.sampler
        anywhere = sampler == "tpe" and len(self._space.seeds.ladder) > 1 and number % ANYWHERE == 0
        return "random" if anywhere else sampler

    def _ask(self, number: int, sampler: str) -> Point:
        assert self._study is not None
        with warnings.catch_warnings():  # that they are experimental is our choice, not news
            warnings.simplefilter("ignore", ExperimentalWarning)
            if isinstance(self._study.sampler, _GroupedTPE):  # which knows the trials
                self._study.sampler.reseed(self.seed(number))
            else:
                self._study.sampler = _SAMPLERS[sampler](self.seed(number))
            trial = self._study.ask()
            # Computed when asked for, with the sampler's notes; on a replay nobody else asks.
            assert trial.relative_params is not None
            point = _point(self._space, lambda parameter: _suggested(trial, parameter))
        # TPE and GP note what they sampled for others to see while the trial runs. A parameter
        # whose condition does not hold is no part of the proposal, and nobody could replay it.
        storage = self._study._storage
        for name in list(storage.get_trial_system_attrs(trial._trial_id)):
            if "relative_params" in name:
                storage.set_trial_system_attr(trial._trial_id, name, "")
        if self._shared is not None:
            trial.set_user_attr(RUN, self._shared.run)
            trial.set_user_attr(PROPOSAL, number)
        self._ids[number] = trial._trial_id
        return point

    def _enter(self, number: int, point: Mapping[str, Value]) -> None:
        """Make a trial of values that are known, if the study does not have it."""
        if self._study is None:
            return
        if (before := self._before.pop(number, None)) is not None:
            self._ids[number] = before._trial_id
            return
        params = _of_point(self._space, point)
        searched = {p.name: p for p in self._space.parameters if not isinstance(p, Fixed)}
        mine = self._shared and {RUN: self._shared.run, PROPOSAL: number}
        # Not enqueued: whoever asks first, another driver too, would get it.
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: distribution(searched[name]) for name in params},
            user_attrs=mine or {},
        )
        self._ids[number] = self._study._storage.create_new_trial(self._study._study_id, template)


def _suggested(trial: optuna.Trial, parameter: Choice | Range) -> Value:
    name = parameter.name
    if isinstance(parameter, Choice):
        value: Value = trial.suggest_categorical(name, parameter.values)
        return equal_values(parameter, value)[0]  # a storage knows no `Nested`
    low, high, step, log = parameter.low, parameter.high, parameter.step, parameter.log
    if parameter.integer:
        return trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


def _of_run(study: optuna.Study, run: str) -> dict[int, FrozenTrial]:
    """The run's trials by their number; one that was being asked for is given up."""
    found: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get(RUN) != run:
            continue
        number = trial.user_attrs.get(PROPOSAL)
        if isinstance(number, int):
            found[number] = trial
        elif not trial.state.is_finished():
            study.tell(trial.number, state=TrialState.FAIL)
    return found


def _directions(space: SearchSpace) -> list[StudyDirection]:
    ways = StudyDirection
    return [ways.MAXIMIZE if one.maximize else ways.MINIMIZE for one in space.objectives]


# -------------------------------------------------------------------------------------------------
# One study for several searches: each asks it and tells it, and so learns from the others.
#
# Each search is a driver with a run directory of its own, its own proposals, numbered from 0, and
# its own journal. A trial of the study says whose it is (`RUN`, `PROPOSAL`). What another search
# found is told to the sampler and nothing else: no count, race or table has seeds of another run.
# They could not be added: every search trains the seeds from 0 on, so two runs that propose one
# config have the same seeds of it.

RUN, PROPOSAL, SOLVED, SPACE = (
    "xortune_run",
    "xortune_proposal",
    "xortune_solved",
    "xortune_space",
)
"""What a study's trials say of themselves, and (the last one) the study."""

ALLOWED = "journal://PATH, sqlite:///PATH or postgresql://USER@HOST/DATABASE"

PATIENCE = 60
"""Seconds to wait for another driver that writes to the same SQLite file."""

TRIES = 5
"""So often a study is opened: two drivers that make one database's tables at once disturb each
other."""


@dataclass(frozen=True)
class SharedStudy:
    """A study, and whose trials of it are this run's.

    Attributes:
        url: of the storage; see `ALLOWED`.
        name: of the study.
        run: 16 hexadecimal digits that no other run has; "" as long as no run is known.
    """

    url: str
    name: str
    run: str = ""

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return without_password(self.url)

    @property
    def entry(self) -> dict[str, str]:
        """What the run's manifest says of it."""
        return {"storage": self.shown, "name": self.name, "run": self.run}


def shared_study(space: SearchSpace, storage: str | None, name: str | None) -> SharedStudy | None:
    """The study that a search is asked to take part in; None if it is not.

    Raises:
        InputError: a storage that is none, a name without one, a sampler that shares nothing.
    """
    if storage is None:
        if name is not None:
            raise InputError(
                f"{name!r} without a storage", field="study_name", fix="give --study-storage too"
            )
        return None
    scheme, _, rest = storage.partition("://")
    known = scheme in ("journal", "sqlite") or re.fullmatch(r"postgresql(\+\w+)?", scheme)
    if not known or not rest.strip("/") or (scheme == "sqlite" and not rest.startswith("/")):
        shown = without_password(storage)
        raise InputError(f"{shown!r} is not a storage", field="study_storage", allowed=ALLOWED)
    if name is not None and not name.strip():
        raise InputError("an empty name", field="study_name", fix="leave it out, or name it")
    if space.search.sampler == "grid":
        raise InputError(
            "a grid cannot be shared: each search would train all of it",
            field="study_storage",
            allowed="with samplers tpe, gp, nsgaii, cmaes and random",
            fix="leave it out and give each search a part of the space; or use another sampler",
        )
    return SharedStudy(storage, study_name(space) if name is None else name)


def study_name(space: SearchSpace) -> str:
    """The space's name and a digest of all that makes two searches the same question.

    Those of other parameters, another task or other objectives learn nothing from each other.
    """
    return f"{space.name}-{_digest(space)}"


def _digest(space: SearchSpace) -> str:
    command = space.command
    judged = [] if command is None else [str(command.by_exit), str(command.metric)]
    asked = [
        [repr(parameter) for parameter in space.parameters],
        space.task.fingerprint
        if space.task is not None
        else [str(space.trainer), str(space.success), *judged],
        [[o.name, o.maximize, *([] if o.failed is None else [o.failed])] for o in space.objectives],
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]


def joined(
    shared: SharedStudy | None,
    space: SearchSpace,
    directory: Path,
    say: Callable[[str], None] | None,
) -> SharedStudy | None:
    """The study as a run takes part in it, or None; the user is told what that means.

    Raises:
        InputError: the storage fails, the study is another space's, the manifest is damaged.
    """
    manifest = manifest_of(directory) if holds_run(directory) else {}
    before = manifest.get("study")
    if shared is None:
        if before is not None and say is not None:
            alone = "the run took part in a shared study; without --study-storage it goes on alone"
            say(worded(alone))
        return None
    run: object = secrets.token_hex(8)
    if before is not None:
        run = before.get("run") if isinstance(before, Mapping) else None
    if not isinstance(run, str) or not re.fullmatch(r"[0-9a-f]{16}", run):
        raise InputError(
            "is damaged",
            field="study",
            place=str(directory / MANIFEST),
            allowed="`run`: 16 hexadecimal digits",
        )
    shared = replace(shared, run=run)
    with told_of_storage(shared):
        opened(shared, space)  # before anything is written or started
    if manifest and before != shared.entry:
        update_manifest(directory, study=shared.entry)
    if say is not None:
        exact = (
            f"study {shared.name} in {shared.shown}: what is proposed depends on what other"
            " searches have told it by then, so nothing about the proposals is exact: neither the"
            " seed nor --resume repeats them"
        )
        say(worded(exact))
    return shared


def opened(shared: SharedStudy, space: SearchSpace) -> optuna.Study:
    """The study, made if it is not there; it says which space it is of."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for left in reversed(range(TRIES)):
        try:
            study = optuna.create_study(
                storage=_storage(shared.url),
                study_name=shared.name,
                directions=_directions(space),
                load_if_exists=True,
            )
            break
        except _failures():
            if not left:
                raise
            time.sleep(0.2)
    said = study.user_attrs.get(SPACE)
    if said is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(SPACE, said := _digest(space))
        with warnings.catch_warnings():  # that it is experimental is our choice, not news
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(names_told(space.objectives))
    if said != _digest(space) or list(study.directions) != _directions(space):
        raise InputError(
            f"study {shared.name!r} has other parameters, objectives or another task",
            field="study_name",
            place=shared.shown,
            fix="give another --study-name, or leave it out: the space then gives the name",
        )
    return study


def _storage(url: str) -> BaseStorage:
    scheme, _, rest = url.partition("://")
    if scheme == "journal":
        return JournalStorage(JournalFileBackend(rest))
    if scheme == "postgresql":  # else SQLAlchemy decides, in each of its versions otherwise
        url = f"postgresql+psycopg://{rest}"
    waits = {"connect_args": {"timeout": PATIENCE}} if scheme == "sqlite" else {}
    storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **waits})
    weakref.finalize(storage, storage.engine.dispose)  # else its connections stay open
    return storage


def _failures() -> tuple[type[Exception], ...]:
    """What a storage raises when it fails."""
    found: list[type[Exception]] = [StorageInternalError, OSError, RuntimeError]
    sql = sys.modules.get("sqlalchemy.exc")  # only a database needs it
    return (*found, sql.SQLAlchemyError) if sql is not None else tuple(found)


@contextmanager
def told_of_storage(shared: SharedStudy | None) -> Iterator[None]:
    """Failures of a shared study's storage as the user's."""
    try:
        yield
    except ImportError as error:
        if shared is None:
            raise
        raise InputError(
            f"the study's storage needs a package ({str(error).splitlines()[0]})",
            place=shared.shown,
            fix="install it; for postgresql:// that is psycopg: pip install 'psycopg[binary]'",
        ) from None
    except _failures() as error:
        if shared is None:
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the study's storage fails ({reason})",
            place=shared.shown,
            fix="check that it can be reached and written, then continue with --resume",
        ) from error
