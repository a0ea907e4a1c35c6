"""Logs a run to trackers: all of it at once, or as it grows, beside the search."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np

from xortune.core.errors import InputError
from xortune.core.formats import plain
from xortune.core.outcome import Outcome
from xortune.integrations.trackers import (
    ConfigLog,
    Folder,
    TrackedRun,
    TrackedStep,
    Tracker,
    trackers_for,
)
from xortune.runs.certificate import certificate_of
from xortune.runs.evaluation import Evaluation, Evaluations
from xortune.runs.journal import JournalReader
from xortune.runs.manifest import manifest_of
from xortune.runs.results import Counts, by_version, counted, statistics
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
        return TrackedRun(
            self._directory,
            "".join("_" if sign in "/\\\0" else sign for sign in name),
            _identity(self._directory, manifest),
            state_of(self._driver.look(self._directory, time.time()), manifest),
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
            names = ("k", "n", "rate", "lower_bound", "confidence", "gap")
            values = {name: getattr(finalist, name) for name in names}
            values["neighbourhood_lower_bound"] = finalist.neighbourhood_bound
            found[finalist.key] = {
                f"certified_{name}": float(v) for name, v in values.items() if v is not None
            }
        return found


def _identity(directory: Path, manifest: Mapping[str, Any]) -> str:
    """Stays when a run's directory is moved; without a manifest it follows from the path."""
    names = ("name", "started", "host", "seed", "command")
    known: dict[str, Any] = {name: manifest.get(name) for name in names}
    if known["started"] is None:
        known = {"path": str(directory.resolve())}
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
        times += [began if evaluation.at is None else evaluation.at for evaluation in evaluations]
        configs.append((evaluations[0].block.point, len(evaluations)))
    columns = counted(Counts.of(outcomes))
    columns |= statistics(outcomes, columns)
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
# A tracker that fails never stops a search and loses nothing: the journal is complete, and what a
# tracker lacks is logged later, by the same search or by `xortune log`.

PAUSE_SECONDS = 2.0
"""Minimum time between two reads of the journal; a slow tracker gets a quarter of the time."""

PATIENCE_SECONDS = 60.0
"""A search that has ended stops waiting for trackers that log no configuration in this time."""

MAX_REASON = 300  # characters


def logged(run: str | os.PathLike[str], trackers: Sequence[Tracker]) -> int:
    """Log all configurations that a run has so far; return their number.

    Raises:
        InputError: no tracker is given, there is no run or it is damaged, or a tracker fails.
    """
    if not trackers:
        fix = "give --tensorboard, --mlflow or --wandb"
        raise InputError("nowhere to log to", place="log", fix=fix)
    path = reader_directory(run)
    if not path.is_dir() or not manifest_of(path):
        raise no_run(path)
    reader = RunFollower(path)
    reader.read_on()
    for tracker in trackers:
        try:
            for _ in _log_configs(reader, tracker, reader.keys, last=True):
                pass
        except InputError:
            raise
        except Exception as error:  # whatever a tracker's package raises
            raise InputError(
                f"{tracker.name} fails ({reason_of(error)})",
                place=tracker.place,
                fix="check that it can be reached and written; the same command then logs what "
                "is missing",
            ) from error
    return len(reader.keys)


def _log_configs(
    reader: RunFollower, tracker: Tracker, keys: Iterable[str], *, last: bool
) -> Iterator[str]:
    """Yield the key of each configuration when it is logged; at last log the end of the run."""
    run = reader.run()
    tracker.begin(run)
    for config in reader.configs(keys):
        tracker.log(config, run)
        yield config.key
    if last:
        tracker.end(run)


class Follower:
    """Logs a run in a thread while the body makes it; at its end it logs all that is missing.

    Args:
        directory: of the run; it need not exist yet.
        trackers: where to log to. Each that fails prints one sentence on stderr.
    """

    def __init__(self, directory: Path, trackers: Sequence[Tracker]) -> None:
        self._directory, self._trackers = directory, trackers
        self._reader = RunFollower(directory)
        self._missing: list[dict[str, None]] = [{} for _ in trackers]
        self._reported: set[str] = set()
        self._ended = threading.Event()
        self._progressed = time.monotonic()
        # A daemon: it must not keep the process alive, and what it lacks can be logged later.
        self._thread = threading.Thread(target=self._follow, name="xortune-log", daemon=True)

    def __enter__(self) -> None:
        if self._trackers:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        """Wait until all is logged, as long as it makes progress, or until Ctrl-C."""
        self._progressed = time.monotonic()
        self._ended.set()
        names = " and ".join(tracker.name for tracker in self._trackers)
        try:
            while self._thread.is_alive():
                self._thread.join(0.2)
                if time.monotonic() - self._progressed > PATIENCE_SECONDS:
                    self._report(names, f"made no progress for {PATIENCE_SECONDS:.0f} s")
                    return
        except KeyboardInterrupt:  # it ends this wait; the search has already ended
            self._report(names, "interrupted")

    def _follow(self) -> None:
        pause = PAUSE_SECONDS
        while not self._ended.wait(pause):
            began = time.monotonic()
            self._log_new(last=False)
            pause = max(PAUSE_SECONDS, 3 * (time.monotonic() - began))
        self._log_new(last=True)

    def _log_new(self, *, last: bool) -> None:
        try:
            changed = self._reader.read_on()
        except InputError as error:  # the search reports it too, unless it was momentary
            if last:
                self._report("the run", reason_of(error))
            return
        for tracker, missing in zip(self._trackers, self._missing, strict=True):
            missing.update(dict.fromkeys(self._reader.keys if last else changed))
            if self._reader.keys and (last or (missing and tracker.live)):
                try:
                    for key in _log_configs(self._reader, tracker, list(missing), last=last):
                        del missing[key]
                        self._progressed = time.monotonic()
                        if self._ended.is_set() and not last:
                            break  # the last call logs everything
                except Exception as error:  # whatever a tracker's package raises
                    self._report(tracker.name, reason_of(error))

    def _report(self, what: str, why: str) -> None:
        """Print on stderr, once for each tracker, that it failed."""
        if what in self._reported:
            return
        self._reported.add(what)
        text = (
            f"note: {what} could not be logged ({why}). The search is unaffected; run "
            f"`xortune log {self._directory}` with the same options later"
        )
        with suppress(OSError, ValueError):  # stderr is closed, or its encoding lacks a character
            print(plain(text), file=sys.stderr)


def reason_of(error: BaseException) -> str:
    """The first line of an error's message, shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]} …"


def log(
    run: Run | str | os.PathLike[str],
    *,
    tensorboard: Folder = None,
    mlflow: str | None = None,
    wandb: str | bool | None = None,
) -> int:
    """Log each configuration of a run once: its settings, its key, and its counts as seeds came.

    It trains nothing, and logs nothing twice, so the same call later adds only what is new. The run
    may still be running. If it is finished, its configurations are closed, and certified ones also
    get what fresh seeds show.

    Args:
        run: a run, whose directory is read again, or its directory.
        tensorboard: a directory for event files; True for `tensorboard` in the run's directory.
        mlflow: a tracking URI. The experiment is MLFLOW_EXPERIMENT_NAME, or named as the space.
        wandb: a project of W&B, or ENTITY/PROJECT; True for `xortune`. With WANDB_MODE=offline it
            only writes files, to WANDB_DIR or into the run's directory.

    Returns:
        How many configurations the run has.

    Raises:
        InputError: there is nothing to log to, a package is not installed, the run is damaged, or a
            tracker fails; the same call then logs what is missing.
    """
    path = run.path if isinstance(run, Run) else run
    return logged(path, trackers_for(path, tensorboard=tensorboard, mlflow=mlflow, wandb=wandb))
