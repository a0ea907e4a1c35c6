"""Runs whose output is a URL: s3://bucket/prefix/run, gs://, file://, what pyarrow takes.

Such a run has a working copy on this machine, below the user's cache directory or `XORTUNE_CACHE`,
in which everything is done as in a run's directory on a disk; what is written there goes to the
store too. There are two copies of each run: one that a driver works in, and one for those who only
read, which holds what the store holds.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from xortune.errors import InputError

if TYPE_CHECKING:
    _LocalPath = Path
else:
    _LocalPath = type(Path())

__all__ = [
    "Location",
    "StoredPath",
    "as_path",
    "copy_of",
    "copy_unwritable",
    "location_of",
    "root_of",
    "url_of",
]

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
