"""The journal of a run: append-only, one line of JSON for each evaluated block of seeds.

This file reads it (`JournalReader`, `read`), appends to it (`Journal`), and watches that nobody
replaces it meanwhile (`Guard`). What a line holds is in `runs.evaluation`.

A whole line ends in a newline. A crash may tear the last line: readers ignore a line without its
newline, and the next writer cuts it off.
"""

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
# Reading.


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
        self._file: os.stat_result | None = None

    def read_on(self) -> Evaluations:
        """Read the whole lines appended since the last call, and return those that count.

        All lines, if the file was replaced.

        Raises:
            InputError: the file cannot be read, a line is malformed (the error has file:line), or
                a seed of one configuration is in two final lines.
        """
        with reading(self._path):
            try:
                file = open_regular(self._path)
            except FileNotFoundError:
                self._begin()
                return Evaluations(self.lines)
        with file, reading(self._path):
            if self._is_another(os.fstat(file.fileno())):
                self._begin()
            self._file = os.fstat(file.fileno())
            self.written = self._file.st_mtime
            known = len(self.lines)
            try:
                self._take_lines(file)
                if len(self.lines) > known:
                    refuse_seeds_twice(self.lines, self._path)
            except InputError:
                self._begin()
                if not known:
                    raise
                return self.read_on()  # the file was cut and written again: read all of it
        standing = self.lines.standing
        return Evaluations(self.lines, standing[standing >= known])

    def _is_another(self, now: os.stat_result) -> bool:
        """Whether the file was replaced or shortened since the last call."""
        known = self._file
        return known is not None and (not os.path.samestat(known, now) or now.st_size < self.size)

    def _take_lines(self, file: BinaryIO) -> None:
        """Take the whole lines behind those that were read."""
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
    """All evaluations of a journal that count.

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
    standing = lines.standing
    order = standing[lines.column("final")[standing] > 0]
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


def torn(path: str | os.PathLike[str]) -> int:
    """Bytes after the last whole line; a search that appends may be writing them."""
    with reading(Path(path)), open_regular(path) as file:
        whole = _whole_lines(file.fileno())
        return os.fstat(file.fileno()).st_size - whole


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


# -------------------------------------------------------------------------------------------------
# Appending.

HELD_SECONDS = 0.01
"""Minimum time between two checks that this driver holds the run: a batch's lines come at once."""

FSYNC_SECONDS = 0.2
"""Maximum time until an appended line is on the disk, about, while lines keep coming."""


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
    somebody has replaced or removed the file (see `Guard`). For a run in an object store a line
    settles when it is in the store; see `runs.store`.

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
        self._place, self._fingerprint, self._lock = os.fspath(path), fingerprint, lock
        self.appended = self._synced = 0  # numbers of lines
        self._failure: InputError | None = None
        self._held_at = self._synced_at = -math.inf
        self._closing = False
        # `append` writes the file and `_size` under `_writing`, then `appended` under `_changed`.
        # Whoever syncs, a caller or the thread, writes `_synced` and `_synced_at` under `_syncing`.
        # Both write `_failure` under their lock; `close` writes `_closing` under `_changed`.
        # `_writing` is taken within `_syncing`, for the guard's look; `_changed` with neither.
        self._changed = threading.Condition()  # of what the thread waits for
        self._syncing = threading.Lock()  # held by whoever syncs
        self._writing = threading.Lock()  # held while a line is written
        self._thread: threading.Thread | None = None
        with writing(Path(self._place), fix=None):
            self._file, self._size, torn = _opened(self._place)
            try:
                writer = f"{os.getpid()}" if lock is None else lock.writer
                self._guard = Guard(self._file, self._place, writer)
                self._segments = segment_writer(as_path(path))
            except BaseException:
                os.close(self._file)
                raise
        if torn and on_message is not None:
            on_message(
                f"the last line of {self._place} was torn ({torn:,} bytes) and is dropped: "
                "what it held is trained again"
            )

    @property
    def settled(self) -> int:
        """How many of the appended lines, the first ones, are on the disk, or in the store."""
        return self._synced if self._segments is None else self._segments.settled

    def append(self, evaluation: Evaluation) -> int:
        """Write one line.

        Returns:
            Its number; the first one since the journal was opened has 1.

        Raises:
            InputError: the disk refuses it (the file keeps the lines before it whole), an earlier
                sync failed, or this driver has lost the run.
        """
        self._refuse_after_failure()
        if self._lock is not None and time.monotonic() - self._held_at > HELD_SECONDS:
            self._lock.check()
            self._held_at = time.monotonic()
        now = min(max(round(time.time(), 3), 0.0), float(MAX_TIME))  # clocks can be wrong
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
        before, rest = os.fstat(self._file).st_size, line
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException as error:  # also an interrupt between two halves
            try:
                os.ftruncate(self._file, before)  # the next line must not continue half a line
            except OSError as cut:
                self._failure = self._disk_error("half a line could not be removed", cut)
            if isinstance(error, OSError):
                raise self._disk_error("cannot be written", error) from None
            raise
        self._size += len(line)

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

        After an interrupt it syncs again, and waits for the store for some seconds more. A second
        interrupt ends that.

        Raises:
            InputError: the disk or the store failed, now or before.
        """
        if self._file < 0:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        interrupt: KeyboardInterrupt | None = None
        try:
            self._flush()
        except KeyboardInterrupt as error:
            self.hurry()
            self._flush()
            interrupt = error
        if isinstance(self._failure, DisturbedError):  # more files may be gone by now
            self._failure = self._guard.look(self._size) or self._failure
        os.close(self._file)
        self._file = -1
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
                pause = self._synced_at + FSYNC_SECONDS - time.monotonic()
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
                if appended != self._synced:
                    os.fsync(self._file)
            except OSError as error:
                # The kernel marks the lost pages as clean: another fsync would seem to succeed.
                self._failure = self._disk_error("lines could not be written to the disk", error)
            else:
                with self._writing:
                    # Meanwhile half a line may have been left in the file.
                    self._failure = self._failure or self._guard.look(self._size)
                if self._failure is None:
                    self._synced = appended
            self._synced_at = time.monotonic()

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


def _opened(place: str) -> tuple[int, int, int]:
    """Open or create a journal, and cut off a torn last line.

    Returns:
        The file descriptor, the size of the whole lines in bytes, and that of the torn one.
    """
    is_new = not os.path.exists(place)  # noqa: PTH110  # raises nothing for a NUL
    # O_NOFOLLOW: a link might lead to a file outside of the run.
    file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    try:
        whole = _whole_lines(file)
        torn = os.fstat(file).st_size - whole
        if torn:
            os.ftruncate(file, whole)
        if is_new:
            _sync_folders(place)
    except BaseException:
        os.close(file)
        raise
    return file, whole, torn


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


# -------------------------------------------------------------------------------------------------
# Somebody else at the files of a run.

BESIDE = ("manifest.json", "space.yaml")
"""The files beside the journal without which a run cannot be resumed."""

DO_NOT_TOUCH = "do not touch the files of a run that is being written"


class Guard:
    """Notices that somebody replaces, removes, moves or shortens a run's files while it is written.

    A process goes on writing to a file whose name another file has taken, and these lines would be
    gone with the process. So whoever syncs the journal looks whether the open file still has its
    name and its lines. If not, the search stops. What it still has is written beside the journal:
    the lines of the open file into one new file, and a removed manifest or space in its place.

    Args:
        file: the open journal.
        place: its path.
        writer: a name for this search, which no other search of the run has.
    """

    def __init__(self, file: int, place: str, writer: str) -> None:
        self._file, self._shown, self._place = file, Path(place), Path(os.path.realpath(place))
        self._kept = f"{self._place.stem}.kept-{writer}.jsonl"
        self._beside: dict[str, bytes] = {}
        self.look(0)

    def look(self, size: int) -> DisturbedError | None:
        """Return None if nothing was disturbed; otherwise write what is left, and say what it is.

        The caller holds the lock under which lines are written. The journal had `size` bytes.
        """
        removed = [name for name in BESIDE if self._is_removed(name)]
        has_name = self._has_name()
        try:
            if not has_name:
                self._keep_lines()
            for name in removed:
                self._place.with_name(name).write_bytes(self._beside[name])
        except OSError as error:
            return DisturbedError(
                "was replaced, removed or moved while this search wrote to it, and its lines could "
                f"not be kept ({error.strerror})",
                place=str(self._shown),
                fix="make the directory writable; --resume trains the missing seeds again",
            )
        if not has_name:
            is_replaced = os.path.lexists(self._place)
            left = "what is there now is left as it is, and " if is_replaced else ""
            right = "the right one of the two" if is_replaced else "it"
            return DisturbedError(
                f"was replaced, removed or moved while this search wrote to it; {left}all lines of "
                f"this search are in {self._shown.with_name(self._kept)}",
                place=str(self._shown),
                fix=f"rename {right} to {self._place.name}, then --resume",
            )
        if os.fstat(self._file).st_size < size:
            return DisturbedError(
                "was shortened while this search wrote to it: lines that were in it are gone",
                place=str(self._shown),
                fix="restore the file if you have a copy; --resume trains the missing seeds again",
            )
        if removed:
            return DisturbedError(
                "was removed while this search wrote to its run; the search has written it again",
                place=str(self._shown.with_name(removed[0])),
                fix=f"{DO_NOT_TOUCH}; continue with --resume",
            )
        return None

    def _has_name(self) -> bool:
        """Whether the open journal is still the file at its path."""
        try:
            return os.path.samestat(os.fstat(self._file), self._place.lstat())
        except OSError:
            return False

    def _is_removed(self, name: str) -> bool:
        """Whether a file beside the journal has been removed; otherwise remember its content."""
        try:
            with open_regular(self._place.with_name(name)) as file:
                self._beside[name] = file.read()
        except FileNotFoundError:
            return name in self._beside
        except OSError:  # reported by those who need its content
            pass
        return False

    def _keep_lines(self) -> None:
        """Copy the open file, which may have no name any more, to one beside the journal."""
        kept = self._place.with_name(self._kept)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(0)
            replace_file(kept, lambda file: shutil.copyfileobj(lines, file))
        kept.chmod(os.fstat(self._file).st_mode & 0o777)
