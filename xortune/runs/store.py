"""Runs in object stores: URLs, objects, and the journal as numbered segments."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote

from xortune.core.errors import InputError

# -------------------------------------------------------------------------------------------------
# Runs whose output is a URL: s3://bucket/prefix/run, gs://, file://, what pyarrow takes.
#
# Such a run has a working copy on this machine, below the user's cache directory or
# `XORTUNE_CACHE`, in which everything is done as in a run's directory on a disk; what is written
# there goes to the store too. There are two copies of each run: one that a driver works in, and
# one for those who only read, which holds what the store holds.

if TYPE_CHECKING:
    _LocalPath = Path
else:
    _LocalPath = type(Path())


Copy = Literal["driver", "reader"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/*)(.*)", re.DOTALL)
"""Two letters at least: C:/ is a drive."""


@dataclass(frozen=True)
class Location:
    """Where a run is stored.

    Attributes:
        base: the URL without its query.
        query: how to get there (`?endpoint_override=...`), or nothing.
    """

    base: str
    query: str

    def __str__(self) -> str:
        return self.base + self.query

    def place(self, name: str) -> str:
        """The URL of something in the run, for a message."""
        return f"{self.base}/{name}"


_locations: dict[str, Location] = {}
"""By the directory of their copies on this machine."""


class StoredPath(_LocalPath):
    """A path in the working copy of a stored run: opens as a file there, and shows as its URL."""

    def __fspath__(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        root = _root(self)
        if root is None:
            return os.fspath(self)
        inside = os.fspath(self)[len(root) + 1 :].replace(os.sep, "/")
        return _locations[root].place(inside) if inside else str(_locations[root])

    def resolve(self, strict: bool = False) -> Path:  # type: ignore[override]
        """The file itself, on this machine: a path that shows as one, and stores nothing."""
        return Path(os.path.realpath(self, strict=strict))


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The URL that an output is; None if it is a path.

    A Path that was made of a URL has lost one of its two slashes, which is given back.
    """
    if isinstance(path, StoredPath):
        return str(location_of(path))
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


def copy_of(url: str, copy: Copy) -> StoredPath:
    """The directory of a stored run's copy on this machine; it may not be there yet.

    Raises:
        InputError: a URL without a name for the run.
    """
    location = _parsed(url)
    digest = hashlib.sha256(str(location).encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]", "_", unquote(location.base.rpartition("/")[2]))[-100:]
    root = _cache() / "runs" / digest / copy / name
    _locations[os.fspath(root)] = location
    return StoredPath(root)


def root_of(path: StoredPath) -> Path:
    """The directory of the copy that a path lies in."""
    root = _root(path)
    assert root is not None
    return Path(root)


def location_of(path: StoredPath) -> Location:
    """Where the run is stored that a path lies in."""
    return _locations[os.fspath(root_of(path))]


def copy_unwritable(place: str | os.PathLike[str], error: OSError) -> InputError:
    """What to say of a working copy that the file system does not let us write."""
    return InputError(
        f"the working copy cannot be written ({error.strerror})",
        place=os.fspath(place),
        fix="free space there, or name another directory for working copies in XORTUNE_CACHE",
    )


def _root(path: StoredPath) -> str | None:
    plain = Path(os.fspath(path))
    found = (os.fspath(folder) for folder in (plain, *plain.parents))
    return next((folder for folder in found if folder in _locations), None)


def _parsed(url: str) -> Location:
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
    return Location(whole, mark + query)


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

BYTES_A_SECOND = 100_000
"""What is written waits so much longer: a slow line is none that hangs."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0

T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """An object as a listing shows it.

    Attributes:
        size: in bytes.
        written: when; seconds since 1970 by the store's clock.
    """

    size: int
    written: float


class Store:
    """The objects below the URL of a run; their names are relative to it.

    Args:
        location: of the run.

    Raises:
        InputError: no filesystem for such a URL.
    """

    def __init__(self, location: Location) -> None:
        import pyarrow as pa
        from pyarrow import fs

        self.location = location
        try:
            self._fs, self._base = fs.FileSystem.from_uri(str(location))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"cannot be used as an output ({_short(error)})",
                place=str(location),
                allowed="a path, s3://, gs://, or what else pyarrow.fs.FileSystem.from_uri takes",
            ) from None
        if self._fs.type_name == "s3":
            # By itself it asks a server that hangs eleven times, for 100 s, at exit too.
            _, [options] = self._fs.__reduce__()
            strategy = fs.AwsStandardS3RetryStrategy(max_attempts=3)
            self._fs = fs.S3FileSystem(**{**options, "retry_strategy": strategy})
        self._kind: str = self._fs.type_name
        self._whole = self._kind in ("s3", "gcs", "abfs")  # else a reader may see half a file
        self._unanswered: Future[Any] | None = None

    def check(self) -> None:
        """Return if the store can be read.

        Raises:
            InputError: there is no such bucket, it refuses, or it does not answer.
        """
        bucket = self._base.partition("/")[0]
        if not self._whole or self._tried(lambda: self._info(bucket).type) != _file_type().NotFound:
            return
        raise InputError(
            f"there is no bucket {bucket}",
            place=str(self.location),
            fix="create it, or check its name, the region and the endpoint",
        )

    def put(self, name: str, data: bytes, *, patience: float = 0.0) -> None:
        """Write an object whole, over one that may be there.

        Raises:
            InputError: the store refuses it, or fails for longer than `patience` seconds.
        """
        more = len(data) / BYTES_A_SECOND
        self._tried(lambda: self._put(f"{self._base}/{name}", data), patience, more)

    def get(self, name: str, *, patience: float = 0.0) -> bytes | None:
        """An object's content; None if there is no such object.

        Raises:
            InputError: as `put`.
        """

        def read() -> bytes | None:
            try:
                with self._fs.open_input_stream(f"{self._base}/{name}") as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None

        return self._tried(read, patience)

    def exists(self, name: str, *, patience: float = 0.0) -> bool:
        """Whether there is such an object.

        Raises:
            InputError: as `put`.
        """
        info = self._tried(lambda: self._info(f"{self._base}/{name}"), patience)
        return bool(info.type == _file_type().File)

    def names(self, folder: str = "") -> dict[str, Listed]:
        """The objects directly in a folder, by name.

        Raises:
            InputError: as `put`.
        """
        from pyarrow import fs

        path = f"{self._base}/{folder}" if folder else self._base
        selector = fs.FileSelector(path, allow_not_found=True)
        found = self._tried(lambda: self._fs.get_file_info(selector))
        return {
            info.base_name: Listed(info.size, (info.mtime_ns or 0) / 1e9)
            for info in found
            if info.type == _file_type().File
        }

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is none.

        Raises:
            InputError: as `put`.
        """

        def remove() -> None:
            try:
                self._fs.delete_file(f"{self._base}/{name}")
            except FileNotFoundError:
                return

        self._tried(remove)

    def _info(self, path: str) -> Any:
        return self._fs.get_file_info(path)

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
        end = began + max(patience, ANSWER_SECONDS) + more
        while True:
            try:
                return self._answered(act, end, patience)
            except (OSError, pa.ArrowException) as error:
                if time.monotonic() - began + pause > patience:
                    raise _told(error, self.location) from None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _answered(self, act: Callable[[], T], end: float, patience: float) -> T:
        """What a call returns; in a thread, since one that hangs can neither be left nor ended.

        As long as one that was left hangs, no other is begun: it might be overtaken.
        """
        if (before := self._unanswered) is not None:
            left = max(0.0, end - time.monotonic())
            wait([before], left if patience else min(left, GRACE_SECONDS))
            if not before.done():
                raise self._no_answer()
            self._unanswered = None
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(act())
            except BaseException as error:  # for the thread that waits
                future.set_exception(error)

        threading.Thread(target=call, name="xortune-store", daemon=True).start()
        try:
            wait([future], max(0.0, end - time.monotonic()))
        finally:
            if not future.done():
                self._unanswered = future
        if not future.done():
            raise self._no_answer()
        return future.result()

    def _no_answer(self) -> InputError:
        return InputError(
            "the store does not answer",
            place=str(self.location),
            fix="check the network and the endpoint",
        )


def store_of(path: StoredPath) -> Store:
    """The store of the run that a path lies in.

    Raises:
        InputError: no filesystem for its URL.
    """
    return _store(location_of(path), os.getpid())


@lru_cache(maxsize=64)
def _store(location: Location, process: int) -> Store:  # noqa: ARG001  # clients are not forked
    return Store(location)


def _file_type() -> Any:
    from pyarrow import fs

    return fs.FileType


_REASONS = (
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
)  # fmt: skip


def _told(error: Exception, location: Location) -> InputError:
    text = str(error)
    for signs, fix in _REASONS:
        if any(sign in text for sign in signs):
            return InputError(f"the store fails ({_short(error)})", place=str(location), fix=fix)
    return InputError(
        f"the store fails ({_short(error)})",
        place=str(location),
        fix="when it is well again, continue with --resume",
    )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).partition("; Details:")[0].partition(" (Request ID")[0]
    return text if len(text) <= 300 else text[:297] + "..."


# -------------------------------------------------------------------------------------------------
# The journal of a stored run: numbered segments of whole lines, each written once.
#
# They are `evaluations/000001-0001-4f1c2a9e.jsonl` and so on: the number, the epoch of the driver
# that wrote it (each driver has a higher one than those before it) and the first digits of its
# name. So no two drivers ever write the same object. The journal is the segments by their numbers;
# of two with one number, which there are only if a driver that had lost its run wrote once more,
# the one of the higher epoch.

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
