"""The files that a command needs, as they were when the search began, and where it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from xortune.engine.command_template import Template
from xortune.engine.sent_files import MOST, are_there, digest_of, unpacked
from xortune.errors import InputError

__all__ = ["Kept", "kept_files"]

_SKIPPED = "__pycache__"


@dataclass(frozen=True)
class KeptFile:
    """A file as it was.

    Attributes:
        path: relative to the space file's folder.
        content: of the file.
        executable: whether it can be run.
    """

    path: str
    content: bytes = field(repr=False)
    executable: bool


@dataclass(frozen=True)
class Kept:
    """The files of a command, and the folder that they were in.

    Attributes:
        root: of the space file.
        files: in the order of their paths.
        digest: of their paths and contents.
    """

    root: str = field(repr=False)
    files: tuple[KeptFile, ...] = field(repr=False)
    digest: str

    def folder(self) -> Path:
        """Where the command runs: the space file's folder if its files are there as they were.

        If not (on another machine, or since somebody has edited one), a copy of the files. It is
        looked at each time: a training must not change while a search runs.
        """
        root = Path(self.root)
        if root.is_dir() and are_there(root, _contents(self.files)):
            return root
        return _copy(self)


def kept_files(folder: Path, template: Template, names: Sequence[str] | None) -> Kept:
    """Read the files of a command; nothing is run.

    Args:
        folder: of the space file.
        template: of the command.
        names: files and folders, relative to it; None for the words of the command that are files.

    Raises:
        InputError: one is not there, lies elsewhere, or all are too large to be sent.
    """
    root = folder.resolve()
    chosen = _words(root, template) if names is None else names
    found = {path: None for name in chosen for path in _paths(root, name)}
    files, size = [], 0
    for path in sorted(found):
        try:
            size += path.stat().st_size
            if size > MOST:
                raise _too_large(names is None)
            executable = bool(path.stat().st_mode & 0o111)
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})", field="files") from None
        files.append(KeptFile(path.relative_to(root).as_posix(), content, executable))
    return Kept(str(root), tuple(files), digest_of(_contents(files)))


def _words(root: Path, template: Template) -> Iterator[str]:
    """Words without placeholders that name files below the folder."""
    for word in template.words:
        text = word.parts[0]
        if len(word.parts) > 1 or not isinstance(text, str) or _outside(text):
            continue
        try:
            if (root / text).is_file():
                yield text
        except (OSError, ValueError):  # too long for a path, or a NUL in it
            continue


def _paths(root: Path, name: str) -> list[Path]:
    """The file of that name, or the files in the folder of that name."""
    path = root / name
    if _outside(name):
        raise InputError(
            f"{name!r} is not below the folder of the space file",
            field="files",
            allowed="files and folders beside the space file, or in folders there",
            fix="copy it there, or give the command its absolute path and leave it out here",
        )
    if path.is_dir():
        inside = (p for p in path.rglob("*") if p.is_file())
        return [p for p in inside if _SKIPPED not in p.parts]
    if not path.is_file():
        raise InputError(
            f"there is no file {name!r} in {root}",
            field="files",
            allowed="files and folders, relative to the space file",
            fix="correct its name, or remove it",
        )
    return [path]


def _outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not path.parts


def _too_large(guessed: bool) -> InputError:
    return InputError(
        f"the files of the command are larger than {MOST:,} bytes",
        field="files",
        allowed="what is sent to each worker: programs, not data",
        fix="name those that are to be sent, `files: [train.py]`, or none, `files: []`"
        if guessed
        else "leave the large ones out, and give the command their absolute paths",
    )


def _contents(files: Iterable[KeptFile]) -> Iterator[tuple[str, bytes]]:
    return ((file.path, file.content) for file in files)


@cache
def _copy(kept: Kept) -> Path:
    folder = unpacked(_contents(kept.files), prefix="xortune-command-")
    for file in kept.files:
        (folder / file.path).chmod(0o700 if file.executable else 0o600)
    return folder
