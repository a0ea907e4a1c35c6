"""The journal of a run: append-only, one line of JSON for each evaluated block of seeds."""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from xortune.core.background import background_process
from xortune.core.errors import DisturbedError, InputError
from xortune.core.files import FREE_SPACE, is_full, open_regular, reading, writing
from xortune.runs.evaluation import MAX_TIME, Evaluation, Evaluations, JournalLines, encode
from xortune.runs.lock import RunLock, flock, held
from xortune.runs.store import SegmentWriter, as_path, writer_for

# -------------------------------------------------------------------------------------------------
# Notices that somebody replaces, removes or moves a run's files while a search writes to them.
#
# A process that has a file open goes on writing to it when another one takes its name: what it
# writes is gone when it ends. So whoever brings lines to the disk looks whether the file still has
# its name; if not, all that was written is put back, or kept beside what has the name now.

BESIDE = ("manifest.json", "space.yaml")
"""What a run cannot be resumed without, beside its journal."""


class Guard:
    """Knows a journal that is open, and the files beside it."""

    def __init__(self, fd: int, place: str, lock: RunLock | None) -> None:
        self._fd, self._place, self._lock = fd, Path(os.path.realpath(place)), lock
        self._shown = place
        self._known = _identity(self._place)
        self._beside: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self.look()

    def look(self) -> DisturbedError | None:
        """None if all is as this process left it; else what to tell, and nothing is lost by now.

        Nobody writes to the journal meanwhile.
        """
        removed = [name for name in BESIDE if not self._noted(name)]
        replaced = _identity(self._place) != self._known
        if replaced and (moved := self._moved()) is not None:
            return moved
        try:
            disturbed = self._kept() if replaced else None
            for name in removed:
                place = self._place.with_name(name)
                place.write_bytes(self._beside[name][1])
                disturbed = disturbed or _put_back(place)
        except OSError as error:
            return DisturbedError(
                "was replaced or removed while this search wrote to it, and could not be written "
                f"again ({error.strerror})",
                place=self._shown,
                fix="make it writable; --resume trains the missing seeds again",
            )
        return disturbed

    def _noted(self, name: str) -> bool:
        """Keep what a file beside the journal holds; False if it was there and is no more."""
        place = self._place.with_name(name)
        try:
            found = place.lstat()
            known = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
            if name not in self._beside or self._beside[name][0] != known:
                with open_regular(place) as file:
                    self._beside[name] = known, file.read()
        except FileNotFoundError:
            return name not in self._beside
        except OSError:  # it cannot be read: told by those who need it
            return True
        return True

    def _moved(self) -> DisturbedError | None:
        """What to say of a journal that has another name now, and so holds all of it."""
        try:
            name = Path(os.readlink(f"/proc/self/fd/{self._fd}"))  # noqa: PTH115  # may lead nowhere
            same = os.path.samestat(name.stat(), os.fstat(self._fd))
        except OSError:  # removed, or no Linux
            return None
        if not same or name.name.startswith(".nfs"):  # removed there, as far as a server can
            return None
        return DisturbedError(
            f"was moved to {name} while this search wrote to it; all lines are there",
            place=self._shown,
            fix="move it back, then --resume, or resume it there",
        )

    def _kept(self) -> DisturbedError:
        """Put the journal back where nothing is lost by it, or keep it beside what is there now."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        there = os.path.lexists(self._place)
        mine = self._lock is None or not self._lock.is_others()
        back = mine and (not there or self._begins_with(self._place))
        kept, number = self._place, 1
        while not back and os.path.lexists(kept):
            kept, number = self._place.with_name(f"{self._place.name}.kept-{number}"), number + 1
        fd, temporary = tempfile.mkstemp(dir=kept.parent, prefix=f".{kept.name}.")
        with self._open() as lines, os.fdopen(fd, "wb") as file:
            shutil.copyfileobj(lines, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(os.fstat(self._fd).st_mode & 0o777)
        Path(temporary).replace(kept)
        self._known = _identity(self._place)  # a second look tells of what happened since
        if back:
            return _put_back(self._shown, replaced=there)
        return DisturbedError(
            "was replaced while this search wrote to it; what is there now is left as it is, and "
            f"all lines of this search are in {kept}",
            place=self._shown,
            fix=f"rename the right one of the two to {self._place.name}, then --resume",
        )

    def _begins_with(self, place: Path) -> bool:
        """Whether all that a file holds is the beginning of what was written."""
        try:
            with open_regular(place) as theirs, self._open() as mine:
                while part := theirs.read(1 << 20):
                    if mine.read(len(part)) != part:
                        return False
        except OSError:
            return False
        return True

    def _open(self) -> BinaryIO:
        file = os.fdopen(os.dup(self._fd), "rb")
        file.seek(0)
        return file


def _put_back(place: str | os.PathLike[str], *, replaced: bool = False) -> DisturbedError:
    how = "replaced by an earlier state of it" if replaced else "removed"
    return DisturbedError(
        f"was {how} while this search wrote to its run; the search has restored all of it",
        place=str(place),
        fix="do not touch the files of a run that is being written; continue with --resume",
    )


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        found = place.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


# -------------------------------------------------------------------------------------------------
# A line is complete (it ends in a newline) or it was torn by a crash and is ignored by those who
# read, and cut off by the next one who writes.

HELD_SECONDS = 0.01
"""So long a look whether the run is this driver's is good for: a batch's lines come at once."""

FSYNC_SECONDS = 0.2
"""Between two of them, while lines keep coming: so much later one is on the disk."""


class JournalReader:
    """Reads a journal, and reads it on as it grows: each line once.

    Attributes:
        lines: all that it has taken in.
        size: how many bytes of the file they are.
        torn: whether something follows them that is no whole line: a line that is being written, or
            was torn off by a crash.
        written: when the file was last written to, in seconds since 1970; None without a file.

    Args:
        path: of the file, which need not be there yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._begin()

    def _begin(self) -> None:
        self.lines, self.size, self.torn = JournalLines(), 0, False
        self.written: float | None = None
        self._file: tuple[int, int] | None = None

    def read_on(self) -> Evaluations:
        """Take in the whole lines that came. They are all if the file is another one now.

        Raises:
            InputError: the file cannot be read, a malformed line (with file:line), or a seed of one
                config in two final lines.
        """
        with reading(self._path):
            try:
                file = open_regular(self._path)
            except FileNotFoundError:
                self._begin()
                return Evaluations(self.lines, np.arange(0))
        with file, reading(self._path):
            found = os.fstat(file.fileno())
            identity = (found.st_dev, found.st_ino)
            if self._file not in (None, identity) or found.st_size < self.size:
                self._begin()
            self._file, self.written, known = identity, found.st_mtime, len(self.lines)
            try:
                if found.st_size - self.size > LARGE:
                    self._take_halves(file, found.st_size)
                self._take(file)
                if len(self.lines) > known:
                    refuse_seeds_twice(self.lines, self._path)
            except InputError:
                self._begin()
                if not known:
                    raise
                return self.read_on()  # cut and written again between two looks? all of it is new
        return Evaluations(self.lines, np.arange(known, len(self.lines)))

    def _take_halves(self, file: BinaryIO, end: int) -> None:
        """Take in what there is, the second half of it as another process has read it."""
        file.seek((self.size + end + LARGE) // 2)  # it starts later
        file.readline()
        middle = file.tell()
        with background_process(_read_part) as read_part:
            rest = read_part(os.fspath(self._path), middle, end)
            self._take(file, middle)
            part = rest()
        if part is not None and part._file == self._file:
            self.lines.extend(part.lines)
            self.size = part.size

    def _take(self, file: BinaryIO, end: float = math.inf) -> None:
        """Take in the whole lines up to the end."""
        file.seek(self.size)
        self.torn = False
        for line in file:
            self.torn = not line.endswith(b"\n")
            if self.torn or self.size >= end:
                return
            try:
                self.lines.take(line)
            except InputError as error:
                number = f"{self._path}:{len(self.lines) + 1}"
                raise error.at(f"{number}: {error.field}" if error.field else number) from None
            self.size += len(line)


LARGE = 1 << 24
"""Bytes that are read while another process starts, about; of more it reads half of the rest."""


def _read_part(path: str, start: int, end: int) -> JournalReader:
    """A part of a journal."""
    reader = JournalReader(path)
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        reader._file, reader.size = (found.st_dev, found.st_ino), start
        reader._take(file, end)
    return reader


def read(path: str | os.PathLike[str]) -> tuple[Evaluations, int]:
    """All evaluations of a journal, and how many bytes its whole lines take.

    Raises:
        InputError: as `JournalReader.read_on`; or there is no file.
    """
    reader = JournalReader(path)
    found = reader.read_on()
    if reader.written is None:
        raise InputError("cannot be read (No such file or directory)", place=os.fspath(path))
    reader.lines.complete()
    return found, reader.size


def refuse_seeds_twice(lines: JournalLines, journal: Path) -> None:
    """Return if no seed of a config is in two final lines."""
    config, first, count, final = map(lines.column, ("config", "first", "count", "final"))
    order = np.flatnonzero(final)
    order = order[np.lexsort((first[order], config[order]))]
    end = first + count
    before, after = order[:-1], order[1:]
    twice = (config[before] == config[after]) & (end[before] > first[after])
    if twice.any():
        pairs = np.sort(np.stack([before[twice], after[twice]], axis=1), axis=1)
        earlier, later = pairs[np.argmin(pairs[:, 1])].tolist()
        raise InputError(
            f"seed {max(first[earlier], first[later])} of config {lines.keys[config[later]]} is "
            f"also in line {earlier + 1}",
            place=f"{journal}:{later + 1}",
            fix="two searches wrote here at once? delete one of the two lines",
        )


class Journal:
    """An open journal that takes evaluations; a context manager.

    A line is in the file when `append` returns: a killed process loses nothing of it. It is on the
    disk, where a power cut loses nothing of it either, when `settled` has reached its number: a
    thread brings to the disk what came in the meantime, all lines at once, without a line that
    waits for it. So that nothing is announced that may be lost:

        number = journal.append(evaluation)
        ...
        if journal.settled >= number:
            announce(evaluation)

    and, at the end, `journal.sync()`. After a failure of the disk nothing is settled any more, nor
    after somebody has replaced or removed the file: see `runs.journal`.

    Of a run in an object store a line is settled when it is in the store; see
    `runs.store`.

    Attributes:
        dropped: how many bytes of a torn last line were cut off when it was opened.
    """

    dropped = 0

    def __init__(self, fd: int, place: str, *, made: str | None, lock: RunLock | None) -> None:
        self._fd, self._place, self._made, self._lock = fd, place, made, lock
        self._appended = self._settled = 0
        self._synced = self._held = -math.inf
        self._failure: InputError | None = None
        self._closing = False
        self._news, self._disk = threading.Condition(), threading.Lock()
        self._line = threading.Lock()  # held while one is written
        self._guard = Guard(fd, place, lock)
        self._thread: threading.Thread | None = None
        self._segments: SegmentWriter | None = None

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        made: str | None = None,
        lock: RunLock | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Self:
        """Open for appending, after cutting a torn last line; the file need not exist.

        Args:
            path: of the file.
            made: the digest of what makes the lines, see `manifest.made_id`; with it each line
                gets the digest and the time.
            lock: of its run: while it is lost, nothing is appended.
            say: called with a sentence where a torn line is dropped.

        Raises:
            InputError: the file cannot be written, or another process has it open here.
        """
        place = os.fspath(path)
        new = not os.path.exists(place)  # noqa: PTH110  # a NUL is told below
        # No link, which may lead to a file that is no run's.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with writing(Path(place), fix=None):
            fd = os.open(path, flags, 0o666)
            try:
                # A second guard, of the kernel, beside the claim in `lock`.
                if flock(fd, exclusive=True) is False:
                    raise InputError(
                        "another search is writing this run",
                        place=place,
                        fix="wait for it, stop it, or give another --output",
                    )
                whole = _whole_lines(fd)
                if dropped := os.fstat(fd).st_size - whole:
                    os.ftruncate(fd, whole)
                if new:
                    _sync_folders(place)
                journal = cls(fd, place, made=made, lock=lock)
                journal.dropped, journal._segments = dropped, writer_for(as_path(path))
            except BaseException:
                os.close(fd)
                raise
        if dropped and say is not None:
            say(
                f"the last line of {place} was torn ({dropped:,} bytes) and is dropped: what it"
                " held is trained again"
            )
        return journal

    @property
    def appended(self) -> int:
        """How many lines were appended since it was opened."""
        return self._appended

    @property
    def settled(self) -> int:
        """How many of them, the first ones, are on the disk, or in the store."""
        return self._settled if self._segments is None else self._segments.settled

    def append(self, evaluation: Evaluation) -> int:
        """Write one line.

        Returns:
            Its number, from 1 for the first since the journal was opened.

        Raises:
            InputError: the disk refuses it (the file then still ends with the line before), the
                disk has lost lines before it, or the run is no longer this driver's.
        """
        self._refuse_after_failure()
        if self._lock is not None and time.monotonic() - self._held > HELD_SECONDS:
            self._lock.check()
            self._held = time.monotonic()
        now = min(max(int(time.time()), 0), MAX_TIME)  # a clock may be anywhere
        written = None if self._made is None else (self._made, now)
        line = encode(evaluation, written).encode("ascii") + b"\n"
        with self._line:
            self._write(line)
        with self._news:
            self._appended += 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._settle, name="xortune-journal", daemon=True
                )
                self._thread.start()
            if self._appended == self.settled + 1:  # else the thread is at it, or sees this
                self._news.notify()
        return self._appended

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._fd).st_size
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except BaseException as error:  # also an interrupt between two halves
            self._cut(before)
            if isinstance(error, OSError):
                raise self._told("cannot be written", error) from None
            raise

    def hurry(self) -> None:
        """The user has interrupted: wait for the store for some seconds only."""
        if self._segments is not None:
            self._segments.hurry()

    def sync(self) -> int:
        """Return when all lines are on the disk.

        Returns:
            `settled`.

        Raises:
            InputError: the disk failed, now or before.
        """
        self._bring()
        self._refuse_after_failure()
        return self.settled

    def close(self) -> None:
        """Bring everything to the disk, and the store; closing twice is harmless.

        Who is interrupted meanwhile waits for the store for some seconds more.

        Raises:
            InputError: the disk failed, or the store, now or before.
        """
        if self._fd < 0:
            return
        with self._news:
            self._closing = True
            self._news.notify()
        interrupt: KeyboardInterrupt | None = None
        try:
            self._bring()
        except KeyboardInterrupt as error:
            if self._segments is None:
                raise
            self.hurry()
            self._bring()
            interrupt = error
        if isinstance(self._failure, DisturbedError):  # whoever removes the run may not be done
            self._failure = self._guard.look() or self._failure
        os.close(self._fd)
        self._fd = -1
        if self._segments is not None:
            self._segments.close()
        self._refuse_after_failure()
        if interrupt is not None:
            raise interrupt

    def _bring(self) -> None:
        """Bring all lines to the disk, and to the store, unless either fails."""
        if self._closing and self._thread is not None:
            self._thread.join()
        self._sync()
        if self._segments is not None:
            self._segments.sync()

    def _settle(self) -> None:
        """The thread: first a line at once, then whatever came within a moment, together."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closing or self._appended > self.settled)
                pause = self._synced + FSYNC_SECONDS - time.monotonic()
                if pause > 0:
                    self._news.wait_for(lambda: self._closing, pause)
                if self._closing or self._failure is not None:
                    return
            self._sync()
            if self._segments is not None and not self._segments.put_due():
                return

    def _sync(self) -> None:
        with self._disk:  # one at a time, for the kernel tells of a failure only once
            wanted = self._appended
            if self._failure is not None:
                return
            try:
                if wanted != self._settled:
                    os.fsync(self._fd)
            except OSError as error:
                # What was not written is marked as written: the next fsync would succeed.
                self._failure = self._told("lines could not be written to the disk", error)
            else:
                with self._line:
                    self._failure = self._guard.look()
                if self._failure is None:
                    self._settled = wanted
            self._synced = time.monotonic()

    def _cut(self, size: int) -> None:
        """Half a line must not be continued by the next one."""
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            self._failure = self._told("half a line could not be removed", error)

    def _told(self, problem: str, error: OSError) -> InputError:
        fix = "when the disk is well again, continue with --resume; what is in the file is kept"
        if is_full(error):
            fix = f"{FREE_SPACE}; what is in the file is kept"
        return InputError(f"{problem} ({error.strerror})", place=self._place, fix=fix)

    def _refuse_after_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._segments is not None:
            self._segments.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.hurry()
        self.close()


@contextmanager
def held_journal(
    path: Path, made: str, *, say: Callable[[str], None] | None = None
) -> Iterator[Journal]:
    """A run's journal, open for appending, while nobody else writes to the run; see `Journal.open`.

    Raises:
        InputError: somebody else writes to the run, or it cannot be written.
    """
    with (
        held(path.parent, say=say) as lock,
        Journal.open(path, made=made, lock=lock, say=say) as journal,
    ):
        yield journal


def torn(path: str | os.PathLike[str]) -> int:
    """How many bytes follow the last whole line; while a search appends, it may be writing them."""
    with reading(Path(path)), open_regular(path) as file:
        whole = _whole_lines(file.fileno())
        return os.fstat(file.fileno()).st_size - whole


def _sync_folders(place: str) -> None:
    """Bring the name of a new file to the disk, and those of its directories, which may be new."""
    for level, folder in enumerate(Path(place).absolute().parents[:3]):  # runs/NAME/FILE
        try:
            fd = os.open(folder, os.O_RDONLY)
        except OSError:  # others' may be unreadable
            return
        try:
            os.fsync(fd)
        except OSError as error:
            if level == 0 and error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES):
                raise  # else there is no such thing here
        finally:
            os.close(fd)


def _whole_lines(fd: int) -> int:
    """The offset behind the last newline, read from the end."""
    end, step = os.fstat(fd).st_size, 1 << 16
    while end > 0:
        start = max(0, end - step)
        os.lseek(fd, start, os.SEEK_SET)
        found = os.read(fd, end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
