"""Brings the lines of a stored run's journal to the store, a segment at a time."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from xortune.errors import InputError
from xortune.run_lease import Lease
from xortune.run_segments import Segment, note_known, segments_in
from xortune.run_store import PATIENCE, Store

__all__ = ["SegmentWriter"]

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
