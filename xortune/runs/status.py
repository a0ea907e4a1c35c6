"""The status of a run, also while it runs. Nothing is written to its directory."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.formats import as_html, number
from xortune.core.outcome import SeedCount, Status
from xortune.core.point import Point
from xortune.core.success import has_rule
from xortune.core.trainer import Reported, is_failure, is_void
from xortune.racing.objectives import only_rate
from xortune.racing.race import is_worse, race_lower
from xortune.racing.statement import Statement
from xortune.runs.certificate import CertifiedResult
from xortune.runs.evaluation import Evaluations
from xortune.runs.journal import JournalReader
from xortune.runs.lock import LEASE_SECONDS, Owner, holder
from xortune.runs.manifest import (
    SPACE,
    last_search,
    manifest_of,
    refuse_others,
    rungs_of,
    searches_of,
    sessions_of,
    stopped_because,
)
from xortune.runs.run import Run, no_run
from xortune.runs.sessions import space_at
from xortune.runs.store import JOURNAL, reader_directory
from xortune.spaces.grid import budget


@dataclass(frozen=True)
class CertificateState:
    """The state of a run's certificate.

    Attributes:
        state: `none` without fresh seeds; `begun` if the last attempt lacks some; `complete`.
        attempt: number of the last attempt.
        done: its fresh seeds so far.
        planned: its planned fresh seeds, those of neighbours included.
        best: the first finalist of the last complete attempt.
        confidence: of all bounds together.
        asked: fresh seeds for each finalist, which the search trains at its end; None if the space
            asks for none, or the search has ended.
    """

    state: Literal["none", "begun", "complete"] = "none"
    attempt: int | None = None
    done: int = 0
    planned: int = 0
    best: CertifiedResult | None = None
    confidence: float | None = None
    asked: int | None = None


def _certificate(run: Run) -> CertificateState:
    certificate = run.certificate
    if certificate is None:
        asked = None
        if run.manifest.get("complete") is not True:
            with suppress(InputError):  # the space cannot be read
                asked = run.asked.seeds.certify
        return CertificateState(asked=asked)
    attempt, lines = certificate.attempts[-1], run.checks.lines
    final = run.checks.where(run.checks.column("final") > 0).places.tolist()
    mine = [line for line in final if lines.purposes[line].attempt == attempt.number]
    purposes = [lines.purposes[line] for line in mine]
    planned_near = [purpose.seeds for purpose in purposes if purpose.kind == "neighbourhood"]
    near = max(planned_near, default=attempt.seeds)
    done = int(lines.column("count")[mine].sum())
    planned = purposes[-1].finalists * attempt.seeds + purposes[-1].neighbours * near
    if attempt.is_sequence:  # its number of seeds is known at its end
        planned = done if attempt.complete else max(done, attempt.seeds)
    return CertificateState(
        state="complete" if attempt.complete and done >= planned else "begun",
        attempt=attempt.number,
        done=done,
        planned=planned,
        best=next(iter(certificate.finalists), None),
        confidence=certificate.confidence,
    )


# -------------------------------------------------------------------------------------------------
# Whether the process that holds a run is alive.
#
# On its own machine the kernel knows. From elsewhere only its heartbeat is visible: a process whose
# beat moves between two looks is alive; one whose beat stands still for a whole lease is gone. At
# the first look a recent beat counts as alive, which needs clocks that agree within a lease.

Life: TypeAlias = Literal["alive", "gone"]

LATEST = 2.5e11
"""The year 9892, in seconds since 1970: about the last that a calendar can show."""


@dataclass(frozen=True)
class Driver:
    """The process that searches or certifies, or the last one that did.

    Attributes:
        life: whether it is alive.
        pid: its process id; None after a regular end.
        host: the name of its machine.
        since: when it began; seconds since 1970.
        heartbeat: the time of its last beat by its own clock; seconds since 1970.
        elsewhere: whether it runs on another machine, or in another container, than this process.
    """

    life: Life
    pid: int | None = None
    host: str | None = None
    since: float | None = None
    heartbeat: float | None = None
    elsewhere: bool = False


class DriverWatch:
    """Looks at the driver of a run, and remembers the beats of one elsewhere."""

    def __init__(self) -> None:
        self._seen: tuple[str, int] | None = None
        self._moved: float | None = None
        self._still_since = 0.0

    def look(self, path: Path, now: float) -> Driver:
        """The driver, alive or gone; `now` in seconds since 1970."""
        lock = holder(path)
        if lock is None:
            return Driver("gone")
        owner, seen = lock
        alive = self._alive(owner, now) if seen == "elsewhere" else seen == "alive"
        return Driver(
            life="alive" if alive else "gone",
            pid=owner.pid,
            host=owner.host,
            since=moment(owner.since),
            heartbeat=owner.heartbeat if 0 < owner.heartbeat < LATEST else None,
            elsewhere=seen == "elsewhere",
        )

    def _alive(self, owner: Owner, now: float) -> bool:
        if self._seen != (owner.owner, owner.beats):
            self._moved = now if self._seen is not None else None
            self._seen, self._still_since = (owner.owner, owner.beats), now
        if now - self._still_since >= LEASE_SECONDS:
            return False
        return self._moved is not None or abs(now - owner.heartbeat) < LEASE_SECONDS


def moment(text: object) -> float | None:
    """Convert ISO 8601 to seconds since 1970; None if it is no such time."""
    if not isinstance(text, str):
        return None
    try:
        seconds = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < LATEST else None


# -------------------------------------------------------------------------------------------------
# A status uses the same columns as tables and reports, so all name the same leader. A look reads
# only the lines appended since the last one.

RECENT_SECONDS = 300.0
"""The recent rate is measured over this time."""

RECENT_LINES = 10_000
"""Maximum number of lines over which the recent rate is measured, the last ones."""


def _rate(
    times: NDArray[np.float64], counts: NDArray[np.int64], now: float, since: float | None
) -> float | None:
    """Recent seeds per second, from the times and counts of lines; None without any.

    Times are in seconds since 1970; -1 if unknown.
    """
    then = now - RECENT_SECONDS if since is None else max(now - RECENT_SECONDS, since)
    times, counts = times[-RECENT_LINES:], counts[-RECENT_LINES:]
    if times.size == RECENT_LINES:
        then = max(then, float(times[0]))
    seeds = int(counts[times > then].sum())
    return seeds / (now - then) if seeds and now > then else None


def _expected(run: Run, done: int, missing: int) -> tuple[int, int] | None:
    """The seeds expected at the end, at least and at most; None if the ladder is not known.

    Args:
        run: the run.
        done: seeds with a result.
        missing: proposals without a result.
    """
    rungs, n = rungs_of(run.manifest), run.results.counts.n
    if run.manifest.get("complete") is True:
        return done, done
    if not rungs:
        return None
    # A manifest may say anything; there are no more seeds than these.
    first, top = (min(rung, 2**32) for rung in (rungs[0], rungs[-1]))
    least = done + missing * first + int(np.maximum(first - n, 0).sum())
    if len(rungs) == 1:
        return least, least
    may_get = np.maximum(top - n, 0)
    worse = _proven_worse(run)
    return least, done + missing * top + int(may_get[~worse].sum())


def _proven_worse(run: Run) -> NDArray[np.bool_]:
    """bool, shape (C,): the results that a race for the success rate has proven worse by now.

    By the promise of `racing.race`, with the counts of this moment: the race may have proven more
    on the way.
    """
    results = run.results
    n, k = results.counts.n, results.counts.k
    worse = np.zeros(n.shape, np.bool_)
    if not only_rate(run.objectives) or run.set_aside or not n.size:
        return worse
    try:
        alpha = run.asked.seeds.alpha
    except InputError:  # the space cannot be read
        return worse
    search = run.evaluations
    configs, first = np.unique(search.column("config"), return_index=True)
    order = np.argsort(search.column("proposal")[first])
    numbers = {search.lines.keys[configs[at]]: place for place, at in enumerate(order, 1)}
    number = np.array([numbers[key] for key in results.keys])
    bar = float(race_lower(int(k[0]), int(n[0]), int(number[0]), alpha=alpha))
    # Of configurations with equal counts the last one has the smallest share of alpha.
    counts, group = np.unique(np.stack([k, n]), axis=1, return_inverse=True)
    last = np.zeros(counts.shape[1], np.int64)
    np.maximum.at(last, group.ravel(), number)
    proven = [
        is_worse(int(k), int(n), int(place), bar, alpha=alpha)
        for k, n, place in zip(*counts.tolist(), last, strict=True)
    ]
    worse = np.array(proven, np.bool_)[group.ravel()]
    worse[0] = False
    return worse


def _paces(manifest: Mapping[str, Any], final: Evaluations) -> list[Pace]:
    """How much the workers of each session that searched have trained, as far as it is known."""
    # A session that trained nothing notes no workers, or no second of them.
    sessions = searches_of(manifest)
    trains = [s for s in sessions if s.get("workers") and s.get("worker_seconds") != 0]
    begins = [moment(session.get("started")) or 0.0 for session in trains]
    at, found = final.column("at"), list[Pace]()
    for noted, begin, end in zip(trains, begins, [*begins, math.inf][1:], strict=True):
        workers, mine = noted["workers"], np.flatnonzero((at >= begin) & (at < end))
        seeds = int(final.column("count")[mine].sum())
        if seeds and (there := noted.get("worker_seconds")) is not None:
            found.append(Pace(seeds, workers, noted["busy_seconds"], there))
        elif seeds:
            seconds = final.column("seconds")[mine]
            there = workers * (float(at[mine].max()) - float((at[mine] - seconds).min()))
            found.append(Pace(seeds, workers, float(seconds.sum()), there))
        else:
            found.append(Pace(0, workers))
    return found


def busy_share(run: Run) -> tuple[tuple[int, int], float] | None:
    """The fewest and the most workers of its sessions, and the share of the time that they trained.

    A session that was killed has it by its lines. None where that is not known. A worker that
    trained all the time that it was there has a share of 1.
    """
    search = run.evaluations
    paces = _paces(run.manifest, search.where(search.column("final") > 0))
    known = [pace for pace in paces if pace.worker_seconds > 0]
    if not known:
        return None
    busy, there = sum(p.busy_seconds for p in known), sum(p.worker_seconds for p in known)
    workers = [pace.workers for pace in known]
    return (min(workers), max(workers)), min(busy / there, 1.0)


def _searched_seconds(manifest: Mapping[str, Any], final: Evaluations, end: float) -> float | None:
    """Seconds that sessions searched, without the pauses between them; None if unknown.

    Args:
        manifest: of the run.
        final: the final lines of its search.
        end: of the last of these sessions; seconds since 1970.
    """
    if (started := moment(manifest.get("started"))) is None:
        return None
    later = (moment(session.get("started")) for session in searches_of(manifest)[1:])
    began, at = [started, *filter(None, later)], final.column("at")
    seconds = max(end - began[-1], 0.0)
    for first, following in pairwise(began):  # a session ends with its last line
        seconds += max(float(at[at < following].max(initial=first)) - first, 0.0)
    return seconds or None


def _last_error(search: Evaluations) -> str | None:
    """The reason of the last crashed seed, or of the last attempt without an outcome."""
    lines, crashed_seeds = search.lines, search.lines.column(Status.CRASHED.label)
    counted = set(search.places.tolist())
    for line in sorted(lines.errors.keys() | lines.details.keys(), reverse=True):
        why = lines.errors.get(line)
        if line not in counted:
            continue
        if why is not None and (is_failure(why) or is_void(why)):
            return why
        if line in lines.details and crashed_seeds[line]:
            outcome = lines.outcome([line], 0)
            crashed = set(outcome.seeds[outcome.status == Status.CRASHED].tolist())
            reasons = [why for seed, why in outcome.details.failed.items() if seed in crashed]
            if reasons:
                return reasons[-1]
    return None


State: TypeAlias = Literal["running", "finished", "stopped"]


@dataclass(frozen=True)
class Leader(SeedCount):
    """The best configuration so far, by the order of `Run.results`.

    Attributes:
        point: the configuration.
        key: its key.
        scores: the median and the worse decile of the trainer's own number, by their columns in
            table.csv; empty without one. See `results.Score`. Without a rule for success, the
            objectives.
        ruled: whether a rule asks which numbers are a success.
    """

    point: Point
    key: str
    scores: Mapping[str, float] = field(default_factory=dict)
    ruled: bool = True

    @property
    def text(self) -> str:
        """`12/16`, or without a rule first the numbers: `return_mean 198, 16/16 finished`."""
        counts = super().text
        if self.ruled:
            return counts
        known = [f"{name} {number(one)}" for name, one in self.scores.items() if math.isfinite(one)]
        return ", ".join([*known, f"{counts} finished"])


Span: TypeAlias = tuple[float, float]
"""Seconds, at least and at most."""


def aged(shown: Span, estimate: Span, seconds: float) -> Span:
    """A time left that was shown so many seconds ago, when it was estimated as that or more.

    Each end falls as time passes, in proportion to the estimate: both would end at once. In its
    second half it falls ever more slowly, since what trains takes longer than was expected: it
    neither stands still nor says that all is done.
    """

    def end(left: float, whole: float) -> float:
        passed, half = seconds * left / max(whole, left, 1e-9), left / 2
        return left - passed if passed <= half else half * math.exp(1 - passed / half)

    return end(shown[0], estimate[0]), end(shown[1], estimate[1])


@dataclass(frozen=True)
class TimeLeft:
    """A time left as it was shown: of a progress line, of `xortune status`, of a page.

    Attributes:
        shown: seconds, at least and at most.
        estimate: by the results of then; not below `shown`.
        at: when it was shown, in seconds of any clock.
    """

    shown: Span
    estimate: Span
    at: float

    def now(self, at: float) -> Span:
        """The time left now, if no result has come since."""
        return aged(self.shown, self.estimate, max(at - self.at, 0.0))

    def then(self, estimate: Span, at: float, *, news: bool) -> TimeLeft:
        """What is shown next: neither end rises or stands still.

        Args:
            estimate: by the results of now.
            at: when.
            news: whether results have come, from which more is known; else time has only passed.
        """
        passed = max(at - self.at, 0.0) if news else 0.0
        before = self.shown if news else self.now(at)
        older = aged(before, (estimate[0] + passed, estimate[1] + passed), passed)
        least, most = (
            now if now <= was else old
            for now, was, old in zip(estimate, before, older, strict=True)
        )
        return TimeLeft((least, most), estimate, at)


def within_budget(left: Span, budget: float | None, seed: float) -> Span:
    """A time left, where no training begins after so many seconds: what has begun still ends.

    Args:
        left: without that limit.
        budget: seconds in which trainings may begin; None: no limit.
        seed: seconds of a seed.
    """
    if budget is None:
        return left
    most = max(budget, 0.0) + seed
    return min(left[0], most), min(left[1], most)


SEEDS_EACH_WORKER = 3
"""Seeds for each worker from which on it is said how busy workers were: what trains at the moment
is not counted, and would be much of it before."""


@dataclass(frozen=True)
class Pace:
    """How much the workers of a session have trained.

    Attributes:
        seeds: with a result.
        workers: how many seeds, or stacks of seeds, may train at once.
        busy_seconds: that workers trained, summed over the workers.
        worker_seconds: that workers were there, summed over them: from the begin of the first
            training to the last result.
    """

    seeds: int = 0
    workers: int = 1
    busy_seconds: float = 0.0
    worker_seconds: float = 0.0

    @property
    def busy(self) -> float | None:
        """The share of the time that workers trained; None before each had some seeds."""
        if self.seeds < SEEDS_EACH_WORKER * self.workers or self.worker_seconds <= 0:
            return None
        return min(self.busy_seconds / self.worker_seconds, 1.0)

    @property
    def rate(self) -> float | None:
        """Seeds per second of all workers; None before the first result."""
        if not self.seeds or not self.busy_seconds:
            return None
        share = 1.0 if self.busy is None else self.busy
        return self.workers * share * self.seeds / self.busy_seconds

    def seconds_for(self, done: int, expected: tuple[int, int]) -> Span | None:
        """Seconds for the seeds that are expected at least and at most; None before a result."""
        if not (rate := self.rate):
            return None
        least, most = (max(seeds - done, 0) / rate for seeds in expected)
        return least, most


@dataclass(frozen=True)
class Progress:
    """The progress of a search at one moment.

    Attributes:
        done: finished proposals, those of earlier sessions included.
        total: requested proposals.
        fresh: proposals finished in this session.
        best: of the configuration that is first so far, in the order of the table.
        number: of a search for a number without a rule: its name, and that of the first so far.
        failed: proposals that produced no outcome, even when repeated.
        seeds_done: seeds with a result, those of earlier sessions included.
        seeds_expected: at least and at most, at the end. Without a race both are the same. In a
            race it is at least what is done, what trains and the first seeds of proposals to come;
            at most what all configurations may get that are not proven worse than another.
        pace: of the workers of this session.
        budget_left: seconds of the time budget that are left; None without one.
        reported: what a training has just reported, if that is the news; None if it is a result.
    """

    done: int
    total: int
    fresh: int
    best: SeedCount
    failed: int
    seeds_done: int = 0
    seeds_expected: tuple[int, int] = (0, 0)
    pace: Pace = Pace()  # frozen
    reported: Reported | None = None
    number: tuple[str, float] | None = None
    budget_left: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the search has trained all its seeds."""
        return self.seeds_done >= self.seeds_expected[1]

    @property
    def seconds_left(self) -> Span | None:
        """At least and at most, by the seconds of a seed; None before the first result.

        With a time budget at most what is left of it, and a seed that trains then.
        """
        left, pace = self.pace.seconds_for(self.seeds_done, self.seeds_expected), self.pace
        if left is None:
            return None
        return within_budget(left, self.budget_left, pace.busy_seconds / pace.seeds)


@dataclass(frozen=True)
class SeedsDone:
    """How far the seeds of a certificate, a comparison, an `evaluate` or a `gate` are.

    Attributes:
        done: seeds with a result.
        total: all seeds; of a gate at most so many.
        solved: how many of `done` are solved; None for a certificate and a comparison.
    """

    done: int
    total: int
    solved: int | None = None


LESS_THAN_ALL = 0.999
"""The share that is shown where more seeds may follow."""


@dataclass(frozen=True)
class RunStatus:
    """The status of a run at one moment. Times are in seconds since 1970.

    Attributes:
        path: its directory.
        name: of the space.
        state: `running` while a driver is alive; then `finished` if the search is complete,
            otherwise `stopped`.
        stopped: why it stopped, if known: its time budget was over, or a signal came.
        driver: the process that searches.
        done: proposals with a result; the sum of the table's `trials`.
        total: requested proposals; None if unknown.
        evaluations: blocks with a final line, crashed ones included.
        seeds_done: seeds of these.
        configs: configurations with a result.
        seeds_expected: at the end, at least and at most; the same without a race, see `Progress`.
            None if unknown. What trains is not seen from outside: it is not in the least.
        workers: how many seeds, or stacks of seeds, the last session that searched trains at once;
            None if unknown.
        busy: the share of the time that they trained; None if unknown, and at the begin.
        rate: seeds per second over the last minutes; None without one, unless running, and if
            the journal's lines have no time.
        overall_rate: the same over `seconds`.
        seconds_left: for the seeds that are expected, at least and at most, at the present rate;
            None unless running. With a time budget at most what is left of it, and a seed that
            trains then. Neither rises from a `Watcher`'s look to its next, nor stands still.
        best: None before the first result.
        without_outcome: blocks that finally produced no outcome; all their seeds count as crashed.
        crashed: blocks with a crashed seed, those without an outcome included.
        crashed_seeds: the sum of the table's column `crashed`.
        diverged_seeds: the sum of the table's column `diverged`.
        pruned_seeds: the sum of the table's column `pruned`.
        retried: attempts without an outcome that were repeated.
        last_error: the reason of the last crashed seed, or of the last attempt without an outcome.
        certificate: the state of its certificate.
        started: when the search began.
        written: when the journal was last written to; None without a journal.
        torn: whether its last line is not whole: it is being written, or a crash tore it.
        now: when the status was taken.
        note: the user's note; None without one.
        tags: the user's tags.
        seconds: that its sessions searched, each to its last seed, one that runs and lacks seeds to
            now; pauses between sessions do not count. None if unknown.
        seed_seconds: the mean time of a seed; None without one.
        statement: what the search can say of its best; see `Run.statement`. None while it runs, and
            where nothing succeeded.
    """

    path: Path
    name: str
    state: State
    stopped: str | None
    driver: Driver
    done: int
    total: int | None
    evaluations: int
    seeds_done: int
    seeds_expected: tuple[int, int] | None
    workers: int | None
    busy: float | None
    configs: int
    rate: float | None
    overall_rate: float | None
    seconds_left: Span | None
    best: Leader | None
    without_outcome: int
    crashed: int
    crashed_seeds: int
    diverged_seeds: int
    pruned_seeds: int
    retried: int
    last_error: str | None
    certificate: CertificateState
    started: float | None
    written: float | None
    torn: bool
    now: float
    note: str | None = None
    tags: tuple[str, ...] = ()
    seconds: float | None = None
    seed_seconds: float | None = None
    statement: Statement | None = None

    @property
    def is_starting(self) -> bool:
        """Whether a driver is alive and no seed has a result yet."""
        return self.state == "running" and not self.evaluations and not self.retried

    @property
    def shown_state(self) -> str:
        """The state in words: also `starting`."""
        return "starting" if self.is_starting else self.state

    @property
    def shares(self) -> tuple[float, float] | None:
        """The share of the seeds that is done: of those expected at most, and at least.

        None if it is not known how many are expected. Both are 1 only at the end.
        """
        if self.seeds_expected is None:
            return None
        least, most = (min(self.seeds_done / n, 1.0) if n else 1.0 for n in self.seeds_expected)
        return most, min(least, LESS_THAN_ALL) if most < 1 else 1.0

    def __repr__(self) -> str:
        total = "" if self.total is None else f" of {self.total:,}"
        best = "" if self.best is None else f", best {self.best.text}"
        done = f"{self.done:,}{total} proposals"
        return f"RunStatus({str(self.path)!r}, {self.shown_state}, {done}{best})"

    def __str__(self) -> str:
        total = "" if self.total is None else f" of {self.total:,}"
        if self.is_starting:
            return f"Run {self.path}: starting, no seed has a result yet."
        return f"Run {self.path}: {self.state}, {self.done:,}{total} proposals done."

    def _repr_html_(self) -> str:
        """For notebooks: the progress, and the best configuration so far."""
        best, rows = self.best, []
        if best is not None:
            low, high = best.interval()
            ends = {"rate": best.rate, "low": low, "high": high}
            solved = {"solved": SeedCount(best.k, best.n).text, **ends}
            if not best.ruled:
                solved = {**best.scores, "finished": SeedCount(best.k, best.n).text}
            rows = [{**best.point, **solved, "key": best.key}]
        return as_html(str(self), rows)


class Watcher:
    """Looks at one run repeatedly; each look reads only what is new."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = reader_directory(path)
        self._reader = JournalReader(self._path / JOURNAL)
        self._driver = DriverWatch()
        self._left: TimeLeft | None = None
        self._known = (0, 0)  # the number of sessions and the seeds done when it was shown

    def look(self, now: float | None = None) -> RunStatus:
        """The status of the run now; see `look_closely`."""
        return self.look_closely(now)[0]

    def look_closely(self, now: float | None = None) -> tuple[RunStatus, Run]:
        """The status of the run now, and the run itself.

        Raises:
            InputError: there is no run, or a line of its journal or its manifest is damaged.
        """
        now = time.time() if now is None else now
        path = self._path = reader_directory(self._path)
        if not path.is_dir():
            raise no_run(path)
        # The driver first: if it is gone, nothing that is read afterwards changes.
        driver, manifest = self._driver.look(path, now), manifest_of(path)
        self._reader.read_on()
        if self._reader.written is None and not manifest:
            raise no_run(path)
        lines = Evaluations(self._reader.lines)
        refuse_others(lines, manifest, path / JOURNAL, manifest_of(path))
        run = Run(path, manifest, *lines.split())
        return self._settled(_status(run, driver, self._reader, now), run), run

    def _settled(self, status: RunStatus, run: Run) -> RunStatus:
        """A status whose time left is below that of the look before, in one session."""
        if (left := status.seconds_left) is None:
            return status
        before, was = self._left, self._known
        self._known = session, done = len(sessions_of(run.manifest)), status.seeds_done
        if before is None or session != was[0]:
            self._left = TimeLeft(left, left, status.now)
        else:
            self._left = before.then(left, status.now, news=done != was[1])
        return replace(status, seconds_left=self._left.shown)


def state_of(driver: Driver, manifest: Mapping[str, Any]) -> State:
    """The state of a run by its driver and its manifest."""
    if driver.life == "alive":
        return "running"
    return "finished" if manifest.get("complete") is True else "stopped"


def _status(run: Run, driver: Driver, reader: JournalReader, now: float) -> RunStatus:
    path, manifest, search = run.path, run.manifest, run.evaluations
    finals = search.column("final") > 0
    final, errors = search.where(finals), search.lines.errors
    crashed = final.column(Status.CRASHED.label)
    # A proposal is done with its first block; a race may add more.
    first = np.sort(np.unique(final.column("proposal"), return_index=True)[1])
    total = manifest.get("trials")
    if total is None:
        with suppress(InputError):  # the space cannot be read
            total = budget(space_at(path / SPACE))
    done, started = len(first), moment(manifest.get("started"))
    seeds, spent = int(final.column("count").sum()), float(final.column("seconds").sum())
    expected = None if total is None else _expected(run, seeds, max(total - done, 0))
    written = reader.written if reader.written and 0 < reader.written < LATEST else None
    state = state_of(driver, manifest)
    if state == "running" and _certifies(run, driver):
        expected = seeds, seeds
    end, finished = written, moment(manifest.get("finished"))
    if state == "running" and expected != (seeds, seeds):
        end = now
    elif (last := float(final.column("at").max(initial=-1))) > 0:
        end = last  # a certificate is no part of the search
    elif state == "finished" and end is not None and finished is not None:
        end = min(end, finished)
    recent = left = None
    searched = None if end is None else _searched_seconds(manifest, final, end)
    overall = seeds / searched if searched and seeds else None
    pace = next(reversed(_paces(manifest, final)), None)
    if state == "running":
        since = moment(sessions_of(manifest)[-1].get("started")) or started
        recent = _rate(final.column("at"), final.column("count"), now, since)
        speed = recent or (pace.rate if pace is not None else None) or overall
        if speed and expected is not None:
            least, most = (max(n - seeds, 0) / speed for n in expected)
            left = least, most
            last = float(final.column("at").max(initial=-1))
            if recent is None and since is not None and last >= since:
                left = aged(left, left, now - last)  # it trains, and its speed is not known
            left = within_budget(left, _budget_left(run, final, now), spent / (seeds or 1))
    retries = search.places[~finals].tolist()
    return RunStatus(
        path=path,
        name=str(manifest.get("name") or path.resolve().name),
        state=state,
        stopped=stopped_because(manifest) if state == "stopped" else None,
        driver=driver,
        done=done,
        total=total,
        evaluations=len(final),
        seeds_done=seeds,
        seeds_expected=expected,
        workers=None if pace is None else pace.workers,
        busy=None if pace is None else pace.busy,
        configs=len(run.results),
        rate=recent,
        overall_rate=overall,
        seconds_left=left,
        best=_leader(run),
        without_outcome=int((final.column("outcome") == 0).sum()),
        crashed=int((crashed > 0).sum()),
        crashed_seeds=int(crashed.sum()),
        diverged_seeds=int(final.column(Status.DIVERGED.label).sum()),
        pruned_seeds=int(final.column(Status.PRUNED.label).sum()),
        retried=sum(is_failure(errors[line]) for line in retries),
        last_error=_last_error(search),
        certificate=_certificate(run),
        started=started,
        written=written,
        torn=reader.torn,
        now=now,
        note=manifest.get("note"),
        tags=tuple(manifest.get("tags") or ()),
        seconds=searched,
        seed_seconds=spent / seeds if seeds and spent else None,
        statement=None if state == "running" or not run.results.counts.k.any() else run.statement,
    )


def _budget_left(run: Run, final: Evaluations, now: float) -> float | None:
    """Seconds that are left of the time budget of the session that searches; None without one."""
    noted = last_search(run.manifest)
    if (budget := noted.get("time_budget")) is None:
        return None
    began = final.column("at") - final.column("seconds")
    mine = began[final.column("at") >= (moment(noted.get("started")) or 0)]
    return float(budget) - (now - float(mine.min(initial=now)))


def _certifies(run: Run, driver: Driver) -> bool:
    """Whether the driver trains fresh seeds, after which it searches no more."""
    last = float(run.checks.column("at").max(initial=-1))
    return driver.since is not None and last >= driver.since


def _leader(run: Run) -> Leader | None:
    best = run.results[0] if run.results else None
    if best is None:
        return None
    outcome = best.outcome
    scores = {}
    if run.score is not None:
        scores = dict(zip(run.score.columns, run.score.of(outcome), strict=True))
    ruled = has_rule(run.manifest.get("success"))
    if not ruled:
        numbers = [one for one in run.objectives if one.number is not None]
        scores |= {one.name: float(run.results.measured(one)[0]) for one in numbers}
    return Leader(outcome.successes, outcome.n, best.point, best.key, scores, ruled)


def status(run: Run | str | os.PathLike[str]) -> RunStatus:
    """The status of a run now. Nothing is written to its directory.

    Args:
        run: its directory, or a loaded run, whose directory is read again.

    Raises:
        InputError: there is no run, or a line of its journal, its manifest or its certificate is
            damaged.
    """
    return Watcher(run.path if isinstance(run, Run) else run).look()


def refuse_interval(seconds: float) -> None:
    """Check the seconds between two looks.

    Raises:
        InputError: they are not above 0 and at most a day.
    """
    if not 0 < seconds <= 86_400:
        raise InputError(
            f"{seconds}", field="interval", allowed="seconds, above 0 and at most a day"
        )


def watched(path: str | os.PathLike[str], *, interval: float = 2.0) -> Iterator[RunStatus]:
    """Yield the status of a run now and after each interval in seconds, until the run has ended.

    Raises:
        InputError: as `status`, or an interval that is not above 0.
    """
    refuse_interval(interval)
    watcher = Watcher(path)
    while True:
        status = watcher.look()
        yield status
        if status.state != "running":
            return
        time.sleep(interval)
