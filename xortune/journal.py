"""The journal of a run: append-only, one line of JSON for each evaluated block of seeds.

A line is complete (it ends in a newline) or it was torn by a crash and is ignored.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType

from xortune.errors import InputError
from xortune.evaluation import Evaluation, decode, encode
from xortune.files import open_regular

__all__ = ["Journal", "read"]

FSYNC_SECONDS = 0.2  # a power cut loses at most this much; a killed process loses nothing


def read(path: str | os.PathLike[str]) -> tuple[list[Evaluation], int]:
    """All evaluations of a journal, and how many bytes its whole lines take.

    What follows the last newline was torn off by a crash and is dropped; the byte count lets an
    appender cut it.

    Raises:
        InputError: a file that cannot be read, a malformed line (with file:line), a seed of one
            config in two final evaluations.
    """
    place = os.fspath(path)
    evaluations: list[Evaluation] = []
    size = 0
    try:
        with open_regular(path) as file, _no_collection():
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    evaluations.append(decode(line.decode("ascii")))
                except UnicodeDecodeError:
                    raise InputError("is no JSON", place=f"{place}:{number}") from None
                except InputError as error:
                    field = f": {error.field}" if error.field else ""
                    raise error.at(f"{place}:{number}{field}") from None
                size += len(line)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", place=place) from None
    _refuse_overlaps(evaluations, place)
    return evaluations, size


@contextmanager
def _no_collection() -> Iterator[None]:
    # Of many small objects that all stay, Python's collector looks at each again and again.
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Journal:
    """An open journal that takes evaluations; a context manager.

    A line is in the file when `append` returns, and on the disk 0.2 s later at most while lines
    keep coming, or when the journal is closed.
    """

    def __init__(self, fd: int, place: str) -> None:
        self._fd, self._place, self._synced = fd, place, -math.inf

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Journal:
        """Open for appending, after cutting a torn last line; the file need not exist.

        Raises:
            InputError: the file cannot be written, or another process has it open here.
        """
        place = os.fspath(path)
        try:
            binary = getattr(os, "O_BINARY", 0)  # Windows would write its own line ends
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | binary, 0o666)
        except OSError as error:
            raise InputError(f"cannot be written ({error.strerror})", place=place) from None
        try:
            _lock(fd, place)
            os.ftruncate(fd, _whole_lines(fd))
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, place)

    def append(self, evaluation: Evaluation) -> None:
        """Write one line.

        Raises:
            InputError: the disk refuses it; the file then still ends with the line before.
        """
        line = encode(evaluation).encode("ascii") + b"\n"
        before = os.fstat(self._fd).st_size
        try:
            while line:
                line = line[os.write(self._fd, line) :]
            if time.monotonic() - self._synced >= FSYNC_SECONDS:
                self._sync()
        except OSError as error:
            # Half a line must not be continued by the next one.
            os.ftruncate(self._fd, before)
            raise InputError(f"cannot be written ({error.strerror})", place=self._place) from None

    def close(self) -> None:
        """Bring everything to the disk; closing twice is harmless."""
        if self._fd >= 0:
            self._sync()
            os.close(self._fd)
            self._fd = -1

    def _sync(self) -> None:
        os.fsync(self._fd)
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _lock(fd: int, place: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no flock
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            "another search is writing this run",
            place=place,
            fix="wait for it, stop it, or give another --output",
        ) from None
    except OSError:  # a file system without locks
        return


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


def _refuse_overlaps(evaluations: Iterable[Evaluation], place: str) -> None:
    spans: dict[str, list[tuple[int, int, int]]] = {}
    for line, evaluation in enumerate(evaluations, 1):
        block = evaluation.block
        if evaluation.final:
            span = (block.first, block.first + block.count, line)
            spans.setdefault(block.point.key, []).append(span)
    for key, found in spans.items():
        for (_, end, line), (start, _, other) in pairwise(sorted(found)):
            if start < end:
                raise InputError(
                    f"seed {start} of config {key} is also in line {min(line, other)}",
                    place=f"{place}:{max(line, other)}",
                    fix="two searches wrote here at once? delete one of the two lines",
                )
