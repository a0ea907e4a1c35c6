"""The objects of a stored run: put, get, list and delete, on any of pyarrow's filesystems.

A store is asked for nothing but that: no append, no rename, no condition. What is supposed is that
who lists or gets an object after it was put sees it (S3, Google and Azure say so).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from xortune.errors import InputError
from xortune.run_url import Location, StoredPath, location_of

__all__ = ["PATIENCE", "Listed", "Store", "store_of"]

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
