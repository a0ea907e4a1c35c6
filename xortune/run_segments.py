"""The journal of a stored run: numbered segments of whole lines, each written once.

They are `evaluations/000001-0001-4f1c2a9e.jsonl` and so on: the number, the epoch of the driver
that wrote it (each driver has a higher one than those before it) and the first digits of its name.
So no two drivers ever write the same object. The journal is the segments by their numbers; of two
with one number, which there are only if a driver that had lost its run wrote once more, the one of
the higher epoch.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xortune.errors import InputError
from xortune.run_store import Store
from xortune.run_url import copy_unwritable

__all__ = ["Segment", "brought", "note_known", "segments_in"]

FOLDER, JOURNAL, INDEX = "evaluations", "evaluations.jsonl", ".segments"

_NAME = re.compile(r"([0-9]{6,12})-([0-9]{4,12})-([0-9a-f]{8})\.jsonl")

_FILES = re.compile(r"manifest\.json|certificate\.json|space(-[1-9][0-9]*)?\.yaml")
"""What is read of a run beside its journal; all else follows from it and is only written."""


@dataclass(frozen=True)
class Segment:
    """A segment of a journal.

    Attributes:
        number: from 1.
        epoch: of the driver that wrote it.
        writer: the first 8 digits of that driver's name.
        size: in bytes.
        written: when; seconds since 1970 by the store's clock.
    """

    number: int
    epoch: int
    writer: str
    size: int = 0
    written: float = 0.0

    @property
    def name(self) -> str:
        """Of the object."""
        return f"{FOLDER}/{self.number:06}-{self.epoch:04}-{self.writer}.jsonl"


def segments_in(store: Store) -> list[Segment]:
    """The segments that are the journal, in their order.

    Raises:
        InputError: the store fails, or one is missing.
    """
    found: dict[int, list[Segment]] = {}
    for name, listed in store.names(FOLDER).items():
        if (parts := _NAME.fullmatch(name)) is not None:
            number, epoch = int(parts[1]), int(parts[2])
            one = Segment(number, epoch, parts[3], listed.size, listed.written)
            found.setdefault(number, []).append(one)
    journal: list[Segment] = []
    epoch = 0
    for number in range(1, max(found, default=0) + 1):
        here = [one for one in found.get(number, ()) if one.epoch >= epoch]
        if not here:
            later = [s for n, some in found.items() if n > number for s in some if s.epoch >= epoch]
            if later:
                raise InputError(
                    f"segment {number} is missing, and there are later ones",
                    place=store.location.place(FOLDER),
                    fix="restore the object, if the store keeps versions of it",
                )
            break
        journal.append(max(here, key=lambda one: (one.epoch, one.writer)))
        epoch = journal[-1].epoch
    return journal


def brought(store: Store, folder: Path, *, driver: bool) -> int:
    """Make a copy on this machine what the store holds.

    What the copy has already is not downloaded again. Whole lines that the store lacks are kept for
    a driver, which brings them there, if they follow all that the store has; otherwise they are of
    another run, or of a driver that had lost it, and are dropped.

    Args:
        store: of the run.
        folder: of the copy, as a plain path; only this process writes to it.
        driver: whether it is for a driver.

    Returns:
        How many bytes of the copy's journal were dropped, if it was of this run.

    Raises:
        InputError: the store fails, or the copy cannot be written.
    """
    segments = segments_in(store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            dropped = _brought_journal(store, folder, segments, keep=driver)
            _brought_files(store, folder)
            return dropped
    except OSError as error:
        raise copy_unwritable(folder, error) from None


def _brought_journal(store: Store, folder: Path, segments: Sequence[Segment], *, keep: bool) -> int:
    place, names = folder / JOURNAL, [one.name for one in segments]
    known = _known(folder)
    size = place.stat().st_size if place.exists() else 0
    begun = sum(one.size for one in segments[: len(known)])
    same = names[: len(known)] == known and size >= begun
    offset, done = (begun, len(known)) if same else (0, 0)
    # Without a segment the copy may be of a run that was removed from the store.
    keep = keep and same and bool(segments) and _same_manifest(store, folder)
    if not segments and not size:
        place.unlink(missing_ok=True)
        return 0
    dropped = 0
    with place.open("r+b" if place.exists() else "w+b") as journal:
        for segment in segments[done:]:
            data = _whole(store, segment)
            journal.seek(offset)
            if journal.read(len(data)) != data:
                dropped += max(0, size - offset)
                size, keep = 0, False
                journal.seek(offset)
                journal.truncate()
                journal.write(data)
            offset += len(data)
        if not keep:
            dropped += max(0, size - offset)
            journal.truncate(offset)
    if not offset and not keep:
        place.unlink()
    elif segments and not keep:
        os.utime(place, (segments[-1].written, segments[-1].written))  # as `status` shows it
    _write(folder / INDEX, "".join(f"{name}\n" for name in names).encode())
    return dropped if segments else 0


def _whole(store: Store, segment: Segment) -> bytes:
    data = store.get(segment.name)
    if data is None or len(data) != segment.size or not data.endswith(b"\n"):
        raise InputError(
            "is missing" if data is None else "does not end with a whole line",
            place=store.location.place(segment.name),
            allowed="a segment of a journal, which is written once",
            fix="restore the object, if the store keeps versions of it",
        )
    return data


def _brought_files(store: Store, folder: Path) -> None:
    names = [name for name in store.names() if _FILES.fullmatch(name)]
    for name in names:
        content = store.get(name)
        place = folder / name
        if content is not None and not (place.exists() and place.read_bytes() == content):
            _write(place, content)
    for place in folder.iterdir():
        if _FILES.fullmatch(place.name) and place.name not in names:
            place.unlink()


def _same_manifest(store: Store, folder: Path) -> bool:
    place = folder / "manifest.json"
    return place.exists() and place.read_bytes() == store.get("manifest.json")


def note_known(folder: Path, segment: Segment) -> None:
    """Note that the copy's journal has one more segment, which so is not downloaded again."""
    with (folder / INDEX).open("ab") as index:
        index.write(f"{segment.name}\n".encode())


def _known(folder: Path) -> list[str]:
    try:
        lines = (folder / INDEX).read_bytes()
    except FileNotFoundError:
        return []
    return lines[: lines.rfind(b"\n") + 1].decode("ascii", "replace").split()


def _write(place: Path, content: bytes) -> None:
    fd, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    Path(temporary).replace(place)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of several readers on one machine, one at a time."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock
        yield
        return
    with (folder / ".copy.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
