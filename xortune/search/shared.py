"""Searches that learn from each other: a search's part in an Optuna study that others tell too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from xortune.errors import worded
from xortune.objective import Seen
from xortune.point import Point, Value
from xortune.run import holds_run
from xortune.run_manifest import MANIFEST, manifest_of, update_manifest
from xortune.search.importance import distribution
from xortune.search.propose import (
    Draw,
    OptunaProposer,
    Proposer,
    as_proposed,
    proposer_for,
    suggested,
)
from xortune.search.storage import PROPOSAL, RUN, SOLVED, SharedStudy, opened, told_of_storage
from xortune.space import Fixed, SearchSpace, is_active

__all__ = ["SharedProposer", "joined", "proposer_in"]


def joined(
    shared: SharedStudy | None,
    space: SearchSpace,
    directory: Path,
    say: Callable[[str], None] | None,
) -> SharedStudy | None:
    """The study as a run takes part in it, or None; the user is told what that means.

    Args:
        shared: what the session was asked for.
        space: what is searched.
        directory: of the run; if it holds one, the study is noted in its manifest.
        say: called with a sentence for the user.

    Raises:
        InputError: the storage fails, the study is another space's, the manifest is damaged.
    """
    manifest = manifest_of(directory) if holds_run(directory) else {}
    before = manifest.get("study")
    if shared is None:
        if before is not None and say is not None:
            say(
                worded(
                    "the run took part in a shared study; without --study-storage it goes on alone"
                )
            )
        return None
    shared = shared.of(manifest, str(directory / MANIFEST))
    with told_of_storage(shared):
        opened(shared, space)  # before anything is written or started
    if manifest and before != shared.entry:
        update_manifest(directory, study=shared.entry)
    if say is not None:
        say(shared.warning)
    return shared


def proposer_in(
    shared: SharedStudy | None,
    space: SearchSpace,
    earlier: Sequence[SearchSpace] = (),
    normal: Callable[[Point], Point] = lambda point: point,
) -> Proposer:
    """The proposer of a search that takes part in a study, or has its own; see `proposer_for`.

    Raises:
        InputError: the storage fails, or the study is another space's.
    """
    if shared is None:
        return proposer_for(space, earlier, normal)
    return SharedProposer(shared, space, earlier=earlier, normal=normal)


class SharedProposer(OptunaProposer):
    """Proposes as `OptunaProposer` does, from a study that others tell too.

    Randomness is a function of the search's seed, the run and the number, for two searches with one
    seed not to propose the same. What was asked for before an interruption is not asked for again,
    and nothing is told twice.

    Args:
        shared: the study, and which run this is.
        space: what is searched.
        earlier: what was searched before the run was extended; see `proposer_for`.
        normal: the point as it is replayed.

    Raises:
        InputError: here and from its methods: the storage fails. Here, too: the study is another
            space's.
    """

    def __init__(
        self,
        shared: SharedStudy,
        space: SearchSpace,
        *,
        earlier: Sequence[SearchSpace] = (),
        normal: Callable[[Point], Point] = lambda point: point,
    ) -> None:
        super().__init__(space, earlier=earlier, normal=normal)
        self._shared = shared
        self._draw = Draw(space)
        with self._told():
            self._study = opened(shared, space)
            self._before = self._of_this_run()
        self._ids: dict[int, int] = {}  # of trials, by their number in the run

    def replay(self, number: int, point: Mapping[str, Value]) -> None:
        """Enter a proposal whose values are known, if the study does not have it."""
        if self._added:
            self._seen.add(self._normal(Point(point)).key)
        with self._told():
            self._enter(number, point)

    def learn(self, number: int, seen: Seen) -> None:
        """Tell the study how good a finished proposal is, if it does not know."""
        trial_id = self._ids.pop(number)
        values = self._numbers(self._space.objectives, seen)
        with self._told():
            trial = self._study._storage.get_trial(trial_id)
            if not trial.state.is_finished():
                solved = f"{seen.successes}/{seen.n}"
                self._study._storage.set_trial_user_attr(trial_id, SOLVED, solved)
                self._study.tell(trial.number, values, skip_if_finished=True)

    def _ask(self, number: int, sampler: str) -> Point:
        before = self._before.pop(number, None)
        if before is not None:  # asked for, and not in the journal when the run was interrupted
            self._ids[number] = before._trial_id
            return suggested(self._space, before)
        if sampler == "random":  # a study looks at all its trials whenever it is asked
            point = self._draw.point(self.seed(number))
            with self._told():
                self._enter(number, point)
            return point
        with self._told():
            point = super()._ask(number, sampler)
            trial = self._trials.pop(number)
            trial.set_user_attr(RUN, self._shared.run)
            trial.set_user_attr(PROPOSAL, number)
        self._ids[number] = trial._trial_id
        return point

    def seed(self, number: int) -> int:
        """Of a proposal: another one in each run."""
        words = [self._space.search.seed, number, int(self._shared.run, 16)]
        return int(np.random.SeedSequence(words).generate_state(1)[0])

    def _enter(self, number: int, point: Mapping[str, Value]) -> None:
        before = self._before.pop(number, None)
        if before is not None:
            self._ids[number] = before._trial_id
            return
        # Not enqueued: whoever asks first, another driver too, would get it.
        template = create_trial(
            state=TrialState.RUNNING,
            user_attrs={RUN: self._shared.run, PROPOSAL: number},
            **_as_trial(self._space, point),
        )
        self._ids[number] = self._study._storage.create_new_trial(self._study._study_id, template)

    def _of_this_run(self) -> dict[int, FrozenTrial]:
        """The run's trials by their number; one that was being asked for is given up."""
        found: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if trial.user_attrs.get(RUN) != self._shared.run:
                continue
            number = trial.user_attrs.get(PROPOSAL)
            if isinstance(number, int):
                found[number] = trial
            elif not trial.state.is_finished():
                self._study.tell(trial.number, state=TrialState.FAIL)
        return found

    @contextmanager
    def _told(self) -> Iterator[None]:
        with told_of_storage(self._shared):
            yield


def _as_trial(space: SearchSpace, point: Mapping[str, Value]) -> dict[str, Any]:
    """The parameters of a point that are searched, for `create_trial`."""
    values: dict[str, Value] = {}
    params: dict[str, Value] = {}
    distributions: dict[str, BaseDistribution] = {}
    for parameter in space.parameters:
        if parameter.name not in point or not is_active(parameter, values):
            continue
        value = values[parameter.name] = point[parameter.name]
        if not isinstance(parameter, Fixed):
            params[parameter.name] = as_proposed(parameter, value)
            distributions[parameter.name] = distribution(parameter)
    return {"params": params, "distributions": distributions}
