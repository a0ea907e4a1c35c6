"""Runs in object stores (s3://bucket/prefix/run, gs://, file://, all of pyarrow), atomic writes.

A stored run has a working copy on this machine, below the user's cache directory or
`XORTUNE_CACHE`. It is used like the directory of a local run, and what is written there is also
written to the store. There are two copies: a driver works in one; the other, for readers, mirrors
the store.

Why a path class of our own: users give a URL and get `run.path`, below which they open local files,
and which must show as the URL in some hundred messages. With a plain path and a URL beside it, each
message would have to choose; a path of fsspec would read each file over the network.
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

from xortune.core.errors import DisturbedError, InputError, check_type
from xortune.core.system import name_file, open_nameless

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

    _LocalPath = Path
else:
    _LocalPath = type(Path())


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/*)(.*)", re.DOTALL)
"""A scheme has at least two letters: C:/ is a drive."""

_urls: dict[str, str] = {}
"""URLs of stored runs by the directories of their copies."""


class StoredPath(_LocalPath):
    """A path in the copy of a stored run: it opens the local file, and `str` gives the URL.

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
        """The plain local path: writing there does not write to the store."""
        return Path(os.path.realpath(self, strict=strict))


def _found(path: StoredPath) -> tuple[str, str | None]:
    """The directory of the copy that contains a path, and the URL of its run."""
    plain = Path(os.fspath(path))
    for folder in map(os.fspath, (plain, *plain.parents)):
        if folder in _urls:
            return folder, _urls[folder]
    return os.fspath(plain), None


def url_of(path: str | os.PathLike[str]) -> str | None:
    """The URL if the output is one; None for a path.

    Path("s3://bucket") has lost one of its slashes, which is restored.
    """
    if isinstance(path, StoredPath):
        return _found(path)[1]
    check_type(None, path, str | os.PathLike, "the path of a run's directory, or its URL")
    parts = _URL.fullmatch(os.fspath(path))
    if parts is None:
        return None
    scheme, slashes, rest = parts.groups()
    if not slashes:
        slashes = "//" if scheme.lower() == "file" else "/"
    return f"{scheme.lower()}:/{slashes}{rest}"


def as_path(path: str | os.PathLike[str]) -> Path:
    """Convert to a Path; a StoredPath stays one."""
    return path if isinstance(path, Path) else Path(path)


def copy_of(url: str, copy: Literal["driver", "reader"]) -> StoredPath:
    """The directory of a stored run's copy on this machine; it need not exist yet."""
    whole, mark, query = url.partition("?")
    whole = whole.rstrip("/")
    scheme, _, rest = whole.partition("://")
    host, slash, path = rest.partition("/")
    user, _, server = host.rpartition("@")
    if ":" in user:  # it would appear in the manifest (with the command) and in every message
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
    """The error for a working copy that cannot be written."""
    return InputError(
        f"the working copy cannot be written ({error.strerror})",
        place=os.fspath(place),
        fix="free space there, or name another directory for working copies in XORTUNE_CACHE",
    )


# -------------------------------------------------------------------------------------------------
# The objects of a stored run: put, get, list and delete, on any of pyarrow's filesystems.
#
# Nothing else is used: no append, no rename, no condition. A put must be visible to every later
# list and get, as S3, Google and Azure promise.

RETRY_SECONDS = 120.0
"""Seconds for which a failing store is retried during a search."""

ANSWER_SECONDS = 60.0
"""Longest wait for an answer; with a higher patience that long."""

GRACE_SECONDS = 5.0
"""Longest wait, without patience, for an earlier call that has not returned yet."""

HURRY_SECONDS = 5.0
"""Longest wait for an answer after the user has interrupted."""

BYTES_A_SECOND = 100_000
"""A write may take longer, by its size at this slow rate, before it counts as hanging."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two attempts, doubled each time."""

T = TypeVar("T")


class Store:
    """The objects below the URL of a run; their names are relative to it.

    All methods raise an InputError if the store refuses, or fails for longer than `patience`
    seconds.
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
            # By default it tries a hanging server eleven times, for 100 s, even at exit.
            _, [options] = self._fs.__reduce__()
            strategy = fs.AwsStandardS3RetryStrategy(max_attempts=3)
            self._fs = fs.S3FileSystem(**{**options, "retry_strategy": strategy})
        # Elsewhere a reader may see half a file.
        self._is_atomic = self._fs.type_name in ("s3", "gcs", "abfs")

    def place(self, name: str) -> str:
        """The URL of an object, for a message."""
        return f"{self._url.partition('?')[0]}/{name}"

    def check(self) -> None:
        """Raise if the store cannot be read; undo `hurry`."""
        self._gave_up = False
        self._hurry.clear()
        bucket = self._base.partition("/")[0]
        if self._is_atomic and self._tried(lambda: self._type(bucket)) == "NotFound":
            raise InputError(
                f"there is no bucket {bucket}",
                place=self._url,
                fix="create it, or check its name, the region and the endpoint",
            )

    def hurry(self) -> None:
        """From now on wait for an answer for some seconds only, and for none after a failure."""
        self._hurry.set()

    def put(self, name: str, data: bytes, *, patience: float = 0.0) -> None:
        """Write an object, replacing one of that name."""
        more = len(data) / BYTES_A_SECOND
        self._tried(lambda: self._put(f"{self._base}/{name}", data), patience, more)

    def get(self, name: str) -> bytes | None:
        """An object's content; None without such an object."""

        def read() -> bytes | None:
            try:
                with self._fs.open_input_stream(f"{self._base}/{name}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

        return self._tried(read)

    def exists(self, name: str, *, patience: float = 0.0) -> bool:
        """Whether there is such an object."""
        return self._tried(lambda: self._type(f"{self._base}/{name}"), patience) == "File"

    def names(self, folder: str = "") -> dict[str, FileInfo]:
        """What pyarrow says of the objects directly in a folder, by name."""
        from pyarrow import fs

        path = f"{self._base}/{folder}" if folder else self._base
        selector = fs.FileSelector(path, allow_not_found=True)
        infos = self._tried(lambda: self._fs.get_file_info(selector))
        return {info.base_name: info for info in infos if info.type.name == "File"}

    def delete(self, name: str) -> None:
        """Remove an object if it exists."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self._fs.delete_file(f"{self._base}/{name}")

        self._tried(remove)

    def _type(self, path: str) -> str:
        return str(self._fs.get_file_info(path).type.name)

    def _put(self, path: str, data: bytes) -> None:
        if not self._is_atomic:
            self._fs.create_dir(path.rpartition("/")[0], recursive=True)
        target = path if self._is_atomic else f"{path}.{os.getpid()}.tmp"
        with self._fs.open_output_stream(target) as stream:
            stream.write(data)
        if target != path:
            self._fs.move(target, path)

    def _tried(self, act: Callable[[], T], patience: float = 0.0, more: float = 0.0) -> T:
        """Call `act` until it succeeds or `patience` is over; a call may take `more` seconds."""
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
                    raise self._error(f"the store fails ({_short(error)})", fix) from None
            self._hurry.wait(pause)
            if self._hurry.is_set():
                time.sleep(FIRST_PAUSE)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _answered(self, act: Callable[[], T], left: Callable[[], float], patience: float) -> T:
        """Call `act` in a thread, so that a call that hangs can be abandoned.

        While an abandoned call hangs, no other one starts: the two could finish in any order.
        """

        def is_done(future: Future[Any], most: float = math.inf) -> bool:
            end = time.monotonic() + most
            while not future.done() and (rest := min(left(), end - time.monotonic())) > 0:
                wait([future], min(rest, 0.2))  # short, so that an interrupt is noticed
            return future.done()

        no_answer = "the store does not answer", "check the network and the endpoint"
        if (before := self._unanswered) is not None:
            if not is_done(before, math.inf if patience else GRACE_SECONDS):
                raise self._error(*no_answer)
            self._unanswered = None
        if self._gave_up:
            raise self._error(*no_answer)
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(act())
            except BaseException as error:  # raised by `future.result`
                future.set_exception(error)

        threading.Thread(target=call, name="xortune-store", daemon=True).start()
        try:
            if not is_done(future):
                raise self._error(*no_answer)
        finally:
            if not future.done():
                self._unanswered = future
        return future.result()

    def _error(self, problem: str, fix: str) -> InputError:
        if not self._hurry.is_set():
            return InputError(problem, place=self._url, fix=fix)
        self._gave_up = True
        fix = "--resume on this machine sends what the working copy has beyond the store"
        return DisturbedError(problem, place=self._url, fix=fix)


def store_of(path: StoredPath) -> Store:
    """The store of the run that contains a path."""
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
# `evaluations/000001-0001-4f1c2a9e.jsonl`: the number of the segment, the epoch of its driver
# (each driver has a higher one than all before it), and the first digits of the driver's name. If
# a driver that had lost its run wrote once more, two segments have one number: the higher epoch
# counts.

FOLDER, JOURNAL, INDEX = "evaluations", "evaluations.jsonl", ".segments"

_NAME = re.compile(r"([0-9]{6,12})-([0-9]{4,12})-([0-9a-f]{8})\.jsonl")

SOURCES = re.compile(r"manifest\.json|certificate\.json|space(-[1-9][0-9]*)?\.yaml")
"""The files beside the journal that are read again; all others follow from these."""


class Segment(NamedTuple):
    """A segment of a journal: the parts of its name, its bytes, when it was written (in s)."""

    number: int
    epoch: int
    writer: str
    size: int = 0
    written: float = 0.0

    @property
    def name(self) -> str:
        """The name of the object."""
        return f"{FOLDER}/{self.number:06}-{self.epoch:04}-{self.writer}.jsonl"


def segments_in(store: Store) -> list[Segment]:
    """The segments that make up the journal, in order."""
    segments = [
        Segment(int(parts[1]), int(parts[2]), parts[3], info.size, (info.mtime_ns or 0) / 1e9)
        for name, info in store.names(FOLDER).items()
        if (parts := _NAME.fullmatch(name)) is not None
    ]
    by_number: dict[int, list[Segment]] = {}
    for segment in segments:
        by_number.setdefault(segment.number, []).append(segment)
    journal: list[Segment] = []
    epoch = 0
    for number in range(1, max(by_number, default=0) + 1):
        candidates = [segment for segment in by_number.get(number, ()) if segment.epoch >= epoch]
        if not candidates:
            if any(segment.number > number and segment.epoch >= epoch for segment in segments):
                missing = f"segment {number} is missing, and there are later ones"
                raise _no_segment(store, FOLDER, missing)
            break
        journal.append(max(candidates, key=lambda segment: (segment.epoch, segment.writer)))
        epoch = journal[-1].epoch
    return journal


def _no_segment(store: Store, name: str, problem: str) -> InputError:
    fix = "restore the object, if the store keeps versions of it"
    return InputError(problem, place=store.place(name), fix=fix)


def update_copy(store: Store, folder: Path, *, driver: bool) -> int:
    """Update a copy on this machine from the store.

    What the copy already has is not downloaded again. A driver's copy keeps whole lines that the
    store lacks if they follow all lines of the store: the driver uploads them. Other lines belong
    to another run, or to a driver that had lost this one, and are dropped.

    Returns:
        How many bytes of this run were dropped from the copy's journal.
    """
    segments = segments_in(store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".copy.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process of this machine at a time
            dropped = _update_journal(store, folder, segments, keep=driver)
            names = [name for name in store.names() if SOURCES.fullmatch(name)]
            for name in names:
                content, place = store.get(name), folder / name
                if content is not None and not (place.exists() and place.read_bytes() == content):
                    replace_file(place, content)
            for place in folder.iterdir():
                if SOURCES.fullmatch(place.name) and place.name not in names:
                    place.unlink()
            return dropped
    except OSError as error:
        raise copy_unwritable(folder, error) from None


def _update_journal(store: Store, folder: Path, segments: Sequence[Segment], *, keep: bool) -> int:
    place, names, known = folder / JOURNAL, [segment.name for segment in segments], _known(folder)
    size = place.stat().st_size if place.exists() else 0
    if not segments and not size:
        place.unlink(missing_ok=True)
        return 0
    known_size = sum(segment.size for segment in segments[: len(known)])
    is_same = names[: len(known)] == known and size >= known_size
    offset, done = (known_size, len(known)) if is_same else (0, 0)
    # Without a segment the copy may belong to a run that was removed from the store.
    manifest = folder / "manifest.json"
    keep = keep and is_same and bool(segments) and manifest.exists()
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
        os.utime(place, (segments[-1].written, segments[-1].written))  # which `status` shows
    replace_file(folder / INDEX, "".join(f"{name}\n" for name in names).encode())
    return dropped if segments else 0


def _known(folder: Path) -> list[str]:
    """Names of the segments that the copy's journal already has."""
    lines = (folder / INDEX).read_bytes() if (folder / INDEX).exists() else b""
    return lines[: lines.rfind(b"\n") + 1].decode("ascii", "replace").split()


# -------------------------------------------------------------------------------------------------
# Download a stored run, hold it, write to it. For a local run these functions do nothing.
#
# All of them raise an InputError if the store fails, or if this driver has lost the run.


class _Hold(Protocol):
    """The part of `runs.lock.RunLock` that is used here."""

    @property
    def epoch(self) -> int: ...
    @property
    def writer(self) -> str: ...
    def check(self, *, patience: float = 0.0) -> None: ...


_held: dict[str, tuple[Store, _Hold]] = {}
"""The runs that this process holds, by the directories of their working copies."""


def reader_directory(path: str | os.PathLike[str]) -> Path:
    """The directory to read a run from; for a stored run a copy, updated from the store.

    A copy that this process works in is not updated.
    """
    url = url_of(path)
    if url is None:
        return as_path(path)
    if isinstance(path, StoredPath) and _found(path)[0] in _held:
        return path
    copy = copy_of(url, "reader")
    store = store_of(copy)
    store.check()
    update_copy(store, copy.resolve(), driver=False)
    return copy


def driver_directory(path: str | os.PathLike[str]) -> Path:
    """The directory to work in; for a stored run its working copy, which `working_copy` fills."""
    url = url_of(path)
    return as_path(path) if url is None else copy_of(url, "driver")


def holds_lines(path: StoredPath) -> bool:
    """Whether the store has any lines of a run's journal."""
    store = store_of(path)
    store.check()
    return bool(segments_in(store))


@contextmanager
def working_copy(
    directory: StoredPath, hold: _Hold, on_message: Callable[[str], None]
) -> Iterator[None]:
    """Download a held run into its working copy; writes go there and to the store."""
    root, store = _found(directory)[0], store_of(directory)
    _held[root] = store, hold
    try:
        if dropped := update_copy(store, directory.resolve(), driver=True):
            on_message(
                f"{directory}: {dropped:,} bytes of the working copy's journal never came to the "
                "store and are dropped: what they held is trained again"
            )
        yield
    finally:
        del _held[root]


def write_to_store(path: Path, content: bytes | None) -> None:
    """Write or delete (None) a file in the store; do nothing for a local run."""
    if not isinstance(path, StoredPath):
        return
    store, root = store_of(path), _found(path)[0]
    if root in _held:
        _held[root][1].check(patience=RETRY_SECONDS)
    name = Path(os.fspath(path)).relative_to(root).as_posix()
    if content is None:
        store.delete(name)
    else:
        store.put(name, content, patience=RETRY_SECONDS if root in _held else 0.0)


def segment_writer(journal: Path) -> SegmentWriter | None:
    """The uploader for a journal that is open for writing; None for a local run."""
    if not isinstance(journal, StoredPath):
        return None
    return SegmentWriter(*_held[_found(journal)[0]], journal.resolve())


# -------------------------------------------------------------------------------------------------
# Atomic writes: a reader sees the old file or the new one.

Content: TypeAlias = bytes | Callable[[BinaryIO], object]
"""A file's content, or a function that writes it, for content too large for the memory."""


def replace_file(path: Path, content: Content) -> None:
    """Write a file beside its place, then rename it; for a stored run also write to the store.

    Raises:
        OSError: the directory cannot be written; the previous file is untouched.
        InputError: for a stored run: the copy cannot be written, the store fails, or this driver
            has lost the run.
    """
    try:
        _replace(path, content)
    except OSError as error:
        if isinstance(path, StoredPath):
            raise copy_unwritable(path, error) from None
        raise
    if isinstance(path, StoredPath):
        write_to_store(path, content if isinstance(content, bytes) else path.read_bytes())


def remove_file(path: Path) -> None:
    """Remove a file if it exists; for a stored run also from the store.

    Raises:
        OSError: the directory cannot be written.
        InputError: for a stored run: the store fails, or this driver has lost the run.
    """
    path.unlink(missing_ok=True)
    write_to_store(path, None)


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
                name_file(file.fileno(), name)
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
    """Open a new file beside a place; without a name where the file system has such.

    A file without a name vanishes with its writer: a killed one leaves nothing behind.
    """
    if (nameless := open_nameless(path.parent)) is not None:
        return nameless, None
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    return fd, Path(name)


# -------------------------------------------------------------------------------------------------
# Uploads the lines of a stored run's journal, a segment at a time.

LEAST_SECONDS, MOST_SECONDS = 1.0, 60.0
"""Between two segments."""

WAITED_SHARE = 0.01
"""Of the time so far: how long a line waits for others. A segment a second at first, about a
thousand in ten hours."""

MANY_BYTES = 1 << 20
"""So many bytes are uploaded without waiting."""

MOST_BYTES = 4 << 20
"""Of a segment, unless one line is longer: S3 takes 5 MB at once."""


class SegmentWriter:
    """Uploads the lines of the journal's file; a line is settled when the store has it.

    Args:
        store: of the run.
        hold: this driver's lock.
        place: the journal in the working copy; it begins with the lines that the store has.
    """

    def __init__(self, store: Store, hold: _Hold, place: Path) -> None:
        segments = segments_in(store)
        self._store, self._hold, self._place = store, hold, place
        self._file = place.open("rb", buffering=0)  # stays open if the file is renamed
        self._number = len(segments) + 1
        self._offset = sum(segment.size for segment in segments)
        self._pending: tuple[Segment, bytes] | None = None
        self._before = self._read(None).count(b"\n")  # lines that the store lacks already
        self._sent = 0
        self._began = self._last = time.monotonic()
        self._failure: InputError | None = None
        self._mutex = threading.Lock()

    @property
    def settled(self) -> int:
        """How many of the lines appended since this was made are in the store."""
        return max(0, self._sent - self._before)

    def check(self) -> None:
        """Raise the error if an upload has failed."""
        if self._failure is not None:
            raise self._failure

    def put_due(self) -> bool:
        """Upload a segment if it is time, or many bytes wait; False once the store failed."""
        pause = min(MOST_SECONDS, max(LEAST_SECONDS, WAITED_SHARE * (self._last - self._began)))
        waiting = os.fstat(self._file.fileno()).st_size - self._offset
        if waiting >= MANY_BYTES or time.monotonic() >= self._last + pause:
            self._put()
        return self._failure is None

    def sync(self) -> None:
        """Upload all lines, unless the store fails; see `check`."""
        while self._failure is None and self._put():
            pass

    def hurry(self) -> None:
        """After an interrupt: wait for the store for some seconds only."""
        self._store.hurry()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self) -> bool:
        """Upload one segment; False if there is nothing to upload, or after a failure."""
        with self._mutex:
            if self._failure is not None:
                return False
            if self._pending is None:
                data = self._read(MOST_BYTES)
                if not data:
                    return False
                segment = Segment(self._number, self._hold.epoch, self._hold.writer)
                self._pending = segment, data
            segment, data = self._pending  # after an interrupt the same bytes again
            try:
                self._store.put(segment.name, data, patience=RETRY_SECONDS)
                self._hold.check(patience=RETRY_SECONDS)
            except InputError as error:
                self._failure = self._failed(error)
                return False
            # So that it is not downloaded again; the copy may have been removed.
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
        """Whole lines that the store lacks: as many as fit into `most` bytes, at least one."""
        self._file.seek(self._offset)
        data = self._file.read() if most is None else self._file.read(most)
        while most is not None and b"\n" not in data and (more := self._file.read(most)):
            data += more
        return data[: data.rfind(b"\n") + 1]
