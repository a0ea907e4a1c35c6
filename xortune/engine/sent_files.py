"""Files of a user's function or command that are sent to each worker, as they were at first."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["MOST", "are_there", "digest_of", "unpacked"]

MOST = 16 * 2**20
"""Bytes of all files of a function or a command."""

_COPIES: list[tempfile.TemporaryDirectory[str]] = []
"""They go when the process ends: what is in them may be used at any time."""


def digest_of(files: Iterable[tuple[str, bytes]]) -> str:
    """A digest of paths and contents, in the order given: 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for path, content in files:
        whole.update(f"{path}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:16]


def are_there(root: Path, files: Iterable[tuple[str, bytes]]) -> bool:
    """Whether a folder has all these files, as they were."""
    try:
        return all(
            (root / path).stat().st_size == len(content) and (root / path).read_bytes() == content
            for path, content in files
        )
    except OSError:
        return False


def unpacked(files: Iterable[tuple[str, bytes]], *, prefix: str) -> Path:
    """A new folder with these files, which is there until the process ends."""
    kept = tempfile.TemporaryDirectory(prefix=prefix)
    _COPIES.append(kept)
    root = Path(kept.name)
    for path, content in files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root
