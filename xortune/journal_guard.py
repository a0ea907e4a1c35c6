"""Notices that somebody replaces, removes or moves a run's files while a search writes to them.

A process that has a file open goes on writing to it when another one takes its name: what it
writes is gone when it ends. So whoever brings lines to the disk looks whether the file still has
its name; if not, all that was written is put back, or kept beside what has the name now.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from xortune.errors import DisturbedError
from xortune.files import open_regular
from xortune.run_lock import RunLock

__all__ = ["Guard"]

BESIDE = ("manifest.json", "space.yaml")
"""What a run cannot be resumed without, beside its journal."""


class Guard:
    """Knows a journal that is open, and the files beside it.

    Args:
        fd: the open file.
        place: its path.
        lock: of its run; None where it has none.
    """

    def __init__(self, fd: int, place: str, lock: RunLock | None) -> None:
        self._fd, self._place, self._lock = fd, Path(os.path.realpath(place)), lock
        self._shown = place
        self._known = _identity(self._place)
        self._beside: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self.look()

    def look(self) -> DisturbedError | None:
        """None if all is as this process left it; else what to tell, and nothing is lost by now.

        Nobody writes to the journal meanwhile.
        """
        removed = [name for name in BESIDE if not self._noted(name)]
        replaced = _identity(self._place) != self._known
        if replaced and (moved := self._moved()) is not None:
            return moved
        try:
            disturbed = self._kept() if replaced else None
            for name in removed:
                place = self._place.with_name(name)
                place.write_bytes(self._beside[name][1])
                disturbed = disturbed or _put_back(place)
        except OSError as error:
            return DisturbedError(
                "was replaced or removed while this search wrote to it, and could not be written "
                f"again ({error.strerror})",
                place=self._shown,
                fix="see to it that it can be written; --resume trains what it lacks again",
            )
        return disturbed

    def _noted(self, name: str) -> bool:
        """Keep what a file beside the journal holds; False if it was there and is no more."""
        place = self._place.with_name(name)
        try:
            found = place.lstat()
            known = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
            if name not in self._beside or self._beside[name][0] != known:
                with open_regular(place) as file:
                    self._beside[name] = known, file.read()
        except FileNotFoundError:
            return name not in self._beside
        except OSError:  # it cannot be read: told by those who need it
            return True
        return True

    def _moved(self) -> DisturbedError | None:
        """What to say of a journal that has another name now, and so holds all of it."""
        try:
            name = Path(os.readlink(f"/proc/self/fd/{self._fd}"))  # noqa: PTH115  # may lead nowhere
            same = os.path.samestat(name.stat(), os.fstat(self._fd))
        except OSError:  # removed, or no Linux
            return None
        if not same or name.name.startswith(".nfs"):  # removed there, as far as a server can
            return None
        return DisturbedError(
            f"was moved to {name} while this search wrote to it; all lines are there",
            place=self._shown,
            fix="move it back, then --resume, or resume it there",
        )

    def _kept(self) -> DisturbedError:
        """Put the journal back where nothing is lost by it, or keep it beside what is there now."""
        self._place.parent.mkdir(parents=True, exist_ok=True)
        there = os.path.lexists(self._place)
        mine = self._lock is None or not self._lock.is_others()
        back = mine and (not there or self._begins_with(self._place))
        kept, number = self._place, 1
        while not back and os.path.lexists(kept):
            kept, number = self._place.with_name(f"{self._place.name}.kept-{number}"), number + 1
        fd, temporary = tempfile.mkstemp(dir=kept.parent, prefix=f".{kept.name}.")
        with self._open() as lines, os.fdopen(fd, "wb") as file:
            shutil.copyfileobj(lines, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(os.fstat(self._fd).st_mode & 0o777)
        Path(temporary).replace(kept)
        if back:
            return _put_back(self._shown, replaced=there)
        return DisturbedError(
            "was replaced while this search wrote to it; what is there now is left as it is, and "
            f"all lines of this search are in {kept}",
            place=self._shown,
            fix=f"give the right one of the two the name {self._place.name}, then --resume",
        )

    def _begins_with(self, place: Path) -> bool:
        """Whether all that a file holds is the beginning of what was written."""
        try:
            with open_regular(place) as theirs, self._open() as mine:
                while part := theirs.read(1 << 20):
                    if mine.read(len(part)) != part:
                        return False
        except OSError:
            return False
        return True

    def _open(self) -> BinaryIO:
        file = os.fdopen(os.dup(self._fd), "rb")
        file.seek(0)
        return file


def _put_back(place: str | os.PathLike[str], *, replaced: bool = False) -> DisturbedError:
    how = "replaced by an earlier state of it" if replaced else "removed"
    return DisturbedError(
        f"was {how} while this search wrote to its run; it is put back with all that it held",
        place=str(place),
        fix="leave the files of a run alone while it is written to; --resume continues",
    )


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        found = place.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
