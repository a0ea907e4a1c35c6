"""One study for several searches, which learn from each other.

Each search is a driver with its own run directory, its proposals from number 0 on, and its journal.
A trial of the study says whose it is (`RUN`, `PROPOSAL`). Only the sampler is told what other
searches found: no count, race or table has seeds of another run. They could not be added, because
every search trains the seeds from 0 on: two runs that propose one config have the same seeds of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from xortune.core.errors import InputError, check_type, worded
from xortune.core.files import without_password
from xortune.racing.objectives import sampler_value_names
from xortune.runs.manifest import MANIFEST, manifest_of, update_manifest
from xortune.runs.run import holds_run
from xortune.spaces.model import SearchSpace

RUN, PROPOSAL, SOLVED = "xortune_run", "xortune_proposal", "xortune_solved"
"""Attributes of a study's trials."""

SPACE = "xortune_space"
"""Attribute of a study."""

ALLOWED = "journal://PATH, sqlite:///PATH or postgresql://USER@HOST/DATABASE"

PATIENCE = 60
"""Seconds to wait while another driver writes to the same SQLite file."""

TRIES = 5
"""Attempts to open a study: two drivers that create the tables of one database may collide."""


@dataclass(frozen=True)
class SharedStudy:
    """A study that several searches use, and the name of this run in it.

    Attributes:
        url: of the storage; see `ALLOWED`.
        name: of the study.
        run: 16 hexadecimal digits that no other run has; "" until the run is known.
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
        """Its entry in the run's manifest."""
        return {"storage": self.shown, "name": self.name, "run": self.run}


@dataclass(frozen=True)
class Study:
    """An Optuna study that several searches use: `study=xt.Study("sqlite:///FILE")`.

    Attributes:
        storage: journal://PATH, sqlite:///PATH or postgresql://USER@HOST/DATABASE.
        name: of the study; derived from the space if not given, so that all searches of one space
            meet in one study.

    Raises:
        InputError: an unknown storage, or an empty name.
    """

    storage: str
    name: str | None = None

    def __post_init__(self) -> None:
        check_type("storage", self.storage, str, ALLOWED)
        scheme, _, rest = self.storage.partition("://")
        known = scheme in ("journal", "sqlite") or re.fullmatch(r"postgresql(\+\w+)?", scheme)
        if not known or not rest.strip("/") or (scheme == "sqlite" and not rest.startswith("/")):
            shown = without_password(self.storage)
            raise InputError(f"{shown!r} is not a storage", field="storage", allowed=ALLOWED)
        if self.name is not None:
            check_type("name", self.name, str, "text")
            if not self.name.strip():
                raise InputError("an empty name", field="name", fix="leave it out, or name it")

    def __repr__(self) -> str:
        return f"Study({without_password(self.storage)!r}, name={self.name!r})"


def shared_study(space: SearchSpace, study: Study | None) -> SharedStudy | None:
    """The study that a search of a space shall use; None without one.

    Raises:
        InputError: it is no `Study`, or the space has a sampler that cannot share.
    """
    if study is None:
        return None
    check_type("study", study, Study, "xt.Study(storage), which others may use too")
    if space.search.sampler == "grid":
        raise InputError(
            "a grid cannot be shared: each search would train all of it",
            field="study",
            allowed="with samplers auto, tpe, gp, nsgaii, cmaes and random",
            fix="leave it out and give each search a part of the space; or use another sampler",
        )
    return SharedStudy(study.storage, study.name or study_name(space))


def study_name(space: SearchSpace) -> str:
    """The space's name and a digest of its parameters, task and objectives.

    Searches that differ in one of these cannot learn from each other.
    """
    return f"{space.name}-{_digest(space)}"


def _digest(space: SearchSpace) -> str:
    command = space.command
    rule = [] if command is None else [str(command.by_exit), str(command.metric)]
    question = [
        [repr(parameter) for parameter in space.parameters],
        space.task.fingerprint
        if space.task is not None
        else [str(space.trainer), str(space.success), *rule],
        [[o.name, o.maximize, *([] if o.failed is None else [o.failed])] for o in space.objectives],
    ]
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:8]


def join_study(
    shared: SharedStudy | None,
    space: SearchSpace,
    directory: Path,
    on_message: Callable[[str], None],
) -> SharedStudy | None:
    """Open the study for a run, and tell the user what sharing means. None without a study.

    Raises:
        InputError: the storage fails, the study is another space's, the manifest is damaged.
    """
    manifest = manifest_of(directory) if holds_run(directory) else {}
    before = manifest.get("study")
    if shared is None:
        if before is not None:
            alone = "the run took part in a shared study; without --study-storage it goes on alone"
            on_message(worded(alone))
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
    with storage_errors(shared):
        open_study(shared, space)  # fail before anything is written or started
    if manifest and before != shared.entry:
        update_manifest(directory, study=shared.entry)
    exact = (
        f"study {shared.name} in {shared.shown}: proposals depend on the results that other"
        " searches have reported to it so far: neither the seed nor --resume repeats them"
    )
    on_message(worded(exact))
    return shared


def open_study(shared: SharedStudy, space: SearchSpace) -> tuple[optuna.Study, BaseStorage]:
    """Open the study, or make it, with its storage; it names the space that it is for."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = _storage(shared.url)
    for attempts_left in reversed(range(TRIES)):
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=shared.name,
                directions=directions(space),
                load_if_exists=True,
            )
            break
        except _failures():
            if not attempts_left:
                raise
            time.sleep(0.2)
    digest = study.user_attrs.get(SPACE)
    if digest is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(SPACE, digest := _digest(space))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(sampler_value_names(space.objectives))
    if digest != _digest(space) or list(study.directions) != directions(space):
        raise InputError(
            f"study {shared.name!r} has other parameters, objectives or another task",
            field="name",
            place=shared.shown,
            fix="give another --study-name, or leave it out: the space then gives the name",
        )
    return study, storage


def directions(space: SearchSpace) -> list[StudyDirection]:
    """Of the objectives, in Optuna's terms."""
    maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    return [maximize if objective.maximize else minimize for objective in space.objectives]


def trials_of_run(study: optuna.Study, run: str) -> dict[int, FrozenTrial]:
    """The run's trials by their number. Fail one that was asked for but got no number."""
    trials: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.user_attrs.get(RUN) != run:
            continue
        number = trial.user_attrs.get(PROPOSAL)
        if isinstance(number, int):
            trials[number] = trial
        elif not trial.state.is_finished():
            study.tell(trial.number, state=TrialState.FAIL)
    return trials


def _storage(url: str) -> BaseStorage:
    scheme, _, rest = url.partition("://")
    if scheme == "journal":
        return JournalStorage(JournalFileBackend(rest))
    if scheme == "postgresql":  # SQLAlchemy's default driver depends on its version
        url = f"postgresql+psycopg://{rest}"
    waits = {"connect_args": {"timeout": PATIENCE}} if scheme == "sqlite" else {}
    storage = RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **waits})
    weakref.finalize(storage, storage.engine.dispose)  # close its connections
    return storage


def _failures() -> tuple[type[Exception], ...]:
    """The exceptions of a storage that fails."""
    sql = sys.modules.get("sqlalchemy.exc")  # loaded if the storage is a database
    more = () if sql is None else (sql.SQLAlchemyError,)
    return (StorageInternalError, OSError, RuntimeError, *more)


@contextmanager
def storage_errors(shared: SharedStudy | None) -> Iterator[None]:
    """Raise failures of a shared study's storage as InputError."""
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
