"""One driver for each run: a claim in the folder `lock` of the run's directory, or of its store.

To claim a run, a driver writes a file of its own, `lock/0001-OWNER.json`, and lists the claims: it
has the run if there is no other. If two claim at once, at least one of them sees the other; the
one whose name comes first waits for the other to withdraw. No driver writes to another's files,
and the file system only has to list what was written before. The owner renews a file `.beat` every
5 s.

On a local file system the kernel knows whether an owner is alive: a driver keeps its claim locked
(flock). On a share or in an object store only the beat counts: a claim whose beat stands still for
30 s, by the observer's clock, is taken over. See docs/durability.md.

A successor removes the old claim, and only then reads the journal. A driver checks its claim
before each line, and after each object that it has put: without the claim it has lost the run.

Why not `filelock`: its state cannot be read without taking the lock, it creates and empties files
to do so, and the lock of a driver killed on another machine would stay forever.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from xortune.core.errors import InputError
from xortune.core.files import (
    ANOTHER_OUTPUT,
    COPY_THE_RUN,
    LINK,
    open_regular,
    reading,
    without_passwords,
    writing,
)
from xortune.core.formats import plain
from xortune.core.system import file_system_of
from xortune.runs.store import (
    Store,
    StoredPath,
    copy_of,
    segments_in,
    store_of,
    url_of,
    working_copy,
)

LOCK = "lock"

HEARTBEAT_SECONDS, LEASE_SECONDS = 5.0, 30.0

LOOK_SECONDS = 0.5
"""Time between two checks of the beat of a driver elsewhere."""

WITHDRAW_SECONDS = 10.0
"""How long the first of several claims waits for the others to withdraw."""

MAX_BYTES = 10_000
"""Maximum size of a claim; a larger file is none."""

LOCAL = frozenset(
    ("apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs")
)
"""File systems that only one machine writes to, by their names in Linux."""

Life: TypeAlias = Literal["alive", "gone", "elsewhere"]
"""`elsewhere`: only the beat tells whether the owner is alive."""

OnMessage: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Owner:
    """A process that holds a run.

    Attributes:
        owner: 32 random hexadecimal digits, new each time that a run is taken.
        pid: its process id.
        host: the name of its machine.
        command: its command line.
        since: when it took the run; ISO 8601, UTC.
        heartbeat: the time of its last beat, in seconds since 1970 by its own clock.
        beats: their number so far.
    """

    owner: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    pid: Annotated[int, Field(gt=0)]
    host: str
    command: str
    since: str
    heartbeat: float
    beats: int

    def __str__(self) -> str:
        # Anybody may have written the file: it must not contain terminal control sequences.
        command = f" ({plain(self.command[:500])})" if self.command else ""
        return f"pid {self.pid} on {plain(self.host[:500])} since {_clock(self.since)}{command}"

    def as_bytes(self) -> bytes:
        """The content of the file."""
        return (json.dumps(asdict(self)) + "\n").encode("ascii")


_OWNER = TypeAdapter(Owner)


def this_process() -> Owner:
    """A new owner: this process."""
    name, *rest = sys.argv or [""]
    now = time.time()
    return Owner(
        owner=uuid.uuid4().hex,
        pid=os.getpid(),
        host=plain(socket.gethostname()),
        command=plain(shlex.join([Path(name).name or "python", *without_passwords(rest)]))[:500],
        since=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        heartbeat=round(now, 3),
        beats=0,
    )


def _parsed(text: bytes | None) -> Owner | None:
    """Read what `Owner.as_bytes` wrote; None if it is something else."""
    try:
        return None if text is None else _OWNER.validate_json(text[:MAX_BYTES], strict=True)
    except ValidationError:
        return None


def _clock(since: str) -> str:
    try:
        moment = datetime.fromisoformat(since).astimezone()
    except (ValueError, OverflowError):
        return plain(since[:40])
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")


# -------------------------------------------------------------------------------------------------
# Where claims are: in a run's directory or its store, which have the same methods.


class _Directory:
    """A run's directory with the methods of `Store`."""

    def __init__(self, directory: Path) -> None:
        self._shown, self._directory = directory, Path(os.path.realpath(directory))
        self._fd = -1

    def place(self, name: str) -> str:
        return str(self._shown / name)

    def names(self, folder: str) -> Collection[str]:
        with reading(self._shown / folder), suppress(FileNotFoundError):
            if (self._directory / folder).is_symlink():
                raise InputError(LINK, place=self.place(folder))
            return [place.name for place in (self._directory / folder).iterdir()]
        return []

    def get(self, name: str) -> bytes | None:
        place = self._directory / name
        with reading(self._shown / name), suppress(FileNotFoundError), open_regular(place) as file:
            return file.read(MAX_BYTES + 1)
        return None

    def put(self, name: str, data: bytes) -> None:
        with (self._directory / name).open("wb", buffering=0) as file:
            file.write(data)

    def exists(self, name: str, *, patience: float = 0.0) -> bool:  # noqa: ARG002  # a store's
        """Open the file: on a share, `stat` may answer from a stale cache."""
        try:
            # O_NONBLOCK: opening a pipe would wait for a writer.
            os.close(os.open(f"{self._directory}/{name}", os.O_RDONLY | os.O_NONBLOCK))
        except FileNotFoundError:
            return False
        except OSError:  # the server does not answer now
            pass
        return True

    def delete(self, name: str) -> None:
        (self._directory / name).unlink(missing_ok=True)

    def claim(self, name: str, data: bytes) -> None:
        """Write a file and keep it locked; it gets its name once it is locked and whole."""
        place = self._directory / name
        begun = place.with_name(f".{place.name}.tmp")
        while self._fd < 0:
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # a driver that released the run removed the folder
                self._fd = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        flock(self._fd, exclusive=True)
        os.write(self._fd, data)
        os.fsync(self._fd)
        begun.replace(place)

    def is_alive(self, name: str) -> bool | None:
        """Whether the owner of a claim is alive; None if only its beat can tell."""
        try:
            with open_regular(self._directory / name) as file:
                free = flock(file.fileno(), exclusive=False)
        except OSError:
            return None
        if free is False:
            return True
        return False if free and _is_local(self._directory) else None

    def remove_folder(self) -> None:
        with suppress(OSError):  # it has claims of others
            (self._directory / LOCK).rmdir()

    def close(self) -> None:
        """Unlock what `claim` has locked."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def flock(fd: int, *, exclusive: bool) -> bool | None:
    """Lock a file; False if another process has it, None if the file system has no locks."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_local(directory: Path) -> bool:
    """Whether only this machine writes to a directory, so that its kernel knows all locks."""
    return file_system_of(directory) in LOCAL


Files: TypeAlias = _Directory | Store


@dataclass(frozen=True)
class _LockClaim:
    epoch: int
    owner: Owner

    @property
    def name(self) -> str:
        return f"{LOCK}/{self.epoch:04}-{self.owner.owner}"


_CLAIM = re.compile(r"([0-9]{4,12})-([0-9a-f]{32})\.json")


def _claims(files: Files) -> list[_LockClaim]:
    """The claims of a run, each with the last beat of its owner."""
    claims = []
    names = set(files.names(LOCK))
    for name in sorted(names):
        if (parts := _CLAIM.fullmatch(name)) is None:
            continue
        beat = f"{name.removesuffix('.json')}.beat"
        owner = _parsed(files.get(f"{LOCK}/{beat}")) if beat in names else None
        if owner is None and (text := files.get(f"{LOCK}/{name}")) is not None:
            owner = _parsed(text)
            if owner is None:
                raise InputError(
                    "is not the lock of a run",
                    place=files.place(f"{LOCK}/{name}"),
                    allowed="the file that a search writes while it runs",
                    fix="if no search of this run is running, on any machine, remove it",
                )
        if owner is not None and owner.owner == parts[2]:
            claims.append(_LockClaim(int(parts[1]), owner))
    return claims


def _life(files: Files, claim: _LockClaim) -> Life:
    alive = files.is_alive(f"{claim.name}.json") if isinstance(files, _Directory) else None
    return "elsewhere" if alive is None else "alive" if alive else "gone"


class RunLock:
    """A claim that this process holds; a thread renews its beat until it is released.

    Attributes:
        owner: this process.
        epoch: higher than that of every earlier driver.
    """

    def __init__(self, files: Files, claim: _LockClaim) -> None:
        self.owner, self.epoch = claim.owner, claim.epoch
        self.files, self._claim = files, claim
        self._lost: InputError | None = None
        self._beaten = _now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xortune-lock", daemon=True)
        self._thread.start()

    @property
    def writer(self) -> str:
        """The first digits of the owner, for the names of segments in a store."""
        return self.owner.owner[:8]

    def check(self, *, patience: float = 0.0) -> None:
        """Raise if this driver has lost the run."""
        if self._lost is None and _now() - self._beaten > LEASE_SECONDS / 2:
            self.renew()  # this process was stopped, or its machine was asleep
        if self._lost is None and not self.files.exists(
            f"{self._claim.name}.json", patience=patience
        ):
            self._lost = InputError(
                f"this search no longer holds its run and has stopped writing: {self._why()}",
                place=self.files.place(LOCK),
                fix="the journal is kept; continue with --resume when no other search runs",
            )
        if self._lost is not None:
            raise self._lost

    def renew(self) -> None:
        """Write a beat; if that fails, the next one may succeed."""
        owner = replace(self.owner, heartbeat=round(time.time(), 3), beats=self.owner.beats + 1)
        with suppress(InputError, OSError):
            self.files.put(f"{self._claim.name}.beat", owner.as_bytes())
            self.owner, self._beaten = owner, _now()

    def release(self, *, leave: bool = False) -> bool:
        """Withdraw the claim, or `leave` it like a killed driver; return whether it is gone."""
        self._over.set()
        self._thread.join()
        if leave and isinstance(self.files, _Directory):
            self.files.close()
            return False
        return _withdraw(self.files, self._claim)

    def _run(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            self.renew()

    def _why(self) -> str:
        with suppress(InputError):
            if others := _claims(self.files):
                return f"it was taken over by {others[-1].owner}"
        return "its claim was removed"


def _remove(files: Files, claim: _LockClaim) -> None:
    """Remove a claim, the beat last: a beat alone is no claim."""
    for end in (".json", ".beat"):
        files.delete(f"{claim.name}{end}")


def _withdraw(files: Files, claim: _LockClaim) -> bool:
    """Remove the own claim; return whether that succeeded."""
    try:
        _remove(files, claim)
    except (InputError, OSError):
        return False
    finally:
        if isinstance(files, _Directory):
            files.close()
            files.remove_folder()
    return True


def _taken(
    files: Files, owner: Owner, on_message: OnMessage, *, least: int = 0, gone: Collection[str] = ()
) -> tuple[RunLock, list[str]]:
    """Take a run; return the lock, and the owners whose claims it has replaced.

    Args:
        files: where the claims are.
        owner: who takes it.
        on_message: called with what the user should know.
        least: the highest epoch of an earlier driver.
        gone: owners that are known to be gone.
    """
    abandoned = {}
    for claim in _claims(files):
        life = "gone" if claim.owner.owner in gone else _life(files, claim)
        if life == "alive":
            raise _is_held(files.place(LOCK), claim.owner)
        if life == "gone":
            abandoned[claim] = "which does not hold it any more"
        elif _stands_still(files, claim, on_message):
            abandoned[claim] = f"which has not renewed it for {LEASE_SECONDS:.0f} s"
    mine = _LockClaim(max([least, *(claim.epoch for claim in abandoned)]) + 1, owner)
    try:
        if isinstance(files, _Directory):
            files.claim(f"{mine.name}.json", owner.as_bytes())
        else:
            files.put(f"{mine.name}.json", owner.as_bytes())
        for claim in abandoned:
            _remove(files, claim)
        _wait_for_others(files, mine)
        files.put(f"{mine.name}.beat", owner.as_bytes())
    except BaseException:
        _withdraw(files, mine)
        raise
    for claim, why in abandoned.items():
        on_message(f"{files.place(LOCK)}: taken over from {claim.owner}, {why}")
    return RunLock(files, mine), [claim.owner.owner for claim in abandoned]


def _wait_for_others(files: Files, mine: _LockClaim) -> None:
    """Wait until this claim is the only one; raise if another one has the run."""
    deadline = time.monotonic() + WITHDRAW_SECONDS
    while others := [claim for claim in _claims(files) if claim.name != mine.name]:
        first = min(others, key=lambda claim: claim.owner.owner)
        beats = {name.removesuffix(".beat") for name in files.names(LOCK) if name.endswith(".beat")}
        is_taken = any(claim.name.removeprefix(f"{LOCK}/") in beats for claim in others)
        if is_taken or first.owner.owner < mine.owner.owner or time.monotonic() > deadline:
            raise _is_held(files.place(LOCK), first.owner)
        time.sleep(LOOK_SECONDS / 10)


def _stands_still(files: Files, seen: _LockClaim, on_message: OnMessage) -> bool:
    """Whether a claim is not renewed during a whole lease; False if it was withdrawn meanwhile."""
    on_message(
        f"{files.place(LOCK)}: held by {seen.owner}; waiting for its heartbeat for at most "
        f"{LEASE_SECONDS:.0f} s, to see whether it is alive"
    )
    # Count looks, not seconds: a server that hangs for a while also delays beats.
    for _ in range(max(1, round(LEASE_SECONDS / LOOK_SECONDS))):
        time.sleep(LOOK_SECONDS)
        now = next((claim for claim in _claims(files) if claim.name == seen.name), None)
        if now is None:
            return False
        if now != seen:
            raise _is_held(files.place(LOCK), now.owner)
    return True


def _is_held(place: str, owner: Owner) -> InputError:
    return InputError(
        f"another search holds this run: {owner}",
        place=place,
        fix="wait for it, stop it, or give another --output",
    )


def _now() -> float:
    """Monotonic seconds; on Linux they include the time that the machine slept."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


_held: dict[tuple[str, int, int], RunLock] = {}


def _forget() -> None:
    """In a forked child: close the locked files, or a killed driver would seem to be alive."""
    for lock in _held.values():
        if isinstance(lock.files, _Directory):
            lock.files.close()
    _held.clear()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def held(directory: Path, *, on_message: OnMessage | None = None) -> Iterator[RunLock]:
    """Hold a run's directory for the duration of the block; create it if it does not exist.

    A thread that already holds it gets the lock that it has. For a run in an object store both the
    working copy and the store are held, and the copy is updated.

    Args:
        directory: of the run.
        on_message: called with a sentence if a lock is waited for or taken over.

    Raises:
        InputError: another driver holds it (nothing was changed), the directory cannot be written,
            a file in `lock` is no lock, or the store fails.
    """
    on_message = on_message or (lambda _: None)
    is_there = os.path.exists(directory)  # noqa: PTH110  # raises nothing for too long a name
    with writing(directory, COPY_THE_RUN if is_there else ANOTHER_OUTPUT):
        mine = os.path.realpath(directory), os.getpid(), threading.get_ident()
        if mine not in _held:
            is_new = not directory.exists()
            directory.mkdir(parents=True, exist_ok=True)
            lock, gone = _taken(_Directory(directory), this_process(), on_message)
    if mine in _held:
        yield _held[mine]
        return
    _held[mine] = lock
    in_store: RunLock | None = None
    try:
        if isinstance(directory, StoredPath):
            store = store_of(directory)
            store.check()
            least = max((segment.epoch for segment in segments_in(store)), default=0)
            in_store, _ = _taken(store, lock.owner, on_message, least=least, gone=gone)
            with working_copy(directory, in_store, on_message):
                yield lock
        else:
            yield lock
    finally:
        if _held.pop(mine, None) is not None:  # not in a forked child
            # If the claim in the store could not be removed, keep that of the copy: the next driver
            # on this machine reads it.
            lock.release(leave=in_store is not None and not in_store.release())
            if is_new:  # remove it if it is still empty
                with suppress(OSError):
                    directory.rmdir()


def holder(directory: Path) -> tuple[Owner, Life] | None:
    """The process that holds a run, or was killed holding it; None without one.

    Raises:
        InputError: the lock cannot be read, a file in `lock` is no lock, or the store fails.
    """
    here = _Directory(directory)
    if not isinstance(directory, StoredPath):
        return _last(here)
    stored = _last(store_of(directory))
    # For a driver on this machine the working copy tells at once whether it is alive.
    local = _last(_Directory(copy_of(str(url_of(directory)), "driver").resolve()))
    return local if stored and local and local[0].owner == stored[0].owner else stored


def _last(files: Files) -> tuple[Owner, Life] | None:
    claim = max(_claims(files), key=lambda claim: claim.epoch, default=None)
    return None if claim is None else (claim.owner, _life(files, claim))


def refuse_held(directory: Path) -> None:
    """Raise if a driver holds the run; one elsewhere counts as alive.

    Raises:
        InputError: one does.
    """
    lock = holder(directory)
    if lock is not None and lock[1] != "gone":
        raise _is_held(str(directory / LOCK), lock[0])
