"""One driver for each stored run: its lease, and the writer of journal lines to the store."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from xortune.core.errors import InputError
from xortune.runs.owner import Life, Owner, life_of, parse_owner
from xortune.runs.store import (
    PATIENCE,
    Segment,
    Store,
    StoredPath,
    as_path,
    brought,
    copy_of,
    note_known,
    root_of,
    segments_in,
    store_of,
    url_of,
)

# -------------------------------------------------------------------------------------------------
# One driver for each stored run, with nothing but objects: put, delete, and lists that see both.
#
# A driver claims a run with an object of its own, `lock/0001-OWNER.json`, then lists the claims:
# it has the run if there is no other. Of two that claim at once, at least one sees the other; the
# one whose name comes first waits for the other to withdraw. Nobody writes another's objects.
#
# Of an owner on the same machine the kernel says whether it lives; one elsewhere lives as long as
# its `.beat` changes, which it does every 10 s. Who takes a run over removes the old claim, and
# only then reads the segments. So a segment counts if its writer's claim was still there after it
# was put: then a successor has read it, however long either of them stood still. No clocks are
# compared.

FOLDER = "lock"

HEARTBEAT_SECONDS = 10.0

LOOK_SECONDS, WITHDRAW_SECONDS = 1.0, 10.0

_CLAIM = re.compile(r"([0-9]{4,12})-([0-9a-f]{32})\.json")

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Claim:
    epoch: int
    owner: Owner

    @property
    def name(self) -> str:
        return f"{FOLDER}/{self.epoch:04}-{self.owner.owner}"


class Lease:
    """A stored run that is held: its heart beats in a thread of its own until it is released.

    Attributes:
        epoch: higher than that of every driver before.
        writer: the first 8 digits of the owner's name.
    """

    def __init__(self, store: Store, claim: _Claim) -> None:
        self.epoch, self.writer = claim.epoch, claim.owner.owner[:8]
        self._store, self._claim = store, claim
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="xortune-lease", daemon=True)
        self._thread.start()

    def confirm(self, *, patience: float = PATIENCE) -> None:
        """Return if the run is still this driver's, and so all that it has put counts.

        Raises:
            InputError: another has taken it over, or the store fails.
        """
        if not self._store.exists(f"{self._claim.name}.json", patience=patience):
            raise InputError(
                "this search has lost its run and writes nothing more: another has taken it over",
                place=self._store.location.place(FOLDER),
                fix="what is in the journal is kept: --resume continues when no other search runs",
            )

    def release(self) -> None:
        """Withdraw the claim."""
        self._over.set()
        self._thread.join()
        _withdraw(self._store, self._claim)

    def _beat(self) -> None:
        owner = self._claim.owner
        while not self._over.wait(HEARTBEAT_SECONDS):
            owner = replace(owner, heartbeat=round(time.time(), 3), beats=owner.beats + 1)
            with suppress(InputError):  # the next one may succeed
                self._store.put(f"{self._claim.name}.beat", owner.as_bytes())


def leased(store: Store, owner: Owner, say: Say, *, still_seconds: float) -> Lease:
    """Take a run.

    Args:
        store: of the run.
        owner: this process.
        say: called with a sentence where another's lease is waited for or taken over.
        still_seconds: after which a heart that does not beat is believed to be dead.

    Raises:
        InputError: another driver holds it, or the store fails.
    """
    gone = [claim for claim in _claims(store) if _is_gone(store, claim, say, still_seconds)]
    known = [claim.epoch for claim in gone] + [one.epoch for one in segments_in(store)[-1:]]
    mine = _Claim(max(known, default=0) + 1, owner)
    store.put(f"{mine.name}.json", owner.as_bytes())
    try:
        for claim in gone:
            _withdraw(store, claim, told=True)
        deadline = time.monotonic() + WITHDRAW_SECONDS
        while others := [c for c in _claims(store) if c.owner.owner != owner.owner]:
            first = min(others, key=lambda c: c.owner.owner)
            if first.owner.owner < owner.owner or time.monotonic() > deadline:
                raise _is_held(store, first)
            time.sleep(LOOK_SECONDS / 4)
    except BaseException:
        _withdraw(store, mine)
        raise
    return Lease(store, mine)


def lessee(store: Store) -> tuple[Owner, Life] | None:
    """Who holds a run, or did when it was killed; None if nobody.

    Raises:
        InputError: the store fails, or a claim is none.
    """
    claims = _claims(store)
    if not claims:
        return None
    last = max(claims, key=lambda claim: claim.epoch)
    return last.owner, life_of(last.owner)


def _claims(store: Store) -> list[_Claim]:
    """The claims of the run, each with its owner's last heartbeat."""
    found = []
    names = store.names(FOLDER)
    for name in sorted(names):
        if (parts := _CLAIM.fullmatch(name)) is None:
            continue
        beat = f"{name.removesuffix('.json')}.beat"
        text = store.get(f"{FOLDER}/{beat}") if beat in names else None
        if text is None:
            text = store.get(f"{FOLDER}/{name}")
        if text is None:  # withdrawn since it was listed
            continue
        owner = parse_owner(text)
        if owner is None or owner.owner != parts[2]:
            raise InputError(
                "is no lock of a run",
                place=store.location.place(f"{FOLDER}/{name}"),
                allowed="what a search writes there while it runs",
                fix="if no search of this run is running, on any machine, remove it",
            )
        found.append(_Claim(int(parts[1]), owner))
    return found


def _is_gone(store: Store, claim: _Claim, say: Say, still_seconds: float) -> bool:
    """Whether the owner of a claim is gone, so that its run may be taken.

    Raises:
        InputError: it lives.
    """
    life = life_of(claim.owner)
    if life == "alive":
        raise _is_held(store, claim)
    place = store.location.place(FOLDER)
    if life == "elsewhere":
        say(
            f"{place}: held by {claim.owner}. Whether that one lives is seen from here by its "
            f"heartbeat: waiting for it, {still_seconds:.0f} s at most"
        )
        began = time.monotonic()
        while time.monotonic() - began < still_seconds:
            time.sleep(min(LOOK_SECONDS, still_seconds / 4))
            now = next((c for c in _claims(store) if c.name == claim.name), None)
            if now is None:
                return True
            if now != claim:
                raise _is_held(store, now)
    reason = {
        "gone": "that process is gone",
        "elsewhere": f"its lock was not renewed for {still_seconds:.0f} s",
    }[life]
    say(f"{place}: taken over from {claim.owner}: {reason}")
    return True


def _withdraw(store: Store, claim: _Claim, *, told: bool = False) -> None:
    """Remove a claim; the beat last, without which a claim still is one."""
    for end in (".json", ".beat"):
        with suppress(*() if told else (InputError,)):
            store.delete(f"{claim.name}{end}")


def _is_held(store: Store, claim: _Claim) -> InputError:
    return InputError(
        f"another search holds this run: {claim.owner}",
        place=store.location.place(FOLDER),
        fix="wait for it, stop it, or give another --output",
    )


# -------------------------------------------------------------------------------------------------
# Brings the lines of a stored run's journal to the store, a segment at a time.

LEAST_SECONDS, MOST_SECONDS = 1.0, 60.0
"""Between two segments."""

SHARE = 0.01
"""Of the time so far, as long as which a line waits for others: a segment a second at first, about
a thousand in ten hours."""

MANY_BYTES = 1 << 20
"""So many do not wait."""

MOST_BYTES = 4 << 20
"""In a segment, if it is no longer line: less than the 5 MB that S3 takes at once."""


class SegmentWriter:
    """Takes the lines that the journal's file gets; settled are those that the store has.

    Args:
        store: of the run.
        lease: of this driver.
        place: of the journal's file in the working copy, which begins with what the store has.

    Raises:
        InputError: the store fails.
    """

    def __init__(self, store: Store, lease: Lease, place: Path) -> None:
        segments = segments_in(store)
        self._store, self._lease, self._place = store, lease, place
        self._file = place.open("rb", buffering=0)  # whatever becomes of its name
        self._number = len(segments) + 1
        self._offset = sum(one.size for one in segments)
        self._pending: tuple[Segment, bytes] | None = None
        self._before = self._read(self._offset, None).count(b"\n")  # that the store lacks
        self._sent = 0
        self._began = self._last = time.monotonic()
        self._failure: InputError | None = None
        self._closing = False
        self._news, self._mutex = threading.Condition(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="xortune-segments", daemon=True)
        self._thread.start()

    @property
    def settled(self) -> int:
        """How many lines, of those appended since this was made, the store has."""
        return max(0, self._sent - self._before)

    def check(self) -> None:
        """Return if nothing has failed.

        Raises:
            InputError: what has.
        """
        if self._failure is not None:
            raise self._failure

    def notify(self) -> None:
        """There may be new lines."""
        with self._news:
            self._news.notify()

    def sync(self) -> None:
        """Return when all lines are in the store, or something has failed; see `check`."""
        while self._failure is None and self._put():
            pass

    def close(self) -> None:
        """Bring everything there; see `check`."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join()
        self.sync()
        self._file.close()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closing or self._waiting() > 0)
                pause = min(MOST_SECONDS, max(LEAST_SECONDS, SHARE * (self._last - self._began)))
                left = self._last + pause - time.monotonic()
                if left > 0:
                    self._news.wait_for(
                        lambda: self._closing or self._waiting() >= MANY_BYTES, left
                    )
                if self._closing or self._failure is not None:
                    return
            self._put()

    def _waiting(self) -> int:
        return os.fstat(self._file.fileno()).st_size - self._offset

    def _put(self) -> bool:
        """Write one segment; False if there is none to write."""
        with self._mutex:
            if self._failure is not None:
                return False
            if self._pending is None:
                data = self._read(self._offset, MOST_BYTES)
                if not data:
                    return False
                segment = Segment(self._number, self._lease.epoch, self._lease.writer)
                self._pending = segment, data
            segment, data = self._pending  # if it was interrupted, the same bytes as before
            try:
                self._store.put(segment.name, data, patience=PATIENCE)
                self._lease.confirm()
            except InputError as error:
                self._failure = InputError(
                    error.problem,
                    place=error.place,
                    fix=f"{error.fix}; --resume continues with all that is in the store, and on "
                    f"this machine with the later lines in {os.fspath(self._place)}",
                )
                return False
            with suppress(OSError):  # who removed the copy has it downloaded again
                note_known(self._place.parent, segment)
            self._pending = None
            self._number += 1
            self._offset += len(data)
            self._sent += data.count(b"\n")
            self._last = time.monotonic()
            return True

    def _read(self, start: int, most: int | None) -> bytes:
        """Whole lines from there on: those that fit into `most` bytes, but one at least."""
        self._file.seek(start)
        data = self._file.read() if most is None else self._file.read(most)
        while most is not None and b"\n" not in data and (more := self._file.read(most)):
            data += more
        return data[: data.rfind(b"\n") + 1]


# -------------------------------------------------------------------------------------------------
# What a stored run needs where a run on a disk needs nothing: to be brought, held and written.

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
