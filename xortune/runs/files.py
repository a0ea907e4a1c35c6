"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

from xortune.runs.store import StoredPath, copy_unwritable, stored

Content: TypeAlias = bytes | Callable[[BinaryIO], object]
"""Of a file: all of it, or what writes it, for one that is too large to be in memory as well."""


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
