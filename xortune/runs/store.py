"""Runs in object stores: s3://bucket/prefix/run, gs://, file://, what pyarrow takes.

Such a run has a working copy on this machine, below the user's cache directory or `XORTUNE_CACHE`,
in which everything is done as in a run's directory on a disk; what is written there goes to the
store too. There are two copies of each run: one that a driver works in, and one for those who only
read, which holds what the store holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import unquote

from xortune.core.errors import DisturbedError, InputError

if TYPE_CHECKING:
    _LocalPath = Path
else:
    _LocalPath = type(Path())


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/*)(.*)", re.DOTALL)
"""Two letters at least: C:/ is a drive."""


_urls: dict[str, str] = {}
"""Of stored runs, by the directory of their copies on this machine."""


class StoredPath(_LocalPath):
    """A path in the working copy of a stored run: opens as a file there, and shows as its URL.

    So `str(run.path)` is what the user gave, and `run.path / "report.md"` can be opened.
    """

    def __fspath__(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        root, url = _found(self)
        inside = os.path.relpath(os.fspath(self), root).replace(os.sep, "/")
        if url is None:
            return os.fspath(self)
        return url if inside == "." else f"{url.partition('?')[0]}/{inside}"

    def resolve(self, strict: bool = False) -> Path:  # type: ignore[override]
        """The file itself, on this machine: a path that shows as one, and stores nothing."""
        return Path(os.path.realpath(self, strict=strict))


def _found(path: StoredPath) -> tuple[str, str | None]:
    """The directory of the copy that a path lies in, and the URL of its run."""
    plain = Path(os.fspath(path))
    for folder in map(os.fspath, (plain, *plain.parents)):
        if folder in _urls:
            return folder, _urls[folder]
    return os.fspath(plain), None


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The URL that an output is; None if it is a path.

    A Path that was made of a URL has lost one of its two slashes, which is given back.
    """
    if isinstance(path, StoredPath):
        return _found(path)[1]
    found = _URL.fullmatch(os.fspath(path))
    if found is None:
        return None
    scheme, slashes, rest = found.groups()
    if not slashes:
        slashes = "//" if scheme.lower() == "file" else "/"
    return f"{scheme.lower()}:/{slashes}{rest}"


def as_path(path: str | os.PathLike[str]) -> Path:
    """A Path, of which a stored one remains so."""
    return path if isinstance(path, Path) else Path(path)


def copy_of(url: str, copy: Literal["driver", "reader"]) -> StoredPath:
    """The directory of a stored run's copy on this machine; it may not be there yet."""
    whole, mark, query = url.partition("?")
    whole = whole.rstrip("/")
    scheme, _, rest = whole.partition("://")
    host, slash, path = rest.partition("/")
    user, _, server = host.rpartition("@")
    if ":" in user:  # it would be in the manifest, with the command, and in every message
        raise InputError(
            "has a password in it",
            place=f"{scheme}://{server}{slash}{path}",
            fix="give credentials in the environment (for S3 AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)",
        )
    if not path or ".." in path.split("/"):
        raise InputError(
            "names no run in a store",
            place=whole,
            allowed="such as s3://bucket/folder/run",
            fix="add a name for the run",
        )
    url = whole + mark + query
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]", "_", unquote(whole.rpartition("/")[2]))[-100:]
    root = _cache() / "runs" / digest / copy / name
    _urls[os.fspath(root)] = url
    return StoredPath(root)


def _cache() -> Path:
    if given := os.environ.get("XORTUNE_CACHE"):
        return Path(given).absolute()
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xortune"
    except RuntimeError:
        raise InputError(
            "there is no home directory to keep a working copy in",
            place="HOME",
            fix="name a directory for working copies in XORTUNE_CACHE",
        ) from None


def copy_unwritable(place: str | os.PathLike[str], error: OSError) -> InputError:
    """What to say of a working copy that the file system does not let us write."""
    return InputError(
        f"the working copy cannot be written ({error.strerror})",
        place=os.fspath(place),
        fix="free space there, or name another directory for working copies in XORTUNE_CACHE",
    )


# -------------------------------------------------------------------------------------------------
# The objects of a stored run: put, get, list and delete, on any of pyarrow's filesystems.
#
# A store is asked for nothing but that: no append, no rename, no condition. What is supposed is
# that who lists or gets an object after it was put sees it (S3, Google and Azure say so).

PATIENCE = 120.0
"""Seconds for which a store that fails in the middle of a search is asked again."""

ANSWER_SECONDS = 60.0
"""For which any answer is waited for; longer where more patience is asked for."""

GRACE_SECONDS = 5.0
"""For which one without patience waits for a call that was given up, or interrupted."""

HURRY_SECONDS = 5.0
"""For which any answer is waited for after the user has interrupted."""

BYTES_A_SECOND = 100_000
"""What is written waits so much longer: a slow line is none that hangs."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0

T = TypeVar("T")


class Listed(NamedTuple):
    """An object as a listing shows it: bytes, and seconds since 1970 by the store's clock."""

    size: int
    written: float


class Store:
    """The objects below the URL of a run; their names are relative to it.

    All methods raise an InputError if the store refuses, or fails for longer than they have
    patience.

    Args:
        url: of the run.
    """

    def __init__(self, url: str) -> None:
        import pyarrow as pa
        from pyarrow import fs

        self._url = url
        self._hurry, self._gave_up = threading.Event(), False
        self._unanswered: Future[Any] | None = None
        try:
            self._fs, self._base = fs.FileSystem.from_uri(url)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"cannot be used as an output ({_short(error)})",
                place=url,
                allowed="a path, s3://, gs://, or a URI that pyarrow.fs.FileSystem.from_uri takes",
            ) from None
        if self._fs.type_name == "s3":
            # By itself it asks a server that hangs eleven times, for 100 s, at exit too.
            _, [options] = self._fs.__reduce__()
            strategy = fs.AwsStandardS3RetryStrategy(max_attempts=3)
            self._fs = fs.S3FileSystem(**{**options, "retry_strategy": strategy})
        # In others a reader may see half a file.
        self._whole = self._fs.type_name in ("s3", "gcs", "abfs")

    def place(self, name: str) -> str:
        """The URL of something in the run, for a message."""
        return f"{self._url.partition('?')[0]}/{name}"

    def check(self) -> None:
        """Return if the store can be read; from now on it is patient."""
        self._gave_up = False
        self._hurry.clear()
        bucket = self._base.partition("/")[0]
        if self._whole and self._tried(lambda: self._type(bucket)) == "NotFound":
            raise InputError(
                f"there is no bucket {bucket}",
                place=self._url,
                fix="create it, or check its name, the region and the endpoint",
            )

    def hurry(self) -> None:
        """Wait for answers for some seconds only, and for none after one that fails."""
        self._hurry.set()

    def put(self, name: str, data: bytes, *, patience: float = 0.0) -> None:
        """Write an object whole, over one that may be there."""
        more = len(data) / BYTES_A_SECOND
        self._tried(lambda: self._put(f"{self._base}/{name}", data), patience, more)

    def get(self, name: str, *, patience: float = 0.0) -> bytes | None:
        """An object's content; None if there is no such object."""

        def read() -> bytes | None:
            try:
                with self._fs.open_input_stream(f"{self._base}/{name}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

        return self._tried(read, patience)

    def exists(self, name: str, *, patience: float = 0.0) -> bool:
        """Whether there is such an object."""
        return self._tried(lambda: self._type(f"{self._base}/{name}"), patience) == "File"

    def names(self, folder: str = "") -> dict[str, Listed]:
        """The objects directly in a folder, by name."""
        from pyarrow import fs

        path = f"{self._base}/{folder}" if folder else self._base
        selector = fs.FileSelector(path, allow_not_found=True)
        found = self._tried(lambda: self._fs.get_file_info(selector))
        return {
            info.base_name: Listed(info.size, (info.mtime_ns or 0) / 1e9)
            for info in found
            if info.type.name == "File"
        }

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is none."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self._fs.delete_file(f"{self._base}/{name}")

        self._tried(remove)

    def _type(self, path: str) -> str:
        return str(self._fs.get_file_info(path).type.name)

    def _put(self, path: str, data: bytes) -> None:
        if not self._whole:
            self._fs.create_dir(path.rpartition("/")[0], recursive=True)
        target = path if self._whole else f"{path}.{os.getpid()}.tmp"
        with self._fs.open_output_stream(target) as stream:
            stream.write(data)
        if target != path:
            self._fs.move(target, path)

    def _tried(self, act: Callable[[], T], patience: float = 0.0, more: float = 0.0) -> T:
        import pyarrow as pa

        began, pause = time.monotonic(), FIRST_PAUSE

        def left() -> float:
            most = HURRY_SECONDS if self._hurry.is_set() else max(patience, ANSWER_SECONDS)
            return -math.inf if self._gave_up else began + most + more - time.monotonic()

        while True:
            try:
                return self._answered(act, left, patience)
            except (OSError, pa.ArrowException) as error:
                if time.monotonic() - began + pause > patience or pause > left():
                    fix = next(fix for signs, fix in _FIXES if any(s in str(error) for s in signs))
                    raise self._told(f"the store fails ({_short(error)})", fix) from None
            self._hurry.wait(pause)
            if self._hurry.is_set():
                time.sleep(FIRST_PAUSE)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _answered(self, act: Callable[[], T], left: Callable[[], float], patience: float) -> T:
        """What a call returns; in a thread, since one that hangs can neither be left nor ended.

        As long as one that was left hangs, no other is begun: it might be overtaken.
        """

        def is_done(future: Future[Any], most: float = math.inf) -> bool:
            end = time.monotonic() + most
            while not future.done() and (rest := min(left(), end - time.monotonic())) > 0:
                wait([future], min(rest, 0.2))  # the user may interrupt meanwhile
            return future.done()

        no_answer = "the store does not answer", "check the network and the endpoint"
        if (before := self._unanswered) is not None:
            if not is_done(before, math.inf if patience else GRACE_SECONDS):
                raise self._told(*no_answer)
            self._unanswered = None
        if self._gave_up:
            raise self._told(*no_answer)
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(act())
            except BaseException as error:  # for the thread that waits
                future.set_exception(error)

        threading.Thread(target=call, name="xortune-store", daemon=True).start()
        try:
            if not is_done(future):
                raise self._told(*no_answer)
        finally:
            if not future.done():
                self._unanswered = future
        return future.result()

    def _told(self, problem: str, fix: str) -> InputError:
        if not self._hurry.is_set():
            return InputError(problem, place=self._url, fix=fix)
        self._gave_up = True
        fix = "--resume on this machine sends what the working copy has beyond the store"
        return DisturbedError(problem, place=self._url, fix=fix)


def store_of(path: StoredPath) -> Store:
    """The store of the run that a path lies in."""
    url = _found(path)[1]
    assert url is not None
    return _store(url, os.getpid())


@lru_cache(maxsize=64)
def _store(url: str, process: int) -> Store:  # noqa: ARG001  # clients are not forked
    return Store(url)


_FIXES = (
    (
        ("NO_SUCH_BUCKET", "NoSuchBucket"),
        "create the bucket, or check its name, the region and the endpoint",
    ),
    (
        ("ACCESS_DENIED", "AccessDenied", "Forbidden", "INVALID_ACCESS_KEY", "INVALID_CLIENT",
         "InvalidAccessKeyId", "InvalidClientTokenId", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED",
         "credentials", "Unauthenticated", "PermissionDenied", "Permission denied"),
        "check the credentials (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "AWS_PROFILE) and that they may list, read, write and delete there",
    ),
    (
        ("NETWORK_CONNECTION", "curlCode", "connect", "resolve", "timed out", "Timeout"),
        "check the network and the endpoint (for S3 AWS_ENDPOINT_URL, or ?endpoint_override= in "
        "the URL)",
    ),
    (("",), "when it is well again, continue with --resume"),
)  # fmt: skip


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).partition("; Details:")[0].partition(" (Request ID")[0]
    return text if len(text) <= 300 else text[:297] + "..."


# -------------------------------------------------------------------------------------------------
# The journal of a stored run: numbered segments of whole lines, each written once.
#
# They are `evaluations/000001-0001-4f1c2a9e.jsonl` and so on: the number, the epoch of the driver
# that wrote it (each driver has a higher one than those before it) and the first digits of its
# name. Of two with one number, which there are only if a driver that had lost its run wrote once
# more, the one of the higher epoch counts.

FOLDER, JOURNAL, INDEX = "evaluations", "evaluations.jsonl", ".segments"

_NAME = re.compile(r"([0-9]{6,12})-([0-9]{4,12})-([0-9a-f]{8})\.jsonl")

_FILES = re.compile(r"manifest\.json|certificate\.json|space(-[1-9][0-9]*)?\.yaml")
"""What is read of a run beside its journal; all else follows from it and is only written."""


class Segment(NamedTuple):
    """A segment of a journal: its name, and how a listing shows it."""

    number: int
    epoch: int
    writer: str
    size: int = 0
    written: float = 0.0

    @property
    def name(self) -> str:
        """The object's."""
        return f"{FOLDER}/{self.number:06}-{self.epoch:04}-{self.writer}.jsonl"


def segments_in(store: Store) -> list[Segment]:
    """The segments that are the journal, in their order."""
    found: dict[int, list[Segment]] = {}
    for name, listed in store.names(FOLDER).items():
        if (parts := _NAME.fullmatch(name)) is not None:
            one = Segment(int(parts[1]), int(parts[2]), parts[3], *listed)
            found.setdefault(one.number, []).append(one)
    journal: list[Segment] = []
    epoch = 0
    for number in range(1, max(found, default=0) + 1):
        here = [one for one in found.get(number, ()) if one.epoch >= epoch]
        if not here:
            if any(n > number and one.epoch >= epoch for n, some in found.items() for one in some):
                missing = f"segment {number} is missing, and there are later ones"
                raise _no_segment(store, FOLDER, missing)
            break
        journal.append(max(here, key=lambda one: (one.epoch, one.writer)))
        epoch = journal[-1].epoch
    return journal


def _no_segment(store: Store, name: str, problem: str) -> InputError:
    fix = "restore the object, if the store keeps versions of it"
    return InputError(problem, place=store.place(name), fix=fix)


def brought(store: Store, folder: Path, *, driver: bool) -> int:
    """Make a copy on this machine what the store holds.

    What the copy has already is not downloaded again. Whole lines that the store lacks are kept for
    a driver, which brings them there, if they follow all that the store has; otherwise they are of
    another run, or of a driver that had lost it, and are dropped.

    Returns:
        How many bytes of the copy's journal were dropped, if it was of this run.
    """
    segments = segments_in(store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            dropped = _brought_journal(store, folder, segments, keep=driver)
            names = [name for name in store.names() if _FILES.fullmatch(name)]
            for name in names:
                content, place = store.get(name), folder / name
                if content is not None and not (place.exists() and place.read_bytes() == content):
                    _write(place, content)
            for place in folder.iterdir():
                if _FILES.fullmatch(place.name) and place.name not in names:
                    place.unlink()
            return dropped
    except OSError as error:
        raise copy_unwritable(folder, error) from None


def _brought_journal(store: Store, folder: Path, segments: Sequence[Segment], *, keep: bool) -> int:
    place, names, known = folder / JOURNAL, [one.name for one in segments], _known(folder)
    size = place.stat().st_size if place.exists() else 0
    if not segments and not size:
        place.unlink(missing_ok=True)
        return 0
    begun = sum(one.size for one in segments[: len(known)])
    same = names[: len(known)] == known and size >= begun
    offset, done = (begun, len(known)) if same else (0, 0)
    # Without a segment the copy may be of a run that was removed from the store.
    manifest = folder / "manifest.json"
    keep = keep and same and bool(segments) and manifest.exists()
    keep = keep and manifest.read_bytes() == store.get("manifest.json")
    dropped = 0
    with place.open("r+b" if place.exists() else "w+b") as journal:
        for segment in segments[done:]:
            data = store.get(segment.name)
            if data is None or len(data) != segment.size:
                raise _no_segment(store, segment.name, "is missing")
            if not data.endswith(b"\n"):
                raise _no_segment(store, segment.name, "does not end with a whole line")
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


def _known(folder: Path) -> list[str]:
    """The segments that a copy's journal has."""
    lines = (folder / INDEX).read_bytes() if (folder / INDEX).exists() else b""
    return lines[: lines.rfind(b"\n") + 1].decode("ascii", "replace").split()


def _write(place: Path, content: bytes) -> None:
    fd, temporary = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    Path(temporary).replace(place)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Of several readers on one machine, one at a time."""
    with (folder / ".copy.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# -------------------------------------------------------------------------------------------------
# What a stored run needs where a run on a disk needs nothing: to be brought, held and written.
#
# All of it raises an InputError if the store fails, or if this driver has lost the run.


class _Hold(Protocol):
    """What `runs.lock.RunLock` says of a run that this process holds."""

    @property
    def epoch(self) -> int: ...
    @property
    def writer(self) -> str: ...
    def check(self, *, patience: float = 0.0) -> None: ...


_held: dict[str, tuple[Store, _Hold]] = {}
"""What this process holds, by the directory of the working copy."""


def readable(path: str | os.PathLike[str]) -> Path:
    """The directory to read a run from: of a stored one a copy, with all that the store has now.

    A copy that this process works in is not touched.
    """
    url = url_of(path)
    if url is None:
        return as_path(path)
    if isinstance(path, StoredPath) and _found(path)[0] in _held:
        return path
    copy = copy_of(url, "reader")
    store = store_of(copy)
    store.check()
    brought(store, copy.resolve(), driver=False)
    return copy


def driven(path: str | os.PathLike[str]) -> Path:
    """The directory to work in: of a stored run its working copy, which `worked_in` fills."""
    url = url_of(path)
    return as_path(path) if url is None else copy_of(url, "driver")


def holds_lines(path: StoredPath) -> bool:
    """Whether the store has any of a run's journal."""
    store = store_of(path)
    store.check()
    return bool(segments_in(store))


@contextmanager
def worked_in(directory: StoredPath, hold: _Hold, say: Callable[[str], None]) -> Iterator[None]:
    """Bring a stored run that is held into its working copy, and write there and to the store."""
    root, store = _found(directory)[0], store_of(directory)
    _held[root] = store, hold
    try:
        if dropped := brought(store, directory.resolve(), driver=True):
            say(
                f"{directory}: {dropped:,} bytes of the working copy's journal never came to the "
                "store and are dropped: what they held is trained again"
            )
        yield
    finally:
        del _held[root]


def stored(path: Path, content: bytes | None) -> None:
    """Write a file of a stored run into the store, or delete it; nothing of one on a disk."""
    if not isinstance(path, StoredPath):
        return
    store, root = store_of(path), _found(path)[0]
    if root in _held:
        _held[root][1].check(patience=PATIENCE)
    name = Path(os.fspath(path)).relative_to(root).as_posix()
    if content is not None:
        store.put(name, content, patience=PATIENCE if root in _held else 0.0)
    elif store.exists(name):
        store.delete(name)


def writer_for(journal: Path) -> SegmentWriter | None:
    """What brings the lines of a journal that is open for writing to the store; None on a disk."""
    if not isinstance(journal, StoredPath):
        return None
    return SegmentWriter(*_held[_found(journal)[0]], journal.resolve())


# -------------------------------------------------------------------------------------------------
# Files that a reader sees whole or not at all.

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
        hold: of this driver.
        place: of the journal's file in the working copy, which begins with what the store has.
    """

    def __init__(self, store: Store, hold: _Hold, place: Path) -> None:
        segments = segments_in(store)
        self._store, self._hold, self._place = store, hold, place
        self._file = place.open("rb", buffering=0)  # whatever becomes of its name
        self._number = len(segments) + 1
        self._offset = sum(one.size for one in segments)
        self._pending: tuple[Segment, bytes] | None = None
        self._before = self._read(None).count(b"\n")  # that the store lacks
        self._sent = 0
        self._began = self._last = time.monotonic()
        self._failure: InputError | None = None
        self._mutex = threading.Lock()

    @property
    def settled(self) -> int:
        """How many lines, of those appended since this was made, the store has."""
        return max(0, self._sent - self._before)

    def check(self) -> None:
        """Return if nothing has failed."""
        if self._failure is not None:
            raise self._failure

    def put_due(self) -> bool:
        """Write a segment if its time has come, or there is much; False once the store failed."""
        pause = min(MOST_SECONDS, max(LEAST_SECONDS, SHARE * (self._last - self._began)))
        waiting = os.fstat(self._file.fileno()).st_size - self._offset
        if waiting >= MANY_BYTES or time.monotonic() >= self._last + pause:
            self._put()
        return self._failure is None

    def sync(self) -> None:
        """Return when all lines are in the store, or something has failed; see `check`."""
        while self._failure is None and self._put():
            pass

    def hurry(self) -> None:
        """The user has interrupted: from now on wait for the store for some seconds only."""
        self._store.hurry()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _put(self) -> bool:
        """Write one segment; False if there is none to write."""
        with self._mutex:
            if self._failure is not None:
                return False
            if self._pending is None:
                data = self._read(MOST_BYTES)
                if not data:
                    return False
                segment = Segment(self._number, self._hold.epoch, self._hold.writer)
                self._pending = segment, data
            segment, data = self._pending  # if it was interrupted, the same bytes as before
            try:
                self._store.put(segment.name, data, patience=PATIENCE)
                self._hold.check(patience=PATIENCE)
            except InputError as error:
                self._failure = self._failed(error)
                return False
            # Not downloaded again; who removed the copy has it so.
            with suppress(OSError), (self._place.parent / INDEX).open("ab") as index:
                index.write(f"{segment.name}\n".encode())
            self._pending = None
            self._number += 1
            self._offset += len(data)
            self._sent += data.count(b"\n")
            self._last = time.monotonic()
            return True

    def _failed(self, error: InputError) -> InputError:
        lines = self._read(None).count(b"\n")
        if isinstance(error, DisturbedError):
            return DisturbedError(
                f"{error.problem}; the last {lines:,} lines are not there yet",
                place=error.place,
                fix=f"{os.fspath(self._place)} has them: --resume on this machine sends them",
            )
        return InputError(
            error.problem,
            place=error.place,
            fix=f"{error.fix}; --resume continues with all that is in the store, and on this "
            f"machine with the later lines in {os.fspath(self._place)}",
        )

    def _read(self, most: int | None) -> bytes:
        """Whole lines that the store lacks: those that fit into `most` bytes, one at least."""
        self._file.seek(self._offset)
        data = self._file.read() if most is None else self._file.read(most)
        while most is not None and b"\n" not in data and (more := self._file.read(most)):
            data += more
        return data[: data.rfind(b"\n") + 1]
