"""The ledger of a project: all attempts to certify beside each other, whose risks add up.

A file `certificates.jsonl` in the folder that holds the run directories. Who deletes a run and
certifies anew, or certifies another run of the same space, goes on in the same account: an attempt
takes the next share of the risk (`runs.certificate.share_of`). An account is a space, which is its
parameters and its task, and a rule for success. The trainer's source is no part of it, nor is how
the space is searched.

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
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from xortune.core.errors import InputError
from xortune.core.files import writing
from xortune.runs.certificate import LEDGER
from xortune.runs.evaluation import MAX_IN_ACCOUNT
from xortune.runs.run import Run
from xortune.runs.store import url_of

DIGITS = 16
"""Hexadecimal digits of an account, and of an attempt's facts."""


@dataclass(frozen=True)
class Entry:
    """An attempt in a ledger.

    Attributes:
        account: what the attempt is about; see `account_of`.
        number: its number in the account, from 1, which says its share of the risk.
        facts: a digest of all that decides its result.
        run: the name of the run's directory.
        confidence: of all bounds of the account together.
        began: UTC, ISO 8601.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")

    account: str
    number: Annotated[int, Field(ge=1, le=MAX_IN_ACCOUNT)]
    facts: str
    run: str
    confidence: Annotated[float, Field(gt=0, lt=1)]
    began: str


_ENTRY = TypeAdapter(Entry)


@dataclass(frozen=True)
class Account:
    """The attempts of one account, in a ledger that nobody else writes to meanwhile."""

    name: str
    entries: tuple[Entry, ...]
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
        entry = Entry(self.name, number, facts, run.path.resolve().name, confidence, began)
        line = json.dumps(dataclasses.asdict(entry)) + "\n"
        with writing(run.path.resolve().parent / LEDGER):
            # After a crash the last line may be torn: its attempt never began.
            os.ftruncate(self._file, _content(self._file).rfind(b"\n") + 1)
            os.write(self._file, line.encode("ascii"))
            os.fsync(self._file)


def account_of(run: Run) -> str:
    """What a run's certificates are about: its parameters, its task, its rule for success.

    Neither the order of the parameters counts, nor how they are searched, nor the trainer's source.
    """
    parameters = {
        one.name: [type(one).__name__, dataclasses.asdict(one)] for one in run.asked.parameters
    }
    success = run.manifest.get("success") or run.asked.success
    task = run.manifest.get("task_fingerprint") or run.manifest.get("task")
    return digest({"parameters": parameters, "success": success and str(success), "task": task})


def digest(facts: Mapping[str, Any]) -> str:
    """A short digest of JSON values."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


@contextmanager
def account_in_ledger(run: Run) -> Iterator[Account | None]:
    """Hold the ledger beside a run, which is made if there is none.

    Yields:
        None in an object store, or if the folder or the file cannot be written or locked.

    Raises:
        InputError: a line is not one of a ledger, or the file is no regular file.
    """
    place = run.path.resolve().parent / LEDGER
    file = None if url_of(run.path) is not None else _opened(place)
    if file is None:
        yield None
        return
    try:
        name = account_of(run)
        yield Account(name, tuple(e for e in _entries(place, file) if e.account == name), file)
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # a process forked meanwhile has the file open too
        os.close(file)


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
