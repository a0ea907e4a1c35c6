"""One Optuna study for several searches: each asks it and tells it, and so learns from the others.

Each search is a driver with a run directory of its own, its own proposals, numbered from 0, and its
own journal. A trial of the study says whose it is (`RUN`, `PROPOSAL`). What another search found is
told to the sampler and nothing else: no count, race or table has seeds of another run. They could
not be added: every search trains the seeds from 0 on, so two runs that propose one config have the
same seeds of it.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from xortune.errors import InputError, worded
from xortune.objective import names_told
from xortune.passwords import without_password
from xortune.space import SearchSpace

__all__ = ["SharedStudy", "opened", "shared_study", "study_name", "told_of_storage"]

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
