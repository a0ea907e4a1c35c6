"""Where a run stands, seen from outside while it runs or afterwards: read, and never written to.

A look reads what was appended to the journal since the look before, so that only the first one of
100,000 lines takes some seconds. It keeps counts and keys, and no seeds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from xortune.errors import InputError
from xortune.files import open_regular, text_of, unreadable
from xortune.objective_numbers import numbers_named, summed_only, ties_of
from xortune.point import Point
from xortune.run import JOURNAL, no_run
from xortune.run_belonging import refuse_unknown
from xortune.run_front import objectives_in
from xortune.run_manifest import MANIFEST, manifest_of, stopped_because
from xortune.run_proposals import rungs_of
from xortune.run_stored import readable
from xortune.space_model import Objective
from xortune.status_certificate import CertificateState, Certifying
from xortune.status_driver import LATEST, Driver, DriverWatch, driver_of, moment
from xortune.status_journal import Tally

__all__ = ["Leader", "RunStatus", "State", "Watcher", "run_status"]

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
        self._tally, self._certifying = Tally(), Certifying()
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
            again, self._tally = False, Tally(names)
        try:
            torn = self._tally.take(file, str(place))
        except InputError:
            if not again:
                raise
            # Cut and written again between two looks? Then all of it is new.
            self._tally = Tally(names)
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
        from xortune.stats import wilson

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
    from xortune.space import grid, grid_size, parse_space
    from xortune.space_yaml import read_yaml

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
