"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from xortune.core.errors import InputError
from xortune.runs.store import StoredPath, copy_unwritable, stored

Content: TypeAlias = bytes | Callable[[BinaryIO], object]
"""Of a file: all of it, or what writes it, for one that is too large to be in memory as well."""


def write_texts(directory: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write texts, by file name, into a directory that is made if it is not there.

    Returns:
        The paths of the files.

    Raises:
        InputError: the directory cannot be made or written.
    """
    for name, text in texts.items():
        with told_where_unwritable(directory / name):
            directory.mkdir(parents=True, exist_ok=True)
            replace_file(directory / name, text.encode())
    return tuple(directory / name for name in texts)


@contextmanager
def told_where_unwritable(place: Path) -> Iterator[None]:
    """What the file system refuses as an InputError, for commands with an --output."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot be written ({reason})",
            place=str(place),
            fix="give another directory with --output",
        ) from None


def replace_file(path: Path, content: Content) -> None:
    """Write a file beside its place, then rename it, so that a reader sees all of it or nothing.

    Of a run in an object store it is written there too.

    Raises:
        OSError: the directory cannot be written; what was there before is untouched.
        InputError: of such a run: the copy cannot be written, the store fails, or the run is no
            longer this driver's.
    """
    try:
        _replace(path, content)
    except OSError as error:
        if isinstance(path, StoredPath):
            raise copy_unwritable(path, error) from None
        raise
    if isinstance(path, StoredPath):
        stored(path, content if isinstance(content, bytes) else path.read_bytes())


def remove_file(path: Path) -> None:
    """Remove a file, if it is there; of a run in an object store there too.

    Raises:
        OSError: the directory cannot be written.
        InputError: of such a run: the store fails, or the run is no longer this driver's.
    """
    path.unlink(missing_ok=True)
    stored(path, None)


def _replace(path: Path, content: Content) -> None:
    fd, temporary = _temporary(path)
    try:
        with os.fdopen(fd, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
            if temporary is None:
                name = Path(path.parent, f".{path.name}.{secrets.token_hex(4)}")
                # With a `src_dir_fd`, for only then the link is followed to the file itself.
                os.link(f"/proc/self/fd/{file.fileno()}", name, src_dir_fd=file.fileno())
                temporary = name
            else:
                mask = os.umask(0)
                os.umask(mask)
                temporary.chmod(0o666 & ~mask)  # mkstemp's 0600 would keep colleagues out
        temporary.replace(path)
    except BaseException:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> tuple[int, Path | None]:
    """A new file beside a place, open for writing; without a name where that can be.

    One without a name is gone with its writer: of a report that is killed nothing stays. Linux has
    such files, on most file systems.
    """
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir():
        with suppress(OSError):
            return os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666), None
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    return fd, Path(name)
