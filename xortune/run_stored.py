"""What a stored run needs where a run on a disk needs nothing: to be brought, held and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xortune.run_lease import Lease, leased, lessee
from xortune.run_lock_owner import Life, Owner
from xortune.run_segment_writer import SegmentWriter
from xortune.run_segments import brought, segments_in
from xortune.run_store import PATIENCE, store_of
from xortune.run_url import StoredPath, as_path, copy_of, root_of, url_of

__all__ = [
    "driven",
    "driving",
    "holds_lines",
    "readable",
    "stored",
    "stored_file",
    "stored_holder",
    "stored_names",
    "unstored",
    "writer_for",
]

_leases: dict[str, Lease] = {}
"""What this process holds, by the directory of the working copy."""


def readable(path: str | os.PathLike[str]) -> Path:
    """The directory to read a run from: of a stored one a copy, with all that the store has now.

    A copy that this process works in is not touched.

    Raises:
        InputError: the store fails, or has a damaged run.
    """
    url = url_of(path)
    if url is None:
        return as_path(path)
    if isinstance(path, StoredPath) and os.fspath(root_of(path)) in _leases:
        return path
    copy = copy_of(url, "reader")
    store = store_of(copy)
    store.check()
    brought(store, copy.resolve(), driver=False)
    return copy


def driven(path: str | os.PathLike[str]) -> Path:
    """The directory to work in: of a stored run its working copy, which `driving` fills.

    Raises:
        InputError: no such kind of store.
    """
    url = url_of(path)
    return as_path(path) if url is None else copy_of(url, "driver")


def holds_lines(path: StoredPath) -> bool:
    """Whether the store has any of a run's journal.

    Raises:
        InputError: the store fails.
    """
    store = store_of(path)
    store.check()
    return bool(segments_in(store))


def stored_names(path: StoredPath, folder: str = "") -> list[str]:
    """The names of what the store has of a run, in one of its folders.

    Raises:
        InputError: the store fails.
    """
    return list(store_of(path).names(folder))


def stored_file(path: StoredPath) -> bytes | None:
    """A file of a run as the store has it; None if it has none.

    Raises:
        InputError: the store fails.
    """
    return store_of(path).get(_confirmed(path)[0])


@contextmanager
def driving(
    directory: Path, owner: Owner, say: Callable[[str], None], *, still_seconds: float
) -> Iterator[None]:
    """Hold a stored run, and bring it into its working copy; nothing of a run on a disk.

    Raises:
        InputError: another driver holds it, or the store fails.
    """
    if not isinstance(directory, StoredPath):
        yield
        return
    store = store_of(directory)
    store.check()
    lease = leased(store, owner, say, still_seconds=still_seconds)
    root = os.fspath(root_of(directory))
    _leases[root] = lease
    try:
        dropped = brought(store, directory.resolve(), driver=True)
        if dropped:
            say(
                f"{directory}: {dropped:,} bytes of the working copy's journal never came to the "
                "store and are dropped: what they held is trained again"
            )
        yield
    finally:
        del _leases[root]
        lease.release()


def stored_holder(directory: StoredPath) -> tuple[Owner, Life] | None:
    """Who holds a stored run, or did when it was killed; None if nobody.

    Raises:
        InputError: the store fails.
    """
    return lessee(store_of(directory))


def stored(path: Path, content: bytes) -> None:
    """Write a file of a stored run into the store, whole; nothing of a run on a disk.

    Raises:
        InputError: the store fails, or the run is no longer this driver's.
    """
    if not isinstance(path, StoredPath):
        return
    name, leased = _confirmed(path)
    store_of(path).put(name, content, patience=PATIENCE if leased else 0.0)


def unstored(path: Path) -> None:
    """Delete a file of a stored run in the store, if it is there; nothing of a run on a disk.

    Raises:
        InputError: the store fails, or the run is no longer this driver's.
    """
    if not isinstance(path, StoredPath):
        return
    name, _ = _confirmed(path)
    store = store_of(path)
    if store.exists(name):
        store.delete(name)


def _confirmed(path: StoredPath) -> tuple[str, bool]:
    """A file's name within its run, and whether we hold the run; if so, we still do.

    Raises:
        InputError: as `Lease.confirm`.
    """
    root = root_of(path)
    if (lease := _leases.get(os.fspath(root))) is not None:
        lease.confirm()
    return Path(os.fspath(path)).relative_to(root).as_posix(), lease is not None


def writer_for(journal: Path) -> SegmentWriter | None:
    """What brings the lines of a journal that is open for writing to the store; None on a disk.

    Raises:
        InputError: the store fails.
    """
    if not isinstance(journal, StoredPath):
        return None
    lease = _leases[os.fspath(root_of(journal))]
    return SegmentWriter(store_of(journal), lease, journal.resolve())
