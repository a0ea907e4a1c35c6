"""Brings a run to trackers: all of it at once, or as it grows, beside the search."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError
from xortune.core.formats import plain
from xortune.core.outcome import Outcome
from xortune.integrations.mlflow import MLflow
from xortune.integrations.tensorboard import TensorBoard
from xortune.integrations.tracker import About, ConfigLog, State, TrackedStep, Tracker
from xortune.integrations.wandb import Wandb
from xortune.runs.certificate import certificate_of
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import JournalReader
from xortune.runs.lines import Evaluations
from xortune.runs.lock import holder
from xortune.runs.manifest import manifest_of
from xortune.runs.results import ConfigResult, by_version, config_table
from xortune.runs.run import JOURNAL, Run, no_run
from xortune.runs.status import moment
from xortune.runs.store import readable, url_of

# -------------------------------------------------------------------------------------------------
# A run's journal as it grows, by configuration: what was read once is not read again.

TOGETHER = 500  # configurations whose numbers are made at once
NO_METRIC = ("key", "trials")  # columns of a config's table that say nothing of its seeds


class RunFollower:
    """Reads a run on as it grows.

    Args:
        directory: of the run; it need not be there yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._reader = JournalReader(directory / JOURNAL)

    @property
    def _lines(self) -> Evaluations:
        """The final lines of the search."""
        search, _ = Evaluations(self._reader.lines).apart()
        return search.where(search.column("final") > 0)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all configurations with a result so far, in the order in which they came."""
        return self._lines.keys

    def read_on(self) -> list[str]:
        """Take in the whole lines that came; the keys of configurations that have more seeds."""
        new, _ = self._reader.read_on().apart()
        return list(new.where(new.column("final") > 0).keys)

    def about(self) -> About:
        """The run at this moment."""
        manifest = manifest_of(self._directory)
        name = str(manifest.get("name") or self._directory.resolve().name)
        return About(
            self._directory,
            "".join("_" if sign in "/\\\0" else sign for sign in name),
            _identity(self._directory, manifest),
            self._state(manifest),
        )

    def configs(self, keys: Iterable[str]) -> Iterator[ConfigLog]:
        """The configurations with these keys, in this order."""
        began = int(moment(manifest_of(self._directory).get("started")) or 0)
        certified, wanted = self._certified(), list(keys)
        for at in range(0, len(wanted), TOGETHER):
            blocks: dict[str, list[Evaluation]] = {key: [] for key in wanted[at : at + TOGETHER]}
            counted, _ = by_version(self._lines.of_keys(list(blocks)))
            for evaluation in counted:
                blocks[evaluation.block.point.key].append(evaluation)
            yield from _logs(blocks.values(), began, certified)

    def _state(self, manifest: Mapping[str, Any]) -> State:
        found = holder(self._directory)
        if found is not None and found[1] in ("alive", "elsewhere"):  # there it may live
            return "running"
        return "finished" if manifest.get("complete") is True else "stopped"

    def _certified(self) -> dict[str, dict[str, float]]:
        certificate = certificate_of(Evaluations(self._reader.lines).apart()[1])
        found: dict[str, dict[str, float]] = {}
        for one in certificate.finalists if certificate else ():
            names = ("k", "n", "rate", "lower_bound", "confidence", "gap")
            told = {name: getattr(one, name) for name in names}
            told["neighbourhood_lower_bound"] = one.neighbourhood_bound
            known = {name: float(given) for name, given in told.items() if given is not None}
            found[one.key] = {f"certified_{name}": given for name, given in known.items()}
        return found


def _identity(directory: Path, manifest: Mapping[str, Any]) -> str:
    """What a run keeps when its directory is moved; of one that says nothing of itself, where."""
    names = ("name", "started", "host", "seed", "command")
    known: dict[str, Any] = {name: manifest.get(name) for name in names}
    if known["started"] is None:
        known = {"path": str(directory.resolve())}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]


def _logs(
    blocks: Iterable[list[Evaluation]], began: int, certified: Mapping[str, Mapping[str, float]]
) -> Iterator[ConfigLog]:
    results, times, sizes = [], [], []
    for found in blocks:
        point = found[0].block.point
        epochs = max((e.outcome.epochs for e in found if e.outcome is not None), default=0)
        parts: Any = (e.outcome or Outcome.crashed(e.block.seeds, epochs) for e in found)
        outcomes = list(accumulate(parts, Outcome.merge))  # all seeds after each block
        results += [ConfigResult(point, point.key, outcome, 0) for outcome in outcomes]
        times += [began if evaluation.at is None else evaluation.at for evaluation in found]
        sizes.append(len(outcomes))
    table = config_table(results, ()).drop(columns=list(NO_METRIC))
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy(dtype=float)]
    at = 0
    for size in sizes:
        point = results[at].point
        steps = tuple(
            TrackedStep(
                results[i].outcome.n,
                times[i],
                {name: float(n) for name, n in rows[i].items() if math.isfinite(n)},
            )
            for i in range(at, at + size)
        )
        yield ConfigLog(point.key, point.as_dict(), steps, certified.get(point.key, {}))
        at += size


# -------------------------------------------------------------------------------------------------
# Bringing a run to trackers: all of it at once, or as it grows, beside the search.
#
# A tracker that fails never stops a search and loses nothing: the journal has it all, and what a
# tracker lacks it is given later, by the same search or by `xortune log`.

PAUSE_SECONDS = 2.0
"""Between two looks at the journal, at least; a slow tracker gets a quarter of the time."""

PATIENCE_SECONDS = 60.0
"""A search that is over waits for its trackers as long as they get on: one step in that time."""

MAX_REASON = 300


def logged(run: str | os.PathLike[str], trackers: Sequence[Tracker]) -> int:
    """Log all of a run, as far as it has got; how many configurations it has.

    Raises:
        InputError: no tracker, the run is none or damaged, or a tracker fails.
    """
    if not trackers:
        fix = "give --tensorboard, --mlflow or --wandb"
        raise InputError("nowhere to log to", place="log", fix=fix)
    path = readable(run)
    if not path.is_dir() or not manifest_of(path):
        raise no_run(path)
    reader = RunFollower(path)
    reader.read_on()
    for tracker in trackers:
        try:
            for _ in _logged(reader, tracker, reader.keys, last=True):
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


def _logged(
    reader: RunFollower, tracker: Tracker, keys: Iterable[str], *, last: bool
) -> Iterator[str]:
    """The keys of configurations, each when it is logged; at last the end of the run, too."""
    about = reader.about()
    tracker.begin(about)
    for config in reader.configs(keys):
        tracker.log(config, about)
        yield config.key
    if last:
        tracker.end(about)


def logging(
    directory: Path, trackers: Sequence[Tracker], say: Callable[[str], None] | None = None
) -> AbstractContextManager[object]:
    """Log a run while the body makes it, in a thread; at its end all that is missing.

    Args:
        directory: of the run; it need not be there yet.
        trackers: where to; with none nothing is done.
        say: called with a sentence when a tracker fails, once for each; else it is on stderr.
    """
    return Follower(directory, trackers, say or _say) if trackers else nullcontext()


class Follower:
    """The thread of `logging`, which brings what is new in a run to trackers."""

    def __init__(
        self, directory: Path, trackers: Sequence[Tracker], say: Callable[[str], None]
    ) -> None:
        self._directory, self._trackers, self._say = directory, trackers, say
        self._reader = RunFollower(directory)
        self._missing: list[dict[str, None]] = [{} for _ in trackers]
        self._told: set[str] = set()
        self._over = threading.Event()
        self._moved = time.monotonic()
        # Nothing of it may keep the process from ending: what it would have done can be done later.
        self._thread = threading.Thread(target=self._follow, name="xortune-log", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
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
                    for key in _logged(self._reader, tracker, list(missing), last=last):
                        del missing[key]
                        self._moved = time.monotonic()
                        if self._over.is_set() and not last:
                            break  # all of it comes next
                except Exception as error:  # whatever a tracker's package raises
                    self._tell(tracker.name, reason_of(error))

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


# -------------------------------------------------------------------------------------------------
# The verb `log`: a run to TensorBoard, MLflow or W&B, and what a search does that is asked to.

PROJECT = "xortune"  # of W&B, if none is named

Where = str | os.PathLike[str] | bool | None


def log(
    run: Run | str | os.PathLike[str],
    *,
    tensorboard: Where = None,
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


def trackers_for(
    output: str | os.PathLike[str] | None,
    *,
    tensorboard: Where = None,
    mlflow: str | None = None,
    wandb: str | bool | None = None,
) -> tuple[Tracker, ...]:
    """The trackers that are asked for, as of `log`, none of which has been spoken to.

    Raises:
        InputError: a package is not installed, or an argument is not usable.
    """
    found: list[Tracker] = []
    if tensorboard is not None and tensorboard is not False:
        if tensorboard is True and output is not None and url_of(output) is not None:
            raise InputError(
                "the run is in an object store",
                field="tensorboard",
                fix="name a directory for the event files",
            )
        found.append(TensorBoard(None if tensorboard is True else Path(tensorboard)))
    if mlflow is not None:
        found.append(MLflow(mlflow))
    if wandb is not None and wandb is not False:
        found.append(Wandb(PROJECT if wandb is True else wandb))
    return tuple(found)


def _say(sentence: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it; or it is closed, or lacks a sign
        print(plain(f"note: {sentence}"), file=sys.stderr)
