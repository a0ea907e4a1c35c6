"""Logs a run to trackers: all of it at once, or as it grows, beside the search."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np

from xortune.core.errors import InputError
from xortune.core.outcome import Outcome
from xortune.integrations.trackers import (
    ConfigLog,
    TrackedRun,
    TrackedStep,
    Tracker,
    checked_trackers,
)
from xortune.runs.certificate import certificate_of
from xortune.runs.columns import tracked
from xortune.runs.evaluation import Evaluation, Evaluations
from xortune.runs.journal import JournalReader
from xortune.runs.manifest import manifest_of
from xortune.runs.results import by_version
from xortune.runs.run import Run, no_run
from xortune.runs.status import DriverWatch, moment, state_of
from xortune.runs.store import JOURNAL, reader_directory

# -------------------------------------------------------------------------------------------------
# A run's journal as it grows, by configuration. Each line is read once.

CONFIGS_AT_ONCE = 500  # whose numbers are computed in one table


class RunFollower:
    """Reads a run as it grows.

    Args:
        directory: of the run; it need not exist yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reader = JournalReader(directory / JOURNAL)
        self._driver = DriverWatch()

    @property
    def _lines(self) -> Evaluations:
        """The final lines of the search."""
        search, _ = Evaluations(self._reader.lines).split()
        return search.where(search.column("final") > 0)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all configurations with a result so far, in the order of the journal."""
        return self._lines.keys

    def read_on(self) -> list[str]:
        """Read the complete new lines; return the keys of configurations that have more seeds."""
        new, _ = self._reader.read_on().split()
        return list(new.where(new.column("final") > 0).keys)

    def run(self) -> TrackedRun:
        """The run at this moment."""
        manifest = manifest_of(self._directory)
        name = str(manifest.get("name") or self._directory.resolve().name)
        first, lines = _identity(self._directory, manifest), self._reader.lines
        gone = set(Evaluations(lines, lines.replaced).keys)
        return TrackedRun(
            self._directory,
            "".join("_" if sign in "/\\\0" else sign for sign in name),
            _identity(self._directory, manifest, replaced=True) if gone else first,
            state_of(self._driver.look(self._directory, time.time()), manifest),
            earlier=first if gone else "",
            gone=frozenset(gone.difference(self.keys) if gone else ()),
        )

    def configs(self, keys: Iterable[str]) -> Iterator[ConfigLog]:
        """The configurations with these keys, in this order."""
        began = int(moment(manifest_of(self._directory).get("started")) or 0)
        certified, wanted = self._certified(), list(keys)
        for at in range(0, len(wanted), CONFIGS_AT_ONCE):
            part = wanted[at : at + CONFIGS_AT_ONCE]
            blocks: dict[str, list[Evaluation]] = {key: [] for key in part}
            counted, _ = by_version(self._lines.of_keys(part))
            for evaluation in counted:
                blocks[evaluation.block.point.key].append(evaluation)
            yield from _logs(blocks.values(), began, certified)

    def _certified(self) -> dict[str, dict[str, float]]:
        certificate = certificate_of(Evaluations(self._reader.lines).split()[1])
        found: dict[str, dict[str, float]] = {}
        for finalist in certificate.finalists if certificate else ():
            names = ["k", "n", "rate", "lower_bound", "confidence", "gap"]
            if (known := finalist.number) is not None:
                names = ["n", "failed", "confidence", "optimism"]
            values = {name: getattr(finalist, name) for name in names}
            around = "neighbourhood_lower_bound" if known is None else "neighbourhood_bound"
            values[around] = finalist.neighbourhood_bound
            if known is not None:
                ends = {known.asked.name: known.value, "low": known.low, "high": known.high}
                values |= ends
            found[finalist.key] = {
                f"certified_{name}": float(one)
                for name, one in values.items()
                if one is not None and math.isfinite(one)
            }
        return found


def _identity(directory: Path, manifest: Mapping[str, Any], **more: bool) -> str:
    """Stays when a run's directory is moved; without a manifest it follows from the path.

    Where results were replaced, `more` says so: what trackers have is of another run then.
    """
    names = ("name", "started", "host", "seed", "command")
    known: dict[str, Any] = {name: manifest.get(name) for name in names}
    if known["started"] is None:
        known = {"path": str(directory.resolve())}
    known |= more
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]


def _logs(
    blocks: Iterable[list[Evaluation]], began: int, certified: Mapping[str, Mapping[str, float]]
) -> Iterator[ConfigLog]:
    """The configurations with these evaluations; one table computes the metrics of all steps."""
    configs, times, outcomes = [], list[int](), list[Outcome]()
    for evaluations in blocks:
        epochs = max((e.outcome.epochs for e in evaluations if e.outcome is not None), default=0)
        parts: Any = (e.outcome or Outcome.crashed(e.block.seeds, epochs) for e in evaluations)
        outcomes += accumulate(parts, Outcome.merge)  # all seeds after each block
        times += [
            began if evaluation.at is None else int(evaluation.at) for evaluation in evaluations
        ]
        configs.append((evaluations[0].block.point, len(evaluations)))
    columns = tracked(outcomes)
    rows = np.stack([*columns.values()], axis=1).astype(float).tolist()
    steps = (
        TrackedStep(
            outcome.n, at, {n: v for n, v in zip(columns, row, strict=True) if math.isfinite(v)}
        )
        for outcome, at, row in zip(outcomes, times, rows, strict=True)
    )
    for point, size in configs:
        logged_steps = tuple(islice(steps, size))
        yield ConfigLog(point.key, point.as_dict(), logged_steps, certified.get(point.key, {}))


# -------------------------------------------------------------------------------------------------
# Logging a run: all of it at once, or as it grows, beside the search.
#
# A tracker that fails never disturbs a search: it is told no more, and the user once. Nothing is
# lost: the journal is complete, and `xortune log` sends from it what the tracker lacks.


def log(run: Run | str | os.PathLike[str], trackers: Sequence[Tracker]) -> int:
    """Log each configuration of a run once: its settings, its key, and its counts as seeds came.

    It trains nothing, and logs nothing twice, so the same call later adds only what is new. The run
    may still be running. If it is finished, its configurations are closed, and certified ones also
    get what fresh seeds show.

    Args:
        run: a run, whose directory is read again, or its directory.
        trackers: where to log: `xt.TensorBoard(FOLDER)`, `xt.MLflow(URI)`, `xt.WandB(PROJECT)`.

    Returns:
        How many configurations the run has.

    Raises:
        InputError: there is nothing to log to, a package is not installed, the run is damaged, or a
            tracker fails; the same call then logs what is missing.
    """
    path = run.path if isinstance(run, Run) else run
    if not (checked := checked_trackers(trackers, path)):
        fix = "give --tensorboard, --mlflow, --wandb or --tracker"
        raise InputError("nowhere to log to", place="log", fix=fix)
    directory = reader_directory(path)
    if not directory.is_dir() or not manifest_of(directory):
        raise no_run(directory)
    reader = RunFollower(directory)
    reader.read_on()
    for tracker in checked:
        try:
            tracker.write(reader.run(), reader.configs(reader.keys))
        except InputError:
            raise
        except Exception as error:  # whatever a tracker's package raises
            raise InputError(
                f"{tracker.name} fails ({reason_of(error)})",
                place=tracker.place(directory),
                fix="check that it can be reached and written; the same command then logs what "
                "is missing",
            ) from error
    return len(reader.keys)


PAUSE_SECONDS = 2.0
"""Minimum time between two reads of the journal; a slow tracker gets a quarter of the time."""

PATIENCE_SECONDS = 60.0
"""A search that has ended stops waiting for trackers that log no configuration in this time."""

MAX_REASON = 300  # characters


@contextmanager
def following(
    directory: Path, trackers: Sequence[Tracker], on_failure: Callable[[str], None]
) -> Iterator[None]:
    """Log a run in a thread while the body makes it, so that a slow tracker delays nothing.

    At its end it waits until all is logged, as long as there is progress, or until Ctrl-C.

    Args:
        directory: of the run; it need not exist yet.
        trackers: where to log.
        on_failure: called with a sentence about each tracker that fails, from that thread.
    """
    if not trackers:
        yield
        return
    follower = _Follower(directory, trackers, on_failure)
    # A daemon: it must not keep the process alive, and what it lacks can be logged later.
    thread = threading.Thread(target=follower.follow, name="xortune-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        follower.progressed = time.monotonic()
        follower.ended.set()
        try:
            while thread.is_alive():
                thread.join(0.2)
                if time.monotonic() - follower.progressed > PATIENCE_SECONDS:
                    follower.give_up(f"made no progress for {PATIENCE_SECONDS:.0f} s")
                    break
        except KeyboardInterrupt:  # it ends this wait; the search has already ended
            follower.give_up("interrupted")


class _Follower:
    """Reads a run as it grows, and tells the trackers that have not failed."""

    def __init__(
        self, directory: Path, trackers: Sequence[Tracker], on_failure: Callable[[str], None]
    ) -> None:
        self._directory, self._trackers, self._on_failure = directory, [*trackers], on_failure
        self._reader = RunFollower(directory)
        self.ended, self.progressed = threading.Event(), time.monotonic()

    def follow(self) -> None:
        pause = PAUSE_SECONDS
        while not self.ended.wait(pause):
            began = time.monotonic()
            self._write(last=False)
            pause = max(PAUSE_SECONDS, 3 * (time.monotonic() - began))
        self._write(last=True)

    def _write(self, *, last: bool) -> None:
        try:
            keys: Iterable[str] = self._reader.read_on()
        except InputError:  # the search reports a damaged journal, unless that was momentary
            return
        for tracker in tuple(self._trackers):
            try:
                if last:
                    keys = self._reader.keys
                if keys and (last or tracker.live):
                    tracker.write(self._reader.run(), self._told(keys, last=last))
            except Exception as error:  # whatever a tracker's package raises
                self._fail(tracker, reason_of(error))

    def _told(self, keys: Iterable[str], *, last: bool) -> Iterator[ConfigLog]:
        for config in self._reader.configs(keys):
            if self.ended.is_set() and not last:
                return  # the last call tells everything
            yield config
            self.progressed = time.monotonic()

    def give_up(self, why: str) -> None:
        """Tell no tracker any more."""
        for tracker in tuple(self._trackers):
            self._fail(tracker, why)

    def _fail(self, tracker: Tracker, why: str) -> None:
        if tracker not in self._trackers:  # given up
            return
        self._trackers.remove(tracker)
        again = shlex.join(["xortune", "log", str(self._directory), *tracker.options])
        self._on_failure(
            f"{tracker.name} could not be logged ({why}). The search is unaffected; `{again}` "
            "sends what is missing"
        )


def reason_of(error: BaseException) -> str:
    """The first line of an error's message, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]} …"
