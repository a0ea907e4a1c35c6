"""The ledger of a project: all attempts to certify beside each other, whose risks add up.

A project is a folder with all below it (`project_of`); its ledger is the file `certificates.jsonl`
there. Who deletes a run and certifies anew, or asks the same in other words, goes on in the same
account: an attempt takes the next share of the risk (`runs.certificate.share_of`). An account is
what a project certifies of one training: the number that its rule judges, whatever the limit, or
the task of the built-in network. The configurations and how they are searched are no part of it.
So that no wording opens an account, a training is the same if its name or its files are.

An attempt is written down before it is trained. There is no ledger in an object store, nor where
the folder cannot be written: then the shares are counted within the run, and its certificate says
so.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from xortune.core.errors import InputError
from xortune.core.files import writing
from xortune.core.success import judged_numbers
from xortune.core.trainer import Trainer
from xortune.runs.certificate import LEDGER
from xortune.runs.evaluation import MAX_IN_ACCOUNT
from xortune.runs.run import Run
from xortune.runs.store import url_of

DIGITS = 16
"""Hexadecimal digits of an attempt's facts."""

MARKS = (LEDGER, ".git", ".hg", "pyproject.toml")
"""What the folder of a project has."""

LONGEST_NAME = 80
"""Characters of a training's name, which may be a command."""


@dataclass(frozen=True)
class Question:
    """What an attempt asks, as accounts tell questions apart. Each has several names.

    Attributes:
        training: its name, and a digest of its files.
        about: the number that its rule judges; of the built-in network the task, and its digest.
    """

    training: tuple[str, ...]
    about: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.training[0]} / {self.about[0]}"


@dataclass(frozen=True)
class Entry:
    """An attempt in a ledger.

    Attributes:
        account: the name of its account, which is its first question.
        question: see `question_of`.
        number: its number in the account, from 1, which says its share of the risk.
        facts: a digest of all that decides its result.
        run: the run's directory, from the folder of the project.
        confidence: of all bounds of the account together.
        began: UTC, ISO 8601.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    account: str
    question: Question
    number: Annotated[int, Field(ge=1, le=MAX_IN_ACCOUNT)]
    facts: str
    run: str
    confidence: Annotated[float, Field(gt=0, lt=1)]
    began: str


_ENTRY = TypeAdapter(Entry)


@dataclass(frozen=True)
class Account:
    """The attempts of one account, in a ledger that nobody else writes to meanwhile.

    Attributes:
        beside: the project's other accounts of the same training.
    """

    name: str
    question: Question
    entries: tuple[Entry, ...]
    beside: tuple[str, ...]
    _place: Path
    _file: int

    @property
    def number(self) -> int:
        """The number of the last attempt; 0 if there is none."""
        return max((entry.number for entry in self.entries), default=0)

    def number_of(self, facts: str) -> int | None:
        """The number of an attempt with the same facts; None if there is none."""
        return next((one.number for one in self.entries if one.facts == facts), None)

    def enter(self, number: int, facts: str, run: Run, confidence: float) -> None:
        """Write down an attempt, on the disk when this returns.

        Raises:
            InputError: it cannot be written.
        """
        began = datetime.now(UTC).isoformat(timespec="seconds")
        path = run.path.resolve().relative_to(self._place.parent).as_posix()
        entry = Entry(self.name, self.question, number, facts, path, confidence, began)
        line = json.dumps(dataclasses.asdict(entry)) + "\n"
        with writing(self._place):
            # After a crash the last line may be torn: its attempt never began.
            os.ftruncate(self._file, _content(self._file).rfind(b"\n") + 1)
            os.write(self._file, line.encode("ascii"))
            os.fsync(self._file)


def question_of(run: Run, trainer: Trainer, number: str | None = None) -> Question:
    """What a run's certificates ask; of a number its name, whatever the statistic.

    Neither the parameters count, nor how they are searched, nor the limit of the rule. A function
    has the name `file:function`, wherever the file is; a command its words before the first option
    or parameter.
    """
    known = {**run.manifest, **trainer.describe()}
    label = str(known.get("trainer") or run.asked.trainer or "network")
    where, _, function = label.rpartition(":")
    if where.endswith(".py") or (where and " " not in label):
        if where == "__main__":  # a script that is run, whose function has another name elsewhere
            where = getattr(sys.modules[where], "__file__", None) or where
        file = PurePosixPath(where).name.removesuffix(".py")
        name = f"{file.rpartition('.')[2]}:{function}"
    else:
        name = re.split(r"\s+-|\s*\S*\{", label)[0] or label
    files, task = trainer.describe().get("source"), known.get("task")
    rule = (number,) if number else judged_numbers(known.get("success") or run.asked.success)
    about = rule if task is None else (task, known.get("task_fingerprint"))
    return Question(
        tuple(one for one in (name[:LONGEST_NAME], files) if one),
        tuple(str(one) for one in about if one),
    )


def project_of(run: Run) -> Path:
    """The folder of the project that a run belongs to, which has one of `MARKS`.

    It is the nearest one above the run. If there is none, it is the working directory if the run
    lies there, else the folder that holds the run. The folders in which people have their projects
    are none: the root, the user's home, that of temporary files.
    """
    above = _above(run)
    marked = (one for one in above if any((one / mark).exists() for mark in MARKS))
    here = Path.cwd()
    return next(marked, here if here in above else run.path.resolve().parent)


def _above(run: Run) -> list[Path]:
    """The folders above a run that may be those of a project, the nearest first."""
    homes = ("/", os.environ.get("HOME", "/"), tempfile.gettempdir())
    shared = {Path(one).resolve() for one in homes}
    return [folder for folder in run.path.resolve().parents if folder not in shared]


def digest(facts: Mapping[str, Any]) -> str:
    """A short digest of JSON values."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


@contextmanager
def account_in_ledger(
    run: Run, trainer: Trainer, number: str | None = None
) -> Iterator[Account | None]:
    """Hold the ledger of a run's project, which is made if there is none.

    The attempts in ledgers above the project's folder and directly below it count, too.

    Yields:
        None in an object store, or if the folder or the file cannot be written or locked.

    Raises:
        InputError: a line is not one of a ledger, or the file is no regular file.
    """
    file = None
    if url_of(run.path) is None:
        folder = project_of(run)
        place = folder / LEDGER
        file = _opened(place)
    if file is None:
        yield None
        return
    try:
        entries = list(_entries(place, file))
        for other in (*(one / LEDGER for one in _above(run)), *sorted(folder.glob(f"*/{LEDGER}"))):
            if other != place and other.is_file() and os.access(other, os.R_OK):
                with other.open("rb") as opened:
                    entries += _entries(other, opened.fileno())
        yield _account(question_of(run, trainer, number), entries, place, file)
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # a process forked meanwhile has the file open too
        os.close(file)


def _account(question: Question, entries: Sequence[Entry], place: Path, file: int) -> Account:
    """The account of a question: that of the attempts which asked the same, or a new one.

    Where these have several accounts, as a training may have the name of one and the files of
    another, all their attempts count.
    """
    akin = [e for e in entries if not {*e.question.training}.isdisjoint(question.training)]
    same = [e.account for e in akin if not {*e.question.about}.isdisjoint(question.about)]
    return Account(
        same[0] if same else str(question),
        question,
        tuple(e for e in entries if e.account in same),
        tuple(dict.fromkeys(e.account for e in akin if e.account not in same)),
        place,
        file,
    )


def _opened(place: Path) -> int | None:
    """The ledger, locked; None if it cannot be."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(place, flags, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        os.close(file)
        return None
    return file


def _entries(place: Path, file: int) -> Iterator[Entry]:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise InputError("is no regular file", place=str(place), fix="move it away")
    for number, line in enumerate(_content(file).split(b"\n")[:-1], 1):  # the last may be torn
        try:
            yield _ENTRY.validate_json(line)
        except ValidationError:
            raise InputError(
                "is not a line of a ledger of certificates",
                place=f"{place}:{number}",
                allowed="what xortune wrote",
                fix="restore the file, or move it away: certificates from before are then no "
                "longer counted",
            ) from None


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
