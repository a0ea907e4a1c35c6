"""The journal of a run: append-only, one line of JSON for each evaluated block of seeds."""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from xortune.core.errors import DisturbedError, InputError
from xortune.core.files import FREE_SPACE, is_full, open_regular, reading, writing
from xortune.runs.evaluation import MAX_TIME, Evaluation, Evaluations, JournalLines, encode
from xortune.runs.lock import RunLock, held
from xortune.runs.store import as_path, replace_file, segment_writer

# -------------------------------------------------------------------------------------------------
# Detects that a run's files are replaced, removed or moved while a search writes to them.
#
# A process goes on writing to a file whose name was taken by another file: its lines are lost when
# it ends. So whoever syncs the journal checks that the file still has its name; otherwise the
# search stops, and all lines are kept in a file beside it.

BESIDE = ("manifest.json", "space.yaml")
"""The other files without which a run cannot be resumed."""


class Guard:
    """Watches an open journal and the files beside it."""

    def __init__(self, fd: int, place: str, lock: RunLock | None) -> None:
        self._fd, self._place, self._shown = fd, Path(os.path.realpath(place)), place
        writer = f"{os.getpid()}" if lock is None else lock.writer
        self._kept = self._place.with_name(f"{self._place.stem}.kept-{writer}.jsonl")
        self._known, self._is_disturbed = _identity(self._place), False
        self._beside: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self.look()

    def look(self) -> DisturbedError | None:
        """Return None if nothing was disturbed; otherwise keep all lines and say what happened.

        The caller holds the lock under which lines are written.
        """
        removed = [name for name in BESIDE if not self._remember(name)]
        self._is_disturbed |= _identity(self._place) != self._known
        try:
            if self._is_disturbed:
                self._keep()
            for name in removed:
                self._place.with_name(name).write_bytes(self._beside[name][1])
        except OSError as error:
            return DisturbedError(
                "was replaced, removed or moved while this search wrote to it, and its lines could "
                f"not be kept ({error.strerror})",
                place=self._shown,
                fix="make the directory writable; --resume trains the missing seeds again",
            )
        if self._is_disturbed:
            kept = Path(self._shown).with_name(self._kept.name)
            return DisturbedError(
                "was replaced, removed or moved while this search wrote to it; what is there now "
                f"is left as it is, and all lines of this search are in {kept}",
                place=self._shown,
                fix=f"rename the right one of the two to {self._place.name}, then --resume",
            )
        if removed:
            return DisturbedError(
                "was removed while this search wrote to its run; the search has written it again",
                place=str(self._place.with_name(removed[0])),
                fix="do not touch the files of a run that is being written; continue with --resume",
            )
        return None

    def _remember(self, name: str) -> bool:
        """Remember the content of a file beside the journal; False if it has been removed."""
        place = self._place.with_name(name)
        try:
            status = place.lstat()
            known = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
            if name not in self._beside or self._beside[name][0] != known:
                with open_regular(place) as file:
                    self._beside[name] = known, file.read()
        except FileNotFoundError:
            return name not in self._beside
        except OSError:  # reported by those who need its content
            pass
        return True

    def _keep(self) -> None:
        """Write all lines to the file beside the journal."""
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.dup(self._fd), "rb") as lines:
            lines.seek(0)
            replace_file(self._kept, lambda file: shutil.copyfileobj(lines, file))
        self._kept.chmod(os.fstat(self._fd).st_mode & 0o777)


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        status = place.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


# -------------------------------------------------------------------------------------------------
# A whole line ends in a newline. Readers ignore a last line without one, torn off by a crash; the
# next writer cuts it off.

HELD_SECONDS = 0.01
"""Minimum time between two checks that this driver holds the run: a batch's lines come at once."""

FSYNC_SECONDS = 0.2
"""Maximum time until an appended line is on the disk, about, while lines keep coming."""


class JournalReader:
    """Reads a journal, and later the lines appended since: each line once.

    Attributes:
        lines: all lines read so far.
        size: their size in bytes.
        torn: whether a line without its newline follows: it is being written, or a crash tore it.
        written: when the file was last written to, in seconds since 1970; None without a file.

    Args:
        path: the file, which need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._begin()

    def _begin(self) -> None:
        self.lines, self.size, self.torn = JournalLines(), 0, False
        self.written: float | None = None
        self._file: tuple[int, int] | None = None

    def read_on(self) -> Evaluations:
        """Read the whole lines appended since the last call; all lines if the file was replaced.

        Raises:
            InputError: the file cannot be read, a line is malformed (the error has file:line), or
                a seed of one configuration is in two final lines.
        """
        with reading(self._path):
            try:
                file = open_regular(self._path)
            except FileNotFoundError:
                self._begin()
                return Evaluations(self.lines, np.arange(0))
        with file, reading(self._path):
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if self._file not in (None, identity) or status.st_size < self.size:
                self._begin()
            self._file, self.written, known = identity, status.st_mtime, len(self.lines)
            try:
                self._take(file)
                if len(self.lines) > known:
                    refuse_seeds_twice(self.lines, self._path)
            except InputError:
                self._begin()
                if not known:
                    raise
                return self.read_on()  # the file was cut and written again: read all of it
        return Evaluations(self.lines, np.arange(known, len(self.lines)))

    def _take(self, file: BinaryIO) -> None:
        """Read the whole lines."""
        file.seek(self.size)
        self.torn = False
        for line in file:
            self.torn = not line.endswith(b"\n")
            if self.torn:
                return
            try:
                self.lines.append(line)
            except InputError as error:
                place = f"{self._path}:{len(self.lines) + 1}"
                raise error.at(f"{place}: {error.field}" if error.field else place) from None
            self.size += len(line)


def read(path: str | os.PathLike[str]) -> Evaluations:
    """All evaluations of a journal.

    Raises:
        InputError: as `JournalReader.read_on`, or there is no file.
    """
    reader = JournalReader(path)
    evaluations = reader.read_on()
    if reader.written is None:
        raise InputError("cannot be read (No such file or directory)", place=os.fspath(path))
    return evaluations


def refuse_seeds_twice(lines: JournalLines, journal: Path) -> None:
    """Refuse a journal with two final lines for one seed of a configuration."""
    config, first, count = map(lines.column, ("config", "first", "count"))
    order = np.flatnonzero(lines.column("final"))
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
    """A journal that is open for appending; a context manager.

    When `append` returns, the line is in the file: a killed process does not lose it. When
    `settled` has reached the line's number, it is on the disk: a power cut does not lose it. A
    thread syncs all lines that came meanwhile at once; no line waits for it. Announce only what
    cannot be lost any more:

        number = journal.append(evaluation)
        ...
        if journal.settled >= number:
            announce(evaluation)

    and call `journal.sync()` at the end. Nothing settles any more after the disk has failed, or
    somebody has replaced or removed the file (see the top of this module). For a run in an object
    store a line settles when it is in the store; see `runs.store`.

    Opening it cuts a torn last line.

    Attributes:
        appended: number of lines appended since it was opened.

    Args:
        path: the file, which need not exist.
        fingerprint: of what makes the lines, see `manifest.fingerprint_of`; with it each line gets
            this and the time.
        lock: of the run; once it is lost, nothing is appended.
        on_message: called with a sentence if a torn line is dropped.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fingerprint: str | None = None,
        lock: RunLock | None = None,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        place = self._place = os.fspath(path)
        self._fingerprint, self._lock = fingerprint, lock
        self.appended = self._settled = 0
        self._synced = self._held = -math.inf
        self._failure: InputError | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._syncing = threading.Lock()  # held by whoever syncs
        self._writing = threading.Lock()  # held while a line is written
        self._thread: threading.Thread | None = None
        new = not os.path.exists(place)  # noqa: PTH110  # raises nothing for a NUL
        # O_NOFOLLOW: a link might lead to a file outside of the run.
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with writing(Path(place), fix=None):
            fd = self._fd = os.open(path, flags, 0o666)
            try:
                whole = _whole_lines(fd)
                if dropped := os.fstat(fd).st_size - whole:
                    os.ftruncate(fd, whole)
                if new:
                    _sync_folders(place)
                self._guard = Guard(fd, place, lock)
                self._segments = segment_writer(as_path(path))
            except BaseException:
                os.close(fd)
                raise
        if dropped and on_message is not None:
            on_message(
                f"the last line of {place} was torn ({dropped:,} bytes) and is dropped: what it"
                " held is trained again"
            )

    @property
    def settled(self) -> int:
        """How many of the appended lines, the first ones, are on the disk, or in the store."""
        return self._settled if self._segments is None else self._segments.settled

    def append(self, evaluation: Evaluation) -> int:
        """Write one line.

        Returns:
            Its number; the first one since the journal was opened has 1.

        Raises:
            InputError: the disk refuses it (the file keeps the lines before it whole), an earlier
                sync failed, or this driver has lost the run.
        """
        self._refuse_after_failure()
        if self._lock is not None and time.monotonic() - self._held > HELD_SECONDS:
            self._lock.check()
            self._held = time.monotonic()
        now = min(max(int(time.time()), 0), MAX_TIME)  # clocks can be wrong
        written = None if self._fingerprint is None else (self._fingerprint, now)
        line = encode(evaluation, written).encode("ascii") + b"\n"
        with self._writing:
            self._write(line)
        with self._changed:
            self.appended += 1
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._sync_repeatedly, name="xortune-journal", daemon=True
                )
                self._thread.start()
            if self.appended == self.settled + 1:  # otherwise the thread is busy and will see it
                self._changed.notify()
        return self.appended

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._fd).st_size
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except BaseException as error:  # also an interrupt between two halves
            try:
                os.ftruncate(self._fd, before)  # the next line must not continue half a line
            except OSError as cut:
                self._failure = self._disk_error("half a line could not be removed", cut)
            if isinstance(error, OSError):
                raise self._disk_error("cannot be written", error) from None
            raise

    def hurry(self) -> None:
        """After an interrupt: wait for the store for some seconds only."""
        if self._segments is not None:
            self._segments.hurry()

    def sync(self) -> int:
        """Wait until all lines are on the disk, and return `settled`.

        Raises:
            InputError: the disk or the store failed, now or before.
        """
        self._flush()
        self._refuse_after_failure()
        return self.settled

    def close(self) -> None:
        """Sync and close; closing twice is harmless.

        After an interrupt it waits for the store for some seconds more.

        Raises:
            InputError: the disk or the store failed, now or before.
        """
        if self._fd < 0:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        interrupt: KeyboardInterrupt | None = None
        try:
            self._flush()
        except KeyboardInterrupt as error:
            if self._segments is None:
                raise
            self.hurry()
            self._flush()
            interrupt = error
        if isinstance(self._failure, DisturbedError):  # more files may be gone by now
            self._failure = self._guard.look() or self._failure
        os.close(self._fd)
        self._fd = -1
        if self._segments is not None:
            self._segments.close()
        self._refuse_after_failure()
        if interrupt is not None:
            raise interrupt

    def _flush(self) -> None:
        """Write all lines to the disk, and to the store; failures are remembered, not raised."""
        if self._closing and self._thread is not None:
            self._thread.join()
        self._sync()
        if self._segments is not None:
            self._segments.sync()

    def _sync_repeatedly(self) -> None:
        """The thread: sync the first line at once, later ones together every `FSYNC_SECONDS`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self.appended > self.settled)
                pause = self._synced + FSYNC_SECONDS - time.monotonic()
                if pause > 0:
                    self._changed.wait_for(lambda: self._closing, pause)
                if self._closing or self._failure is not None:
                    return
            self._sync()
            if self._segments is not None and not self._segments.put_due():
                return

    def _sync(self) -> None:
        with self._syncing:  # one at a time: the kernel reports a failure only once
            appended = self.appended
            if self._failure is not None:
                return
            try:
                if appended != self._settled:
                    os.fsync(self._fd)
            except OSError as error:
                # The kernel marks the lost pages as clean: another fsync would seem to succeed.
                self._failure = self._disk_error("lines could not be written to the disk", error)
            else:
                with self._writing:
                    # Meanwhile half a line may have been left in the file.
                    self._failure = self._failure or self._guard.look()
                if self._failure is None:
                    self._settled = appended
            self._synced = time.monotonic()

    def _disk_error(self, problem: str, error: OSError) -> InputError:
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
    path: Path, fingerprint: str, *, on_message: Callable[[str], None] | None = None
) -> Iterator[Journal]:
    """Hold a run and open its journal for appending; see `Journal`.

    Raises:
        InputError: another process holds the run, or it cannot be written.
    """
    with (
        held(path.parent, on_message=on_message) as lock,
        Journal(path, fingerprint=fingerprint, lock=lock, on_message=on_message) as journal,
    ):
        yield journal


def torn(path: str | os.PathLike[str]) -> int:
    """Bytes after the last whole line; a search that appends may be writing them."""
    with reading(Path(path)), open_regular(path) as file:
        whole = _whole_lines(file.fileno())
        return os.fstat(file.fileno()).st_size - whole


def _sync_folders(place: str) -> None:
    """Sync the directories of a new file, which may be new as well."""
    for level, folder in enumerate(Path(place).absolute().parents[:3]):  # runs/NAME/FILE
        try:
            fd = os.open(folder, os.O_RDONLY)
        except OSError:  # a parent may be unreadable
            return
        try:
            os.fsync(fd)
        except OSError as error:
            if level == 0 and error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES):
                raise  # these errors: the file system cannot sync directories
        finally:
            os.close(fd)


def _whole_lines(fd: int) -> int:
    """The offset behind the last newline, read from the end."""
    end, step = os.fstat(fd).st_size, 1 << 16
    while end > 0:
        start = max(0, end - step)
        os.lseek(fd, start, os.SEEK_SET)
        newline = os.read(fd, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
