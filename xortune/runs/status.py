"""Where a run stands, seen from outside while it runs or afterwards: read, and never written to."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.counts import wilson
from xortune.core.errors import InputError
from xortune.core.files import open_regular, text_of, unreadable
from xortune.core.outcome import MAX_SEED, Outcome, Status
from xortune.core.point import Point
from xortune.core.trainer import NOT_FINISHED
from xortune.racing.objectives import counted, numbers_named, summed_only, ties_of
from xortune.runs import sessions as belonging
from xortune.runs.certificate import CERTIFICATE, Certificate, read_certificate
from xortune.runs.evaluation import EncodedOutcome, Evaluation, Purpose, decode
from xortune.runs.journal import Spans
from xortune.runs.lock import LEASE_SECONDS, holder
from xortune.runs.manifest import MANIFEST, manifest_of, stopped_because
from xortune.runs.results import criteria, first_of, objectives_in, rungs_of
from xortune.runs.run import JOURNAL, Run, no_run
from xortune.runs.sessions import refuse_unknown
from xortune.runs.store import readable
from xortune.spaces.grid import grid, grid_size
from xortune.spaces.model import Objective
from xortune.spaces.space import parse_space
from xortune.spaces.text import read_yaml

# -------------------------------------------------------------------------------------------------
# What a status says of a run's certificate: its file, and the fresh seeds in the journal.


@dataclass(frozen=True)
class CertificateState:
    """How far a run is certified.

    Attributes:
        state: `none` without fresh seeds; `begun` if the last attempt lacks some; `complete`.
        attempt: number of the last attempt.
        done: fresh seeds that it has.
        planned: fresh seeds that it wants, those of neighbours included.
        key: of the first finalist of the last complete attempt.
        k: its fresh seeds solved.
        n: its fresh seeds.
        lower_bound: of its success rate.
        confidence: of all bounds together.
    """

    state: Literal["none", "begun", "complete"] = "none"
    attempt: int | None = None
    done: int = 0
    planned: int = 0
    key: str | None = None
    k: int | None = None
    n: int | None = None
    lower_bound: float | None = None
    confidence: float | None = None


class Certifying:
    """The certificate of one run, its file read again only if it has changed."""

    def __init__(self) -> None:
        self._read: tuple[tuple[int, int, int], Certificate] | None = None

    def state(self, path: Path, attempts: Mapping[int, AttemptCount]) -> CertificateState:
        """How far it is.

        Args:
            path: the run's directory.
            attempts: what the journal has of each.

        Raises:
            InputError: `certificate.json` is no certificate.
        """
        certificate = self._file(path / CERTIFICATE)
        number = max(attempts, default=certificate.attempts[-1].number if certificate else 0)
        if not number:
            return CertificateState()
        count = attempts.get(number, AttemptCount())
        best = certificate.finalists[0] if certificate and certificate.finalists else None
        written = certificate is not None and certificate.attempts[-1].number >= number
        whole = written and certificate is not None and certificate.attempts[-1].complete
        return CertificateState(
            state="complete" if whole and count.done >= count.planned else "begun",
            attempt=number,
            done=count.done,
            planned=count.planned,
            key=best.key if best else None,
            k=best.k if best else None,
            n=best.n if best else None,
            lower_bound=best.lower_bound if best else None,
            confidence=certificate.confidence if certificate else None,
        )

    def _file(self, place: Path) -> Certificate | None:
        try:
            found = place.stat()
        except (OSError, ValueError):
            return None
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._read is None or self._read[0] != mark:
            self._read = mark, read_certificate(place)
        return self._read[1]


# -------------------------------------------------------------------------------------------------
# Whether the process that holds a run is alive, as far as another one can tell.
#
# On its own machine the kernel says so. From elsewhere only its heartbeat is seen: one that moves
# between two looks is alive, one that stands still for a whole lease is gone, and at the first
# look it is believed if it is young, which supposes clocks that agree within a lease.

Life: TypeAlias = Literal["alive", "gone"]

LATEST = 2.5e11
"""The year 9892, as seconds since 1970: what a calendar can show."""


@dataclass(frozen=True)
class Driver:
    """The process that searches or certifies, or did.

    Attributes:
        life: whether it is alive.
        pid: its process id; None if it has left the run as it should.
        host: where it runs.
        since: when it began; seconds since 1970.
        heartbeat: when it last said that it lives, by its own clock; seconds since 1970.
        elsewhere: whether it runs on another machine (or in another container) than this process.
    """

    life: Life
    pid: int | None = None
    host: str | None = None
    since: float | None = None
    heartbeat: float | None = None
    elsewhere: bool = False


class DriverWatch:
    """What earlier looks saw of the heartbeat of a driver elsewhere."""

    def __init__(self) -> None:
        self._seen: tuple[str, int] | None = None
        self._moved: float | None = None
        self._still_since = 0.0

    def alive(self, owner: str, beats: int, heartbeat: float, now: float) -> bool:
        """Whether it lives.

        Args:
            owner: who holds the lock.
            beats: of its heart.
            heartbeat: the last one, by its clock.
            now: by ours.
        """
        if self._seen != (owner, beats):
            self._moved = now if self._seen is not None else None
            self._seen, self._still_since = (owner, beats), now
        if now - self._still_since >= LEASE_SECONDS:
            return False
        return self._moved is not None or abs(now - heartbeat) < LEASE_SECONDS


def driver_of(path: Path, now: float, watch: DriverWatch | None = None) -> Driver:
    """The driver of a run, alive or not. Nothing is written.

    Args:
        path: the run's directory.
        now: seconds since 1970.
        watch: of earlier looks.

    Raises:
        InputError: the run's lock cannot be read, or is none.
    """
    found = holder(path)
    if found is None:
        return Driver("gone")
    owner, seen = found
    elsewhere = seen == "elsewhere"
    alive = seen == "alive"
    if elsewhere:
        alive = (watch or DriverWatch()).alive(owner.owner, owner.beats, owner.heartbeat, now)
    return Driver(
        life="alive" if alive else "gone",
        pid=owner.pid,
        host=owner.host,
        since=moment(owner.since),
        heartbeat=owner.heartbeat if 0 < owner.heartbeat < LATEST else None,
        elsewhere=elsewhere,
    )


def moment(text: object) -> float | None:
    """A time in ISO 8601 as seconds since 1970; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return found if 0 < found < LATEST else None


# -------------------------------------------------------------------------------------------------
# How many proposals of a run are done, and how many lately, told from its journal's lines.

RECENT_SECONDS = 300.0
"""The rate of the last minutes is that of these."""

RECENT_LINES = 10_000
"""Where there are more in these minutes, it is that of the time that so many have taken."""


class ProposalCounts:
    """Proposals of a run, of which more and more lines are read.

    One is done when it has results: what it gets more in a race comes on top. So they are counted
    by the table's column `trials` too.
    """

    def __init__(self) -> None:
        self._first_missing = 0
        self._later: set[int] = set()  # done, beyond the first that is missing
        self._recent: deque[float] = deque(maxlen=RECENT_LINES)  # when they were

    def add(self, proposal: int, at: int | None) -> None:
        """Take in a final line.

        Args:
            proposal: whose it is.
            at: when it was written, seconds since 1970; None in a journal from before this was
                noted.
        """
        if proposal < self._first_missing or proposal in self._later:
            return
        if at is not None:
            self._recent.append(at)
        self._later.add(proposal)
        while self._first_missing in self._later:
            self._later.remove(self._first_missing)
            self._first_missing += 1

    @property
    def done(self) -> int:
        """How many are done."""
        return self._first_missing + len(self._later)

    def rate(self, now: float, since: float | None) -> float | None:
        """Proposals a second in the last minutes; None if there were none.

        Args:
            now: seconds since 1970.
            since: when the search went on, if that is known: before it there was nothing.
        """
        then = now - RECENT_SECONDS if since is None else max(now - RECENT_SECONDS, since)
        while self._recent and self._recent[0] <= then:
            self._recent.popleft()
        if len(self._recent) == RECENT_LINES:
            then = self._recent[0]
        count = sum(at > then for at in self._recent)
        return count / (now - then) if count and now > then else None


# -------------------------------------------------------------------------------------------------
# What a status takes from a journal: counts and keys of each line, read once, in order.
#
# A line is refused here as everywhere: status counts no journal that a report would not.

_CRASHED, _DIVERGED = int(Status.CRASHED), int(Status.DIVERGED)


@dataclass(slots=True)
class ConfigCount:
    """Results of one configuration, of what one engine made.

    Attributes:
        made: the digest of what made them; None where a line has none.
        first: the lowest seed.
        k: seeds solved.
        n: seeds, crashed ones included.
        crashed: seeds without an outcome.
        lines: where its final lines begin in the journal.
        spent: epochs of all its seeds, as long as all are solved.
        speed: epochs to solve, once they were asked for; None after another line came.
        numbers: by name, those that `Tally` keeps; of each line an array, NaN where a seed failed.
    """

    made: str | None = None
    first: int = MAX_SEED
    k: int = 0
    n: int = 0
    crashed: int = 0
    lines: list[int] = field(default_factory=list)
    spent: int = 0
    speed: float | None = None
    numbers: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def with_(self, other: ConfigCount) -> ConfigCount:
        """Both together."""
        return ConfigCount(
            self.made or other.made,
            min(self.first, other.first),
            self.k + other.k,
            self.n + other.n,
            self.crashed + other.crashed,
            sorted([*self.lines, *other.lines]),
            self.spent + other.spent,
            numbers={name: found + other.numbers[name] for name, found in self.numbers.items()},
        )


@dataclass(slots=True)
class AttemptCount:
    """Fresh seeds of one attempt to certify finalists.

    Attributes:
        finalists: how many it has.
        seeds: planned for each finalist.
        neighbours: how many all finalists have together.
        near: seeds planned for each neighbour.
        done: seeds with a result.
        crashed: of these, without an outcome.
    """

    finalists: int = 0
    seeds: int = 0
    neighbours: int = 0
    near: int = 0
    done: int = 0
    crashed: int = 0

    @property
    def planned(self) -> int:
        """Seeds of all its configurations."""
        return self.finalists * self.seeds + self.neighbours * (self.near or self.seeds)


class JournalTally:
    """All that was read of one journal so far, as counts.

    Attributes:
        proposals: which of them are done.
        evaluations: final lines of the search.
        seeds: their seeds.
        without_outcome: final lines without an outcome.
        crashed: final lines with a seed that crashed, those without an outcome included.
        crashed_seeds: their seeds that crashed.
        diverged_seeds: seeds that ended without a finite number.
        retried: lines of tries that were repeated.
        last_error: the reason of the last seed that crashed, or of the last try without an outcome.
        configs: by key; where there are several `made`, the first one's.
        attempts: to certify finalists, by number.
        made: the digests of what made the lines, each with its first line.

    Args:
        names: numbers of a user's own trainer that decide who comes first.
    """

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.proposals, self.names = ProposalCounts(), names
        self.evaluations = self.seeds = self.retried = self.without_outcome = 0
        self.crashed = self.crashed_seeds = self.diverged_seeds = 0
        self.last_error: str | None = None
        self.configs: dict[str, ConfigCount] = {}
        self.attempts: dict[int, AttemptCount] = {}
        self._mixed: dict[str, dict[str | None, ConfigCount]] = {}
        self.made: dict[str | None, int] = {}
        self._spans, self._belonging = Spans(), belonging.ProposedPoints()
        self._position = self._line = 0
        self._file: tuple[int, int] | None = None

    @property
    def begun(self) -> bool:
        """Whether a line was taken."""
        return self._position > 0

    def continues(self, found: os.stat_result) -> bool:
        """Whether a file is the one that was read before, or its continuation."""
        known, self._file = self._file, (found.st_dev, found.st_ino)
        return known in {None, self._file} and found.st_size >= self._position

    def take(self, file: BinaryIO, place: str) -> bool:
        """Take in the whole lines that follow; whether something that is no line follows them.

        Raises:
            InputError: a line that is no evaluation, with file and line.
        """
        file.seek(self._position)
        for line in file:
            if not line.endswith(b"\n"):
                return True
            try:
                self._add(line, self._position)
            except InputError as error:
                name = f": {error.field}" if error.field else ""
                raise error.at(f"{place}:{self._line + 1}{name}") from None
            self._position += len(line)
            self._line += 1
        return False

    def _add(self, line: bytes, start: int) -> None:
        try:
            evaluation = decode(line.decode("ascii"))
        except UnicodeDecodeError:
            raise InputError("is no JSON") from None
        block, outcome, key = evaluation.block, evaluation.outcome, evaluation.block.point.key
        assert not isinstance(outcome, EncodedOutcome)  # it was read from a journal
        if evaluation.final:
            self._spans.add(key, block.first, block.count, self._line + 1)
        self.made.setdefault(evaluation.made, self._line + 1)
        if evaluation.purpose is not None:
            if evaluation.final:
                self._check(evaluation.purpose, block.count, crashed=outcome is None)
            return
        if outcome is None:
            if evaluation.error == NOT_FINISHED:
                return
            self.last_error = evaluation.error
        if not evaluation.final:
            self.retried += 1
            return
        k = 0 if outcome is None else outcome.successes
        self._belonging.add(evaluation.proposal, key)
        self.proposals.add(evaluation.proposal, evaluation.at)
        config = self._config(key, evaluation.made)
        config.first = min(config.first, block.first)
        config.k += k
        config.n += block.count
        config.lines.append(start)
        config.speed = None
        # Only those that solve all are many that share the best interval.
        if outcome is not None and config.k == config.n:
            config.spent += int(outcome.solved_epoch.sum(dtype=np.int64))
        self.evaluations += 1
        self.seeds += block.count
        self.without_outcome += outcome is None
        self._add_seeds(config, block.count, outcome)

    def _add_seeds(self, config: ConfigCount, count: int, outcome: Outcome | None) -> None:
        """Take in what the seeds of a line ended as."""
        if outcome is None:
            config.crashed += count
            status = np.full(count, _CRASHED, np.uint8)
        else:
            status = outcome.status
        if outcome is None or outcome.successes < count:
            crashed = int(np.count_nonzero(status == _CRASHED))
            self.crashed += crashed > 0
            self.crashed_seeds += crashed
            self.diverged_seeds += int(np.count_nonzero(status == _DIVERGED))
        if outcome is not None and outcome.details.failed:
            crashed_seeds = set(outcome.seeds[status == _CRASHED].tolist())
            for seed, reason in outcome.details.failed.items():
                if seed in crashed_seeds:
                    self.last_error = reason
        for name in self.names:
            found = None if outcome is None else outcome.details.values.get(name)
            config.numbers.setdefault(name, []).append(counted(found, status))

    def _config(self, key: str, made: str | None) -> ConfigCount:
        """Where a line's seeds belong."""
        config = self.configs.get(key)
        if config is None:
            config = self.configs[key] = ConfigCount(made)
        elif config.made != made:
            mixed = self._mixed.setdefault(key, {config.made: config})
            config = mixed.setdefault(made, ConfigCount(made))
        return config

    def _check(self, purpose: Purpose, count: int, *, crashed: bool) -> None:
        attempt = self.attempts.setdefault(purpose.attempt, AttemptCount())
        attempt.finalists, attempt.neighbours = purpose.finalists, purpose.neighbours
        if purpose.kind == "neighbourhood":
            attempt.near = max(attempt.near, purpose.seeds)
        else:
            attempt.seeds = max(attempt.seeds, purpose.seeds)
        attempt.done += count
        attempt.crashed += crashed * count

    def leader(
        self,
        journal: Path,
        first: str | None,
        objectives: Sequence[Objective] = (),
        rungs: Sequence[int] = (),
    ) -> tuple[str, ConfigCount] | None:
        """The best configuration so far, in the order of `Run.results`; None without any.

        Args:
            journal: that was read.
            first: the `made` that lines without one stand for.
            objectives: what the run looks for.
            rungs: of its ladder.

        Returns:
            Its key, and what counts of it.

        Raises:
            InputError: a line of a configuration with the best interval is damaged.
            OSError: the journal cannot be read any more.
        """
        if not self.configs:
            return None
        found = self.configs
        if self._mixed:  # of each configuration what one engine made counts, the most seeds
            found = found | {key: _counted(m, first) for key, m in self._mixed.items()}
        keys, configs = list(found), list(found.values())

        def epochs_to_solve(places: Sequence[int]) -> list[float]:
            with open_regular(journal) as file:
                return [_speed(file, journal, configs[i]) for i in places]

        best = first_of(
            len(keys),
            criteria(
                keys,
                [config.k for config in configs],
                [config.n for config in configs],
                lambda name, i: np.concatenate(configs[i].numbers[name]),
                epochs_to_solve,
                objectives=objectives,
                rungs=rungs,
            ),
        )
        return keys[best], configs[best]

    @staticmethod
    def point(journal: Path, config: ConfigCount) -> Point:
        """The settings of a configuration.

        Raises:
            InputError: its line is damaged.
            OSError: the journal cannot be read any more.
        """
        with open_regular(journal) as file:
            return _evaluation(file, journal, config.lines[0]).block.point


def _counted(mixed: dict[str | None, ConfigCount], first: str | None) -> ConfigCount:
    """Of what several engines made of one configuration, the part with the most seeds."""
    if first in mixed and None in mixed:
        mixed = {**mixed, first: mixed[None].with_(mixed[first])}
        del mixed[None]
    return max(mixed.values(), key=lambda config: (config.n, -config.first))


def _speed(file: BinaryIO, journal: Path, config: ConfigCount) -> float:
    """Epochs to solve, as `Outcome.epochs_to_solve` of all lines together; infinite for None."""
    if config.k == 0:
        return math.inf
    if config.k == config.n:
        return config.spent / config.k if config.spent else math.inf
    if config.speed is None:
        spent = epochs = 0
        for start in config.lines:
            outcome = _evaluation(file, journal, start).outcome
            if isinstance(outcome, Outcome):
                spent += outcome.epochs_spent
                epochs = outcome.epochs
        config.speed = (spent + config.crashed * epochs) / config.k if epochs else math.inf
    return config.speed


def _evaluation(file: BinaryIO, journal: Path, start: int) -> Evaluation:
    """The line that begins at a byte."""
    file.seek(start)
    try:
        return decode(file.readline().decode("ascii").rstrip("\n"))
    except (InputError, UnicodeDecodeError) as error:
        problem = f"the line at byte {start} is damaged ({error})"
        raise InputError(problem, place=str(journal)) from None


# -------------------------------------------------------------------------------------------------
# Where a run stands, seen from outside while it runs or afterwards: read, and never written to.
#
# A look reads what was appended to the journal since the look before, so that only the first one
# of 100,000 lines takes some seconds. It keeps counts and keys, and no seeds.

State: TypeAlias = Literal["running", "finished", "stopped"]


@dataclass(frozen=True)
class Leader:
    """The best configuration so far, by the order of `Run.results`.

    Attributes:
        point: the configuration.
        key: its key.
        k: seeds solved.
        n: seeds.
        low: lower end of Wilson's 95 % interval.
        high: upper end.
    """

    point: Point
    key: str
    k: int
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class RunStatus:
    """A run at one moment.

    Attributes:
        path: its directory.
        name: of the space.
        state: `running` while a driver lives, `finished` with all that was asked for, `stopped`
            without it.
        stopped: why, if that is known and it is: its time budget was over, or the user interrupted.
        driver: the process that searches.
        done: proposals that have results; as many as the table's `trials` sum to.
        total: proposals asked for; None if the run does not say.
        evaluations: blocks of seeds with a result, crashed ones included.
        seeds: seeds of these.
        configs: configurations with a result.
        rate: proposals a second over the last minutes; None if none was done in these, unless
            running, and of a journal from before its lines had a time.
        overall_rate: the same from the start to now, or to the end or the last line if no proposal
            is to come; pauses included.
        seconds_left: until the last proposal at the present rate; None unless running.
        best: None before there is a result.
        without_outcome: blocks that finally produced no outcome; all their seeds count as crashed.
        crashed: blocks with a seed that crashed, those without an outcome included.
        crashed_seeds: seeds that crashed, as the table's column `crashed` sums to.
        diverged_seeds: seeds that diverged, as the table's column `diverged` sums to.
        retried: tries without outcome that were repeated.
        last_error: the reason of the last seed that crashed, or of the last try without outcome.
        certificate: what fresh seeds say.
        started: when the search began; seconds since 1970.
        written: when the journal was last written to; seconds since 1970; None without a journal.
        torn: whether its last line is not whole: it is being written, or was torn by a crash.
        now: when this was looked at; seconds since 1970.
    """

    path: Path
    name: str
    state: State
    stopped: str | None
    driver: Driver
    done: int
    total: int | None
    evaluations: int
    seeds: int
    configs: int
    rate: float | None
    overall_rate: float | None
    seconds_left: float | None
    best: Leader | None
    without_outcome: int
    crashed: int
    crashed_seeds: int
    diverged_seeds: int
    retried: int
    last_error: str | None
    certificate: CertificateState
    started: float | None
    written: float | None
    torn: bool
    now: float

    def __repr__(self) -> str:
        total = "" if self.total is None else f" of {self.total:,}"
        best = "" if self.best is None else f", best {self.best.k:,}/{self.best.n:,}"
        done = f"{self.done:,}{total} proposals"
        return f"RunStatus({str(self.path)!r}, {self.state}, {done}{best})"


def run_status(path: str | os.PathLike[str]) -> RunStatus:
    """Where a run stands.

    Raises:
        InputError: there is no run, or a line of its journal or its manifest is damaged.
    """
    return Watcher(path).look()


class Watcher:
    """Looks at one run again and again, each time at what is new.

    Args:
        path: the run's directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = readable(path)
        self._tally, self._certifying = JournalTally(), Certifying()
        self._driver = DriverWatch()
        self._asked: tuple[Mapping[str, Any], int | None] | None = None

    def look(self, now: float | None = None) -> RunStatus:
        """The run at this moment.

        Args:
            now: seconds since 1970; the clock's if not given.

        Raises:
            InputError: there is no run, or a line of its journal or its manifest is damaged.
        """
        now = time.time() if now is None else now
        path = self._path = readable(self._path)
        if not path.is_dir():
            raise no_run(path)
        # The driver comes first: if it is gone, nothing that is read afterwards will change.
        driver, manifest = driver_of(path, now, self._driver), manifest_of(path)
        objectives = objectives_in(manifest, str(path / MANIFEST))
        written, torn = self._read_on(manifest, objectives)
        refuse_unknown(self._tally.made, manifest, manifest_of(path), path / JOURNAL)
        tally, total, first = self._tally, self._total(manifest), _first_made(manifest)
        done = tally.proposals.done
        started = moment(manifest.get("started"))
        state: State = (
            "running"
            if driver.life == "alive"
            else "finished"
            if manifest.get("complete") is True
            else "stopped"
        )
        searches = state == "running" and done != total
        end, finished = now if searches else written, moment(manifest.get("finished"))
        if state == "finished" and end is not None and finished is not None:
            end = min(end, finished)  # what was certified a day later took no time of the search
        overall = None
        if started is not None and end is not None and end > started and done:
            overall = done / (end - started)
        recent = None
        if state == "running":
            recent = tally.proposals.rate(now, _session_began(manifest) or started)
        speed, left = recent or overall, None
        if state == "running" and speed and total is not None:
            left = max(total - done, 0) / speed
        return RunStatus(
            path=path,
            name=str(manifest.get("name") or path.resolve().name),
            state=state,
            stopped=stopped_because(manifest) if state == "stopped" else None,
            driver=driver,
            done=done,
            total=total,
            evaluations=tally.evaluations,
            seeds=tally.seeds,
            configs=len(tally.configs),
            rate=recent,
            overall_rate=overall,
            seconds_left=left,
            best=self._best(first, objectives, rungs_of(manifest)),
            without_outcome=tally.without_outcome,
            crashed=tally.crashed,
            crashed_seeds=tally.crashed_seeds,
            diverged_seeds=tally.diverged_seeds,
            retried=tally.retried,
            last_error=tally.last_error,
            certificate=self._certifying.state(path, tally.attempts),
            started=started,
            written=written,
            torn=torn,
            now=now,
        )

    def _read_on(
        self, manifest: Mapping[str, Any], objectives: Sequence[Objective]
    ) -> tuple[float | None, bool]:
        """Take in new lines; when the journal was written, and whether its end is torn."""
        place = self._path / JOURNAL
        try:
            file = open_regular(place)
        except FileNotFoundError:
            if manifest:  # a search that has just begun
                return None, False
            raise no_run(self._path) from None
        except OSError as error:
            raise unreadable(place, error) from None
        with file:
            try:
                decides = summed_only(objectives) or ties_of(objectives)
                names = numbers_named([decides] if decides else [])
                return self._take(file, place, names)
            except OSError as error:
                raise unreadable(place, error) from None

    def _take(
        self, file: BinaryIO, place: Path, names: tuple[str, ...]
    ) -> tuple[float | None, bool]:
        found = os.fstat(file.fileno())
        again = self._tally.begun
        if not self._tally.continues(found) or self._tally.names != names:
            again, self._tally = False, JournalTally(names)
        try:
            torn = self._tally.take(file, str(place))
        except InputError:
            if not again:
                raise
            # Cut and written again between two looks? Then all of it is new.
            self._tally = JournalTally(names)
            torn = self._tally.take(file, str(place))
        return found.st_mtime if 0 < found.st_mtime < LATEST else None, torn

    def _total(self, manifest: Mapping[str, Any]) -> int | None:
        """Proposals asked for: what the manifest says, or the size of a grid."""
        trials = manifest.get("trials")
        if isinstance(trials, int) and not isinstance(trials, bool) and 0 <= trials <= 2**53:
            return trials
        if self._asked is None or self._asked[0] != manifest:
            self._asked = manifest, proposals_of(self._path / "space.yaml")
        return self._asked[1]

    def _best(
        self, first: str, objectives: Sequence[Objective], rungs: Sequence[int]
    ) -> Leader | None:

        journal = self._path / JOURNAL
        try:
            found = self._tally.leader(journal, first, objectives, rungs)
            if found is None:
                return None
            key, config = found
            point = self._tally.point(journal, config)
        except OSError as error:  # removed since it was read
            raise unreadable(journal, error) from None
        low, high = wilson(config.k, config.n)
        return Leader(point, key, config.k, config.n, float(low), float(high))


def proposals_of(place: Path) -> int | None:
    """How many proposals a run's space file asks for; None if that cannot be said.

    Its task is not looked at: that may be a file anywhere.
    """
    try:
        values = {k: v for k, v in read_yaml(text_of(place), "").values.items() if k != "task"}
        space = parse_space(json.dumps(values), str(place), place.parent)
    except InputError:
        return None
    if space.search.trials is not None:
        return space.search.trials
    size = grid_size(space)
    if not space.start:
        return size
    return size + len({point.key for point in space.start} - {point.key for point in grid(space)})


def _first_made(manifest: Mapping[str, Any]) -> str:
    """The digest that lines without one stand for; empty if nothing says it."""
    made = _session(manifest, 0).get("made")
    return made if isinstance(made, str) else ""


def _session_began(manifest: Mapping[str, Any]) -> float | None:
    return moment(_session(manifest, -1).get("started"))


def _session(manifest: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    sessions = manifest.get("sessions")
    found = sessions[index] if isinstance(sessions, list) and sessions else None
    return found if isinstance(found, dict) else {}


# -------------------------------------------------------------------------------------------------
# The verb `status`: where a run stands, while it runs or afterwards.


def status(run: Run | str | os.PathLike[str]) -> RunStatus:
    """Where a run stands at this moment; its directory is read and never written to.

    Args:
        run: its directory, or a run that was loaded, whose directory is looked at again.

    Raises:
        InputError: there is no run, or a line of its journal, its manifest or its certificate is
            damaged.
    """
    return run_status(run.path if isinstance(run, Run) else run)


def watched(path: str | os.PathLike[str], *, interval: float = 2.0) -> Iterator[RunStatus]:
    """Looks at a run, one at once and then one after each interval; the last one is of its end.

    Each look reads only what was appended since the one before.

    Args:
        path: the run's directory.
        interval: seconds between two looks.

    Raises:
        InputError: as `status`, or an interval that is not above 0.
    """
    if not 0 < interval <= 86_400:
        raise InputError(
            f"{interval}", field="interval", allowed="seconds, above 0 and at most a day"
        )
    watcher = Watcher(path)
    while True:
        found = watcher.look()
        yield found
        if found.state != "running":
            return
        time.sleep(interval)
