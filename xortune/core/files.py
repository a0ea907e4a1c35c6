"""Reads files that others may have made, safely; hides passwords of URLs."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from xortune.core.errors import InputError

# -------------------------------------------------------------------------------------------------
# Reading files that somebody else may have made: nothing blocks, runs or never ends.

FREE_SPACE = "free space there, then continue with --resume"
"""What to do about a full disk."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

MAX_BYTES = 64_000_000
"""Of a file that is read whole; a journal is read line by line."""

LINK = "is a symbolic link; a run has its files themselves: cp -L"


def is_full(error: BaseException) -> bool:
    """Whether a disk, a quota or a limit of files is full, by an error or any that led to it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno in _FULL:
            return True
        waiting += [one.__cause__, one.__context__]
    return False


def open_regular(path: str | os.PathLike[str], *, follow: bool = False) -> BinaryIO:
    """Open a file for reading if it is one: a pipe would block, a device may never end.

    Args:
        path: of the file.
        follow: whether a symbolic link leads to it. The files of a run are none: a run that was
            got from somebody must not lead to what else is on the disk.

    Raises:
        OSError: there is none, it is something else, or it may not be read.
        ValueError: a NUL in the path.
    """
    # Without O_NONBLOCK opening a pipe waits for somebody who writes into it.
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and Path(path).is_symlink():
            raise OSError(errno.ELOOP, LINK, os.fspath(path)) from None
        raise
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        what = "Is a directory" if stat.S_ISDIR(mode) else "is no regular file"
        raise OSError(errno.EINVAL, what, os.fspath(path))
    return os.fdopen(fd, "rb")


def text_of(place: Path) -> str:
    """The text of a run's file of at most 64 MB; a mark of UTF-8 at its beginning is left out.

    Raises:
        InputError: it cannot be read, is larger, or is not UTF-8 text.
    """
    with reading(place), open_regular(place) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(min(size, MAX_BYTES) + 1)  # what is asked for is allocated at once
    if len(data) > MAX_BYTES:
        raise InputError("is too large", place=str(place), allowed=f"{MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error})", place=str(place)) from None


def csv_rows(
    path: str | os.PathLike[str], delimiters: Sequence[str] = ",", *, most: int | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, its header first, each with the line on which it begins.

    Args:
        path: of the file, UTF-8; a link to one is followed.
        delimiters: that one of them is taken which cuts the header most often, the first of equals.
        most: bytes that the file may have, where all its rows are kept as text; None for any.

    Raises:
        InputError: a file that cannot be read or decoded or is larger, no rows below a header, a
            column name that is empty or given twice, a row of another length.
    """
    place, width, count = os.fspath(path), 0, 0
    with (
        reading(Path(path)),
        TextIOWrapper(open_regular(path, follow=True), encoding="utf-8-sig", newline="") as text,
    ):
        if most is not None and os.fstat(text.fileno()).st_size > most:
            raise InputError("is too large", place=place, allowed=f"{most:,} bytes")

        def cut(sign: str, *, strict: bool) -> Iterator[tuple[int, list[str]]]:
            text.seek(0)
            reader, line = csv.reader(text, delimiter=sign, strict=strict), 1
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1

        try:
            widths = {sign: len(next(cut(sign, strict=False), (0, ""))[1]) for sign in delimiters}
            for line, found in cut(max(widths, key=widths.__getitem__), strict=True):
                row = found if count else [name.strip() for name in found]
                if not count:
                    width = len(row)
                    if len(set(row)) < width or "" in row:
                        raise InputError(
                            "a column name is empty or given twice",
                            place=f"{place}:{line}",
                            fix="give every column a name of its own",
                        )
                if len(row) != width:
                    problem = f"{len(row)} values for {width} columns"
                    raise InputError(problem, place=f"{place}:{line}")
                yield line, row
                count += 1
        except (UnicodeDecodeError, csv.Error) as error:
            what, fix = "CSV", None
            if isinstance(error, UnicodeDecodeError):
                what, fix = "UTF-8", "save it as UTF-8"
            raise InputError(f"is not {what} text ({error})", place=place, fix=fix) from None
    if count < 2:
        raise InputError("no rows below a header", place=place, fix="add a header line and rows")


def json_of(place: Path) -> Any:
    """What a file of JSON says; its numbers are finite.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    text = text_of(place)
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON ({error})", place=str(place)) from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not finite")
    return number


def reading(place: Path) -> AbstractContextManager[None]:
    """Within it a place is read: what the file system refuses is an InputError."""
    return _refusing("read", place, None, None)


def writing(
    place: Path,
    fix: str | None = "give another directory with --output",
    full: str = FREE_SPACE,
) -> AbstractContextManager[None]:
    """Within it a place is written to; the second fix is that of a full disk.

    Raises:
        InputError: the file system does not let us write there, or the disk is full.
    """
    return _refusing("written", place, fix, full)


@contextmanager
def _refusing(what: str, place: Path, fix: str | None, full: str | None) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = f"cannot be {what} ({getattr(error, 'strerror', None) or error})"
        raise InputError(problem, place=str(place), fix=full if is_full(error) else fix) from None


_PASSWORD = re.compile(r"(?<=://)([^:/@]*):.*@")


def without_password(url: str) -> str:
    """The URL with asterisks for its password; any other text as it is."""
    return _PASSWORD.sub(r"\1:***@", url)


def without_passwords(words: Sequence[str]) -> list[str]:
    """The words of a command line, each without the password that its URL may have."""
    return [without_password(word) for word in words]
