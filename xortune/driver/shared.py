"""One Optuna study for several searches: each asks it, tells it, and learns from the others."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from xortune.core.errors import InputError, worded
from xortune.core.files import without_password
from xortune.core.point import Point, Value
from xortune.driver.importance import distribution
from xortune.driver.propose import (
    Draw,
    OptunaProposer,
    Proposer,
    as_proposed,
    proposer_for,
    suggested,
)
from xortune.racing.objectives import Seen, names_told
from xortune.runs.manifest import MANIFEST, manifest_of, update_manifest
from xortune.runs.run import holds_run
from xortune.spaces.model import Fixed, SearchSpace, is_active

# -------------------------------------------------------------------------------------------------
# One Optuna study for several searches: each asks it and tells it, and so learns from the others.
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

_RUN = re.compile(r"[0-9a-f]{16}")


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

    @property
    def warning(self) -> str:
        """What the user must know of a search that takes part in it."""
        return worded(
            f"study {self.name} in {self.shown}: what is proposed depends on what other searches"
            " have told it by then, so nothing about the proposals is exact: neither the seed nor"
            " --resume repeats them"
        )

    def of(self, manifest: Mapping[str, Any], place: str) -> SharedStudy:
        """The same for a run: the one that its manifest says took part before, or a new one.

        Raises:
            InputError: the manifest's entry is damaged.
        """
        entry = manifest.get("study")
        if entry is None:
            return replace(self, run=secrets.token_hex(8))
        run = entry.get("run") if isinstance(entry, Mapping) else None
        if not isinstance(run, str) or not _RUN.fullmatch(run):
            raise InputError(
                "is damaged", field="study", place=place, allowed="`run`: 16 hexadecimal digits"
            )
        return replace(self, run=run)


def study_name(space: SearchSpace) -> str:
    """The space's name and a digest of all that makes two searches the same question.

    Those of other parameters, another task or other objectives learn nothing from each other.
    """
    return f"{space.name}-{_digest(space)}"


def _digest(space: SearchSpace) -> str:
    asked = [
        [repr(parameter) for parameter in space.parameters],
        _trained(space),
        [[o.name, o.maximize, *([] if o.failed is None else [o.failed])] for o in space.objectives],
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]


def _trained(space: SearchSpace) -> str | list[str]:
    """What is trained: the task of the built-in network, or the user's own function."""
    if space.task is not None:
        return space.task.fingerprint
    command = space.command
    judged = [] if command is None else [str(command.by_exit), str(command.metric)]
    return [str(space.trainer), str(space.success), *judged]


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
        shown = SharedStudy(storage, "").shown
        raise InputError(f"{shown!r} is no storage", field="study_storage", allowed=ALLOWED)
    if name is not None and not name.strip():
        raise InputError("an empty name", field="study_name", fix="leave it out, or name it")
    if space.search.sampler == "grid":
        raise InputError(
            "a grid shares nothing: each search would walk through all of it",
            field="study_storage",
            allowed="with samplers tpe, gp, nsgaii, cmaes and random",
            fix="leave it out and give each search a part of the space; or use another sampler",
        )
    return SharedStudy(storage, study_name(space) if name is None else name)


def opened(shared: SharedStudy, space: SearchSpace) -> optuna.Study:
    """The study, made if it is not there; it says which space it is of."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ways = StudyDirection
    directions = [ways.MAXIMIZE if o.maximize else ways.MINIMIZE for o in space.objectives]
    for left in reversed(range(TRIES)):
        try:
            study = optuna.create_study(
                storage=_storage(shared.url),
                study_name=shared.name,
                directions=directions,
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
    if said != _digest(space) or list(study.directions) != directions:
        raise InputError(
            f"study {shared.name!r} is of other parameters, objectives or another task",
            field="study_name",
            place=shared.shown,
            fix="give another --study-name, or none: then it follows from the space",
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
def told_of_storage(shared: SharedStudy) -> Iterator[None]:
    """Failures of a storage as the user's."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(
            f"the study's storage needs a package ({str(error).splitlines()[0]})",
            place=shared.shown,
            fix="install it; for postgresql:// that is psycopg: pip install 'psycopg[binary]'",
        ) from None
    except _failures() as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the study's storage fails ({reason})",
            place=shared.shown,
            fix="see whether it can be reached and written, then continue with --resume",
        ) from error


# -------------------------------------------------------------------------------------------------
# Searches that learn from each other: a search's part in an Optuna study that others tell too.


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
