"""One driver for each run: `lock.json` in the run's directory, with its owner and a heartbeat.

On one machine the kernel says whether the owner lives. From another machine, on shared storage, it
is a lease: an owner renews it every 10 s, and one whose file stands still for 60 s, by the clock of
the one who looks, has lost it. No two machines' clocks are ever compared.

The file appears by a hard link, with all that is in it, so that of many who take it at once one
has it. A lock of a process that is gone is succeeded in the same way: who makes the file that
carries its owner's name may replace it. An owner has its file open as long as it holds it: so a
copy of the run's directory is known as such.

Of a run in an object store this is the lock of its working copy; `runs.lease` has the run's.
"""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from xortune.core.errors import InputError
from xortune.core.files import FREE_SPACE, is_full
from xortune.runs.lease import driving, stored_holder
from xortune.runs.owner import (
    MOST_BYTES,
    Life,
    Owner,
    life_of,
    parse_owner,
    read_owner,
    this_process,
)
from xortune.runs.store import StoredPath

LOCK = "lock.json"

HEARTBEAT_SECONDS, LEASE_SECONDS = 10.0, 60.0

LOOK_SECONDS = 0.5
"""How often a lock of another machine is looked at, to see whether it is renewed."""

GONE: dict[Life, str] = {
    "gone": "that process is gone",
    "copied": "that process holds another directory, of which this is a copy",
    "elsewhere": f"its lock was not renewed for {LEASE_SECONDS:.0f} s",
}

Say = Callable[[str], None]

_held: dict[tuple[str, int, int], RunLock] = {}


class RunLock:
    """A lock that is held: renewed by a thread of its own until it is released."""

    def __init__(self, place: Path, fd: int, owner: Owner) -> None:
        self._place, self._fd, self._owner = place, fd, owner
        self._lost: str | None = None
        self._renewed = _now()
        self._mutex, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="xortune-lock", daemon=True)
        self._thread.start()

    @property
    def owner(self) -> Owner:
        """What the lock's file says of this process."""
        return self._owner

    def check(self) -> None:
        """Return if the run is still this driver's to write.

        Raises:
            InputError: another has taken it over, the lock's file is gone, or it could not be
                renewed for so long that another may.
        """
        safe = LEASE_SECONDS - HEARTBEAT_SECONDS
        stopped = _now() - self._renewed > safe  # the process was
        if self._lost is None and (stopped or self._is_replaced()):
            self.renew()
            if self._lost is None and _now() - self._renewed > safe:
                self._lost = "the lock could not be renewed"
        if self._lost is not None:
            raise InputError(
                f"this search has lost its run and writes nothing more: {self._lost}",
                place=str(self._place),
                fix="what is in the journal is kept: --resume continues when no other search runs",
            )

    def is_others(self) -> bool:
        """Whether somebody else holds the run by now; not if nobody does."""
        try:
            found = read_owner(self._place)
        except InputError:
            return True
        return found is not None and found.owner != self._owner.owner

    def renew(self) -> None:
        """Write a heartbeat, unless another has taken the lock over."""
        with self._mutex:
            if self._lost is not None or self._fd < 0:
                return
            try:
                found = read_owner(self._place)
            except InputError:  # a server that does not answer now may do so before the lease ends
                return
            if found is None:
                self._lost = "its lock was removed"
            elif found.owner != self._owner.owner:
                self._lost = f"it was taken over by {found}"
            else:
                # Through the open file: if it is replaced now, nobody reads what is written here.
                beat = replace(
                    self._owner, heartbeat=round(time.time(), 3), beats=self._owner.beats + 1
                )
                with suppress(OSError):  # until the lease is over, another attempt may succeed
                    if self._is_replaced():
                        self._open_copy()
                    os.lseek(self._fd, 0, os.SEEK_SET)
                    os.write(self._fd, beat.as_bytes())
                    self._owner, self._renewed = beat, _now()

    def _is_replaced(self) -> bool:
        """Whether the file's name leads to another file by now, or to none."""
        try:
            return not os.path.samestat(self._place.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return True
        except OSError:  # a server that does not answer now
            return False

    def _open_copy(self) -> None:
        """Go on with a copy that a tool has put in the place of the file; not with another's."""
        fd = os.open(self._place, os.O_RDWR)
        found = parse_owner(os.read(fd, MOST_BYTES))
        if found is None or found.owner != self._owner.owner:
            os.close(fd)
            return
        os.close(self._fd)
        self._fd = fd

    def release(self) -> None:
        """Remove the file, if it is still this lock's; releasing twice is harmless."""
        self._over.set()
        self._thread.join()
        self.renew()  # that it was not taken over, and will not be in the next moment
        with self._mutex:
            if self._fd < 0:
                return
            safe = _now() - self._renewed < LEASE_SECONDS - HEARTBEAT_SECONDS
            _let_go(self._fd, self._place if self._lost is None and safe else None)
            self._fd = -1

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            self.renew()


@contextmanager
def held(directory: Path, *, say: Say | None = None) -> Iterator[RunLock]:
    """Hold a run's directory, which is made if it is not there, until the block is left.

    A thread that holds it already goes on with the lock that it has.

    Args:
        directory: of the run.
        say: called with a sentence where a lock is waited for or taken over.

    Raises:
        InputError: another driver holds it (nothing was changed), the directory cannot be written,
            or its lock is no lock.
    """
    lock, made = None, False
    try:
        mine = os.path.realpath(directory), os.getpid(), threading.get_ident()
        if mine not in _held:
            made = not directory.exists()
            directory.mkdir(parents=True, exist_ok=True)
            owner, place = this_process(), directory / LOCK
            lock = RunLock(place, _acquired(place, owner, say or (lambda _: None)), owner)
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(
            f"cannot be written ({getattr(error, 'strerror', None) or error})",
            place=str(directory),
            fix=FREE_SPACE if is_full(error) else "give another directory with --output",
        ) from None
    if lock is None:
        yield _held[mine]
        return
    _held[mine] = lock
    try:
        with driving(directory, lock.owner, say or (lambda _: None), still_seconds=LEASE_SECONDS):
            yield lock
    finally:
        del _held[mine]
        lock.release()
        if made:  # if nothing came of it
            with suppress(OSError):
                directory.rmdir()


def holder(directory: Path) -> tuple[Owner, Life] | None:
    """Who holds a run, or did when it was killed; None if nobody. Nothing is written.

    Raises:
        InputError: the lock cannot be read, or is none.
    """
    if isinstance(directory, StoredPath):
        return stored_holder(directory)
    owner = read_owner(directory / LOCK)
    return None if owner is None else (owner, life_of(owner, directory / LOCK))


def refuse_held(directory: Path) -> None:
    """Return if no living driver holds the run; one elsewhere is believed to live.

    Raises:
        InputError: one does.
    """
    found = holder(directory)
    if found is not None and found[1] in ("alive", "elsewhere"):
        raise _is_held(found[0], directory / LOCK)


def _acquired(place: Path, mine: Owner, say: Say) -> int:
    """The open file of a lock that is now this process's.

    Raises:
        InputError: it is another's, who lives.
        OSError: the directory cannot be written.
    """
    while True:
        found = read_owner(place)
        if found is None:
            fd = _created(place, mine)
            if fd is not None:
                return fd
            continue
        life = life_of(found, place)
        if life == "alive":
            raise _is_held(found, place)
        if life == "elsewhere" and not _stands_still(place, found, say):
            continue  # it was released, or is another's by now
        # Of all that see a lock whose owner is gone, one makes the file of its successor. (One who
        # dies with it in hand is succeeded likewise.) Who made it too late sees it below.
        claim = place.with_name(f".{LOCK}.{found.owner}")
        claimed = _acquired(claim, mine, say)
        try:
            now = read_owner(place)
            if now is not None and now.owner == found.owner:
                fd = _replaced(place, mine)
                say(f"{place}: taken over from {found}: {GONE[life]}")
                return fd
        finally:
            _let_go(claimed, claim)


def _let_go(fd: int, place: Path | None) -> None:
    """Remove a lock's file if it is this process's, and close it.

    In this order, since one that nobody has open is taken for a copy; Windows knows no such order.
    """
    if os.name != "posix":
        os.close(fd)
    if place is not None:
        with suppress(OSError):
            place.unlink()
    if os.name == "posix":
        os.close(fd)


def _stands_still(place: Path, found: Owner, say: Say) -> bool:
    """Whether the lock of another machine is not renewed for a whole lease.

    Raises:
        InputError: it is renewed, so its owner lives.
    """
    say(
        f"{place}: held by {found}. Whether that one lives is seen from here by its heartbeat: "
        f"waiting for it, {LEASE_SECONDS:.0f} s at most"
    )
    began = time.monotonic()
    while time.monotonic() - began < LEASE_SECONDS:
        time.sleep(LOOK_SECONDS)
        now = read_owner(place)
        if now is None or now.owner != found.owner:
            return False
        if now != found:
            raise _is_held(now, place)
    return True


def _is_held(owner: Owner, place: Path) -> InputError:
    return InputError(
        f"another search holds this run: {owner}",
        place=str(place.with_name(LOCK)),
        fix="wait for it, stop it, or give another --output",
    )


def _created(place: Path, mine: Owner) -> int | None:
    """The open file if this process made it, None if it was there already."""
    fd, temporary = _beside(place, mine)
    try:
        os.link(temporary, place)
    except OSError as error:
        # A server may refuse what it has done, if its answer was lost and it was asked again.
        if isinstance(error, FileExistsError) and os.fstat(fd).st_nlink == 2:
            return fd
        os.close(fd)
        if isinstance(error, FileExistsError):
            return None
        if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP):
            raise
        return _created_empty(place, mine)
    finally:
        temporary.unlink(missing_ok=True)
    return fd


def _created_empty(place: Path, mine: Owner) -> int | None:
    """As `_created`, where a file system has no hard links: for a moment the file is empty."""
    try:
        fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return None
    os.write(fd, mine.as_bytes())
    os.fsync(fd)
    return fd


def _replaced(place: Path, mine: Owner) -> int:
    fd, temporary = _beside(place, mine)
    try:
        temporary.replace(place)
    except BaseException:
        os.close(fd)
        temporary.unlink(missing_ok=True)
        raise
    return fd


def _beside(place: Path, mine: Owner) -> tuple[int, Path]:
    fd, name = tempfile.mkstemp(dir=place.parent, prefix=f".{LOCK}-", suffix=".tmp")
    try:
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)  # colleagues may read who holds it
        os.write(fd, mine.as_bytes())
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        Path(name).unlink(missing_ok=True)
        raise
    return fd, Path(name)


def _now() -> float:
    """Seconds that also go on while the machine sleeps, where the system counts these."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
