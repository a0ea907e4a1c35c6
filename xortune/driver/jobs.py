"""A block on its way to a worker: job, training, and what is done with those that fail."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from typing import Literal, Protocol

from xortune import __version__
from xortune.core.errors import InputError, TrainingError, named
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, OutOfTime, Trainer, Unfinished, runs_users_code
from xortune.driver.own_process import ProcessEnded, kills_late, train_apart
from xortune.runs.evaluation import EncodedOutcome, encode_outcome
from xortune.trainers.function import CustomTrainer
from xortune.trainers.limits import ending_at, time_is_over
from xortune.trainers.returned import one_line

# -------------------------------------------------------------------------------------------------
# Where blocks come from and results go, for those who only hand them on.


class BlockSource(Protocol):
    """Where blocks come from and results go: of a search, or of a certificate."""

    @property
    def finished(self) -> bool:
        """Nothing is left to do, and nothing is under way."""
        ...

    @property
    def ready(self) -> int:
        """How many blocks wait to be handed out, those aside that are only made when asked for."""
        ...

    @property
    def left(self) -> int:
        """How many blocks are still to be made, at most."""
        ...

    @property
    def open(self) -> bool:
        """Whether another block can be made now."""
        ...

    @property
    def over(self) -> bool:
        """Whether its time is over: nothing begins any more, what was handed out comes back."""
        ...

    @property
    def left_time(self) -> float | None:
        """Seconds until its time is over, 0 or more; None for any time."""
        ...

    def next_job(self) -> Job | None:
        """The next block to train; None if there is none now."""
        ...

    def receive(
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        *,
        seconds: float,
        worker: str,
    ) -> None:
        """Journal a result; a block without an outcome is handed out again, or given up."""
        ...

    def stop(self) -> None:
        """Begin nothing new; what is under way may finish."""
        ...


# -------------------------------------------------------------------------------------------------
# A block on its way to a worker.

ATTEMPTS = 3
"""So often a block that produces no outcome is tried in all."""


@dataclass(frozen=True)
class Job:
    """A block on its way to a worker.

    Attributes:
        proposal: the number of the proposal it belongs to.
        block: what to train.
        attempt: from 1, more for the repetitions of a block that produced nothing.
        climbs: whether it is not the first of its config.
        step: the number of the decision it comes from.
    """

    proposal: int
    block: Block
    attempt: int = 1
    climbs: bool = False
    step: int = 0


# -------------------------------------------------------------------------------------------------
# What is done with a pack of blocks where it is trained: on a worker, or in this process.


def trained(
    trainer: Trainer, blocks: Sequence[Block], *, apart: bool = False, until: float | None = None
) -> list[EncodedOutcome | TrainingError] | TrainingError:
    """One result or error for each block, or one error for all.

    Outcomes are packed here, where there are many processors, and are small on their way.

    Args:
        trainer: what trains.
        blocks: what is trained.
        apart: in a process of its own, if it is a user's function; it is kept until `let_go`.
        until: when the search's time is over, by `time.time`: nothing begins afterwards. What is
            not the code of users trains a pack as one, in seconds.

    Raises:
        ProcessEnded: a seed ended that process.
    """
    try:
        with ending_at(until):
            results: list[Outcome | TrainingError] = []
            for part in [[one] for one in blocks] if runs_users_code(trainer) else [blocks]:
                if time_is_over():
                    results += [OutOfTime() for _ in part]
                elif isinstance(trainer, CustomTrainer) and (apart or kills_late(trainer)):
                    results += [train_apart(trainer, block) for block in part]
                else:
                    results += trainer.train(part)
        return [_packed(block, result) for block, result in zip(blocks, results, strict=True)]
    except ProcessEnded:
        raise
    except Exception as error:  # a trainer's own; the worker lives on for the next pack
        return TrainingError(one_line(named(error)))


def _packed(block: Block, result: Outcome | TrainingError) -> EncodedOutcome | TrainingError:
    if isinstance(result, Outcome):
        return encode_outcome(block, result)
    if isinstance(result, Unfinished) and result.outcome is not None:
        first = Block(block.point, block.first, result.outcome.n)
        return type(result)(encode_outcome(first, result.outcome))
    return result


# -------------------------------------------------------------------------------------------------
# Which seed of a block it is that kills its worker, or hangs.
#
# A user's own code may do either for one seed of many. Its block is tried again as it is, for the
# worker may have died of something else; the last time in parts, and what dies of these in smaller
# ones, until the seeds at fault are alone. Each of them costs a worker, and so a configuration
# that kills one under every seed is not tried to the last of them.

PARTS = 16
"""A block is split into so many parts at most. Up to so many seeds each is one by itself: then none
but the seeds at fault costs a worker. Of more, each part is a trial of Tune's, which keeps them."""

HOPELESS = 8
"""Where so many parts of a configuration have died and none has come through, none will."""


def split(job: Job, parts: int) -> list[Job]:
    """A job as several, of about as many seeds each."""
    block = job.block
    bounds = [block.first + block.count * part // parts for part in range(parts + 1)]
    return [
        replace(job, block=Block(block.point, start, end - start))
        for start, end in pairwise(bounds)
    ]


class CrashBisector:
    """Takes what became of blocks that are tried for the last time; says what of them to try."""

    def __init__(self) -> None:
        self._died: Counter[str] = Counter()  # by the key of the config
        self._last: dict[str, TrainingError] = {}
        self._came: set[str] = set()

    def parts(self, job: Job) -> list[Job]:
        """What is handed out for a job: itself, or its parts if it is its last try."""
        if job.attempt < ATTEMPTS or job.block.count == 1 or self.hopeless(job):
            return [job]
        return split(job, min(PARTS, job.block.count))

    def hopeless(self, job: Job) -> TrainingError | None:
        """Why a job is not worth its last try; None if it is."""
        key = job.block.point.key
        if job.attempt < ATTEMPTS or key in self._came or self._died[key] < HOPELESS:
            return None
        return self._last[key]

    def died(self, job: Job, reason: TrainingError) -> list[Job]:
        """What is tried instead of a job that came to nothing; nothing if that was its end."""
        if job.attempt < ATTEMPTS:
            return []
        self._died[job.block.point.key] += 1
        self._last[job.block.point.key] = reason
        parts = self.parts(job)
        return parts if len(parts) > 1 else []

    def came(self, job: Job) -> None:
        """A job has results."""
        if self._died:
            self._came.add(job.block.point.key)


# -------------------------------------------------------------------------------------------------
# Which packs have taken too long. It knows neither Ray nor what a pack is.
#
# A trainer may hang where no Python runs: in a loop of a C library that holds the interpreter, or
# waiting for a disk that is gone. Neither a scheduler of Tune nor a thread or signal handler in
# the worker gets a word in then, and a timer that ends the process from inside could not tell the
# driver why. So the driver keeps the time and has Ray kill the worker, which does not ask the
# worker: its node kills the process if it does not go by itself.

STEP = 1.0
"""Seconds, at most, by which the clock moves from one look to the next."""


class Watchdog:
    """Keeps the time of packs, by a clock that stands still while the driver is busy itself.

    A driver that has just spent minutes on something else has not yet seen the results that came
    meanwhile: nothing is late because nobody looked.

    Args:
        limit: seconds that a pack may take; None for any time.
        now: the time.
    """

    def __init__(self, limit: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._now = limit, now
        self._last, self._clock = now(), 0.0
        self._started: dict[str, float] = {}

    def start(self, name: str) -> None:
        """A pack is being trained from now on."""
        self._started[name] = self._clock

    def end(self, name: str) -> None:
        """A pack is no longer of interest."""
        self._started.pop(name, None)

    def late(self) -> list[tuple[str, float]]:
        """Packs that have just been found too slow, and their seconds; each is told once."""
        now = self._now()
        self._clock += min(now - self._last, STEP)
        self._last = now
        if self._limit is None:
            return []
        found = [
            (name, self._clock - start)
            for name, start in self._started.items()
            if self._clock - start >= self._limit
        ]
        for name, _ in found:
            self.end(name)
        return found


# -------------------------------------------------------------------------------------------------
# Why a pack came to nothing: whose fault it was, in the words that are written down.

NODE = ("its node has died", "is unavailable: ", "The actor never ran")
SETUP = "raised in its creation task"
OURS = "killed by `ray.kill`"

_DETAIL = re.compile(r"Worker exit type: (\w+) Worker exit detail: ([^.]*\.[^.]*)")


@dataclass(frozen=True)
class WorkerFailure:
    """Why a worker delivered nothing.

    Attributes:
        kind: `pack`, something that it trained killed it; `late`, it was stopped for it took too
            long; `node`, its machine has left or cannot be reached; `setup`, it never got as far
            as the pack; `stopped`, it had been stopped already when it was given the pack.
        reason: for the journal, or for the user.
        seconds: that it took, if it was late.
    """

    kind: Literal["pack", "late", "node", "setup", "stopped"]
    reason: str
    seconds: float = 0.0


def classify_failure(text: str | None) -> WorkerFailure:
    """What Ray's account of a dead worker comes to.

    Ray tells the kinds apart in its words alone, where its exception has gone through Tune.
    """
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    last = lines[-1] if lines else "the worker died, no reason given"
    if any(phrase in (text or "") for phrase in NODE):
        return WorkerFailure("node", last)
    if SETUP in (text or ""):
        return WorkerFailure("setup", last)
    if OURS in (text or ""):
        return WorkerFailure("stopped", last)
    detail = _DETAIL.search(text or "")
    if detail:  # without the half page on what may cause it
        return WorkerFailure("pack", f"the worker died: {detail[1]}, {' '.join(detail[2].split())}")
    return WorkerFailure("pack", last)


def time_exceeded(limit: float, seconds: float) -> WorkerFailure:
    """A pack that was stopped at its limit (in seconds)."""
    return WorkerFailure("late", f"took longer than {duration_text(limit)}", seconds)


def duration_text(seconds: float) -> str:
    """`90 s`, `10 m`, `2 h`: in the largest unit of which it is a whole number."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


# -------------------------------------------------------------------------------------------------
# What must be the same on every machine for its results to be counted together.

PACKAGES = ("torch", "numba", "numpy")
"""On which a training's numbers depend."""


def versions() -> dict[str, str]:
    """Of xortune and of what computes here; without the build (`+cpu`), which may differ."""
    found = {"xortune": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def refuse_other_versions(drivers: dict[str, str]) -> None:
    """Refuse to train here what would be counted with what is trained elsewhere.

    Raises:
        InputError: a version differs from the driver's.
    """
    here = versions()
    other = [
        f"{name} {here[name]}, not {want}" for name, want in drivers.items() if here[name] != want
    ]
    if other:
        raise InputError(f"{socket.gethostname()} has {'; '.join(other)} as the driver has")
