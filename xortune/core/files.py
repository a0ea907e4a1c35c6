"""Safe reading of untrusted files, errors of the file system as InputError, hidden passwords."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from xortune.core.errors import InputError

COPY_THE_RUN = "make it writable, or copy the run to where you may write"

ANOTHER_OUTPUT = "give another directory with --output"

FREE_SPACE = "free space there, then continue with --resume"
"""The fix for a full disk."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

MAX_BYTES = 64_000_000
"""Maximum size of a file that is read whole; a journal is read line by line."""

LINK = "is a symbolic link; a run has its files themselves: cp -L"


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, means a full disk, quota or file-size limit."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        waiting += [cause.__cause__, cause.__context__]
    return False


def open_regular(path: str | os.PathLike[str], *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading. A pipe would block, and a device may never end.

    Args:
        path: of the file.
        follow: whether to follow a symbolic link. The files of a run are never links: a run from
            somebody else must not lead to other files of this disk.

    Raises:
        OSError: the file does not exist, is not regular, or may not be read.
        ValueError: a NUL in the path.
    """
    # Without O_NONBLOCK opening a pipe waits for a writer.
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
    """The text of a run's file, without a byte order mark.

    Raises:
        InputError: the file cannot be read, is larger than `MAX_BYTES`, or is not UTF-8 text.
    """
    with reading(place), open_regular(place) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(min(size, MAX_BYTES) + 1)  # read allocates all that it may return
    if len(data) > MAX_BYTES:
        raise InputError("is too large", place=str(place), allowed=f"{MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error})", place=str(place)) from None


def json_of(place: Path) -> Any:
    """The value of a JSON file, whose numbers are finite.

    Raises:
        InputError: the file cannot be read, or is not JSON.
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
    """Within this context an error of the file system is an InputError about reading a place."""
    return _refusing("read", place, None, None)


def writing(
    place: Path,
    fix: str | None = COPY_THE_RUN,
    full: str = FREE_SPACE,
) -> AbstractContextManager[None]:
    """Within this context an error of the file system is an InputError about writing a place.

    Args:
        place: that is written.
        fix: for the message.
        full: the fix if the disk is full.
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
    """A URL with asterisks for its password; any other text unchanged."""
    return _PASSWORD.sub(r"\1:***@", url)


def without_passwords(words: Sequence[str]) -> list[str]:
    """The words of a command line, without the passwords in URLs."""
    return [without_password(word) for word in words]
