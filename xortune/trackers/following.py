"""Bringing a run to trackers: all of it at once, or as it grows, beside the search.

A tracker that fails never stops a search and loses nothing: the journal has it all, and what a
tracker lacks it is given later, by the same search or by `xortune log`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xortune.errors import InputError
from xortune.trackers.reader import Reader
from xortune.trackers.tracker import Tracker

__all__ = ["followed", "log_all", "reason_of"]

PAUSE_SECONDS = 2.0
"""Between two looks at the journal, at least; a slow tracker gets a quarter of the time."""

PATIENCE_SECONDS = 60.0
"""A search that is over waits for its trackers as long as they get on: one step in that time."""

MAX_REASON = 300


def log_all(directory: Path, trackers: Sequence[Tracker]) -> int:
    """Log all of a run, as far as it has got; how many configurations it has.

    Raises:
        InputError: the run is damaged, or a tracker fails.
    """
    reader = Reader(directory)
    reader.read_on()
    about = reader.about()
    for tracker in trackers:
        try:
            tracker.begin(about)
            for config in reader.configs(reader.keys):
                tracker.log(config, about)
            tracker.end(about)
        except InputError:
            raise
        except Exception as error:  # whatever a tracker's package raises
            raise InputError(
                f"{tracker.name} fails ({reason_of(error)})",
                place=tracker.place,
                fix="see whether it can be reached and written; the same command then logs what "
                "is missing",
            ) from error
    return len(reader.keys)


@contextmanager
def followed(
    directory: Path, trackers: Sequence[Tracker], say: Callable[[str], None]
) -> Iterator[None]:
    """Log a run while the body makes it, in a thread; at its end all that is missing.

    Args:
        directory: of the run; it need not be there yet.
        trackers: where to; with none nothing is done.
        say: called with a sentence when a tracker fails, once for each.
    """
    if not trackers:
        yield
        return
    follower = Follower(directory, trackers, say)
    follower.start()
    try:
        yield
    finally:
        follower.finish()


class Follower:
    """A thread that brings what is new in a run to trackers.

    Args:
        directory: of the run.
        trackers: where to.
        say: called with a sentence when a tracker fails, once for each.
    """

    def __init__(
        self, directory: Path, trackers: Sequence[Tracker], say: Callable[[str], None]
    ) -> None:
        self._directory, self._trackers, self._say = directory, trackers, say
        self._reader = Reader(directory)
        self._missing: list[dict[str, None]] = [{} for _ in trackers]
        self._told: set[str] = set()
        self._over = threading.Event()
        self._moved = time.monotonic()
        # Nothing of it may keep the process from ending: what it would have done can be done later.
        self._thread = threading.Thread(target=self._follow, name="xortune-log", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def finish(self) -> None:
        """Log what is missing, and wait for that as long as it gets on, or until Ctrl-C."""
        self._moved = time.monotonic()
        self._over.set()
        names = " and ".join(tracker.name for tracker in self._trackers)
        try:
            while self._thread.is_alive():
                self._thread.join(0.2)
                if time.monotonic() - self._moved > PATIENCE_SECONDS:
                    self._tell(names, f"did not get on for {PATIENCE_SECONDS:.0f} s")
                    return
        except KeyboardInterrupt:  # of this waiting: the search itself is over
            self._tell(names, "interrupted")

    def _follow(self) -> None:
        pause = PAUSE_SECONDS
        while not self._over.wait(pause):
            began = time.monotonic()
            self._bring(last=False)
            pause = max(PAUSE_SECONDS, 3 * (time.monotonic() - began))
        self._bring(last=True)

    def _bring(self, *, last: bool) -> None:
        try:
            changed = self._reader.read_on()
        except InputError as error:  # the search tells of it too, if it is more than a moment's
            if last:
                self._tell("the run", reason_of(error))
            return
        for tracker, missing in zip(self._trackers, self._missing, strict=True):
            missing.update(dict.fromkeys(self._reader.keys if last else changed))
            if self._reader.keys and (last or (missing and tracker.live)):
                try:
                    self._bring_to(tracker, missing, last=last)
                except Exception as error:  # whatever a tracker's package raises
                    self._tell(tracker.name, reason_of(error))

    def _bring_to(self, tracker: Tracker, missing: dict[str, None], *, last: bool) -> None:
        about = self._reader.about()
        tracker.begin(about)
        for config in self._reader.configs(list(missing)):
            if self._over.is_set() and not last:
                return  # all of it comes next
            tracker.log(config, about)
            del missing[config.key]
            self._moved = time.monotonic()
        if last:
            tracker.end(about)

    def _tell(self, what: str, why: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._say(
                f"{what} could not be told ({why}); the search loses nothing by it: "
                f"`xortune log {self._directory}` with the same options logs it at any time"
            )


def reason_of(error: BaseException) -> str:
    """What an error says, in a line that is not too long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]} …"
