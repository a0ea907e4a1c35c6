"""What a status takes from a journal: counts and keys of each line, read once, in order.

Of the seeds' arrays of a line it opens only what it needs: the statuses where some are not solved,
and the epochs of configurations that share the best interval, among which these decide.
"""

from __future__ import annotations

import base64
import json
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError
from xortune.evaluation import MAX_TIME, Evaluation, decode
from xortune.evaluation_details import values_of
from xortune.files import open_regular
from xortune.objective_numbers import counted
from xortune.outcome import MAX_SEED, Outcome, Status
from xortune.point import Point
from xortune.run_results import criteria, first_of
from xortune.space_model import Objective
from xortune.status_proposals import Proposals
from xortune.trainer import NOT_FINISHED

__all__ = ["AttemptCount", "ConfigCount", "Tally"]

_SOLVED, _CRASHED, _DIVERGED = int(Status.SOLVED), int(Status.CRASHED), int(Status.DIVERGED)

_ALL_SOLVED = np.empty(0, np.uint8)
"""In the place of the statuses of a line whose seeds are all solved."""


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


class Tally:
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

    Args:
        names: numbers of a user's own trainer that decide who comes first.
    """

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.proposals, self.names = Proposals(), names
        self.evaluations = self.seeds = self.retried = self.without_outcome = 0
        self.crashed = self.crashed_seeds = self.diverged_seeds = 0
        self.last_error: str | None = None
        self.configs: dict[str, ConfigCount] = {}
        self.attempts: dict[int, AttemptCount] = {}
        self._mixed: dict[str, dict[str | None, ConfigCount]] = {}
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
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"is no JSON ({error})") from None
        if not isinstance(fields, dict):
            raise InputError("is no evaluation", allowed="an object")
        count, final = whole(fields, "count", 1, MAX_SEED), fields.get("final")
        outcome = fields.get("seeds_data") is not None
        k = whole(fields, "k", 0, count) if outcome else 0
        if not isinstance(final, bool):
            raise InputError(f"is a {type(final).__name__}", field="final", allowed="true or false")
        purpose = fields.get("purpose")
        if purpose is not None:
            if final:
                self._check(purpose, count, crashed=not outcome)
            return
        if not outcome:
            reason = fields.get("error")
            if reason == NOT_FINISHED:
                return
            self.last_error = reason if isinstance(reason, str) else "no reason given"
        if not final:
            self.retried += 1
            return
        proposal = whole(fields, "proposal", 0, 2**53)
        first = whole(fields, "first", 0, MAX_SEED)
        config = self._config(fields)
        at = fields.get("at")
        at = None if at is None else whole(fields, "at", 0, MAX_TIME)
        self.proposals.add(proposal, at)
        config.first = min(config.first, first)
        config.k += k
        config.n += count
        config.lines.append(start)
        config.speed = None
        if config.k == config.n:  # only those are many that share the best interval
            config.spent += epochs_solved(fields["seeds_data"], count)
        self.evaluations += 1
        self.seeds += count
        self.without_outcome += not outcome
        self._add_seeds(config, fields, k if outcome else None)

    def _add_seeds(self, config: ConfigCount, fields: dict[str, Any], k: int | None) -> None:
        """Take in what the seeds of a line ended as; k is None where it has no outcome."""
        count, status = fields["count"], _ALL_SOLVED
        if k is None:
            config.crashed += count
            status = np.full(count, _CRASHED, np.uint8)
        elif k < count:
            status = statuses(fields["seeds_data"], count)
        if status is not _ALL_SOLVED:
            self._add_failures(status, fields["first"], fields.get("failed"))
        if self.names:
            values = fields.get("values")
            found = {} if k is None or values is None else values_of(values, count)
            every = np.full(count, _SOLVED, np.uint8) if status is _ALL_SOLVED else status
            for name in self.names:
                config.numbers.setdefault(name, []).append(counted(found.get(name), every))

    def _add_failures(self, status: NDArray[np.uint8], first: int, failed: object) -> None:
        crashed = status == _CRASHED
        self.crashed += bool(crashed.any())
        self.crashed_seeds += int(np.count_nonzero(crashed))
        self.diverged_seeds += int(np.count_nonzero(status == _DIVERGED))
        if isinstance(failed, dict):
            here = set((np.flatnonzero(crashed) + first).tolist())
            for reason, seeds in failed.items():
                if isinstance(seeds, list) and any(type(s) is int and s in here for s in seeds):
                    self.last_error = reason

    def _config(self, fields: dict[str, Any]) -> ConfigCount:
        """Where a line's seeds belong."""
        key, made = fields.get("key"), fields.get("made")
        if not isinstance(key, str):
            raise InputError(f"is a {type(key).__name__}", field="key", allowed="a key")
        if not (made is None or isinstance(made, str)):
            raise InputError(f"is a {type(made).__name__}", field="made", allowed="a digest")
        config = self.configs.get(key)
        if config is None:
            config = self.configs[key] = ConfigCount(made)
        elif config.made != made:
            mixed = self._mixed.setdefault(key, {config.made: config})
            config = mixed.setdefault(made, ConfigCount(made))
        return config

    def _check(self, purpose: object, count: int, *, crashed: bool) -> None:
        if not isinstance(purpose, dict):
            raise InputError(f"is a {type(purpose).__name__}", field="purpose", allowed="an object")
        number = whole(purpose, "attempt", 1, 2**53)
        attempt = self.attempts.setdefault(number, AttemptCount())
        attempt.finalists = whole(purpose, "finalists", 1, 2**53)
        attempt.neighbours = whole({"neighbours": 0} | purpose, "neighbours", 0, 2**53)
        seeds = whole(purpose, "seeds", 1, 2**53)
        if purpose.get("kind") == "neighbourhood":
            attempt.near = max(attempt.near, seeds)
        else:
            attempt.seeds = max(attempt.seeds, seeds)
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


def epochs_solved(text: object, count: int) -> int:
    """The sum of the epochs from which the seeds of a block, all solved, are so.

    Raises:
        InputError: the packed arrays are damaged.
    """
    data = _unpacked(text, 4 + 5 * count)
    return int(np.frombuffer(data, "<i4", count, 4 + count).sum(dtype=np.int64))


def statuses(text: object, count: int) -> NDArray[np.uint8]:
    """The `Status` of each seed of a block.

    Raises:
        InputError: the packed arrays are damaged.
    """
    return np.frombuffer(_unpacked(text, 4 + count), np.uint8, count, 4)


def _unpacked(text: object, size: int) -> bytes:
    """The first bytes of a line's packed arrays."""
    try:
        if not isinstance(text, str):
            raise ValueError(f"a {type(text).__name__}")
        # Never more than what is asked for: a forged field cannot fill the memory.
        data = zlib.decompressobj().decompress(base64.b64decode(text), size)
        if len(data) < size:
            raise ValueError("its length")
    except (ValueError, OverflowError, zlib.error) as error:
        raise InputError(f"is damaged ({error})", field="seeds_data") from None
    return data


def whole(fields: dict[str, Any], name: str, low: int, high: int) -> int:
    """An entry that is a whole number from low to high.

    Raises:
        InputError: it is something else.
    """
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise InputError(
        f"{type(value).__name__}, or out of range",
        field=name,
        allowed=f"a whole number, {low} to {high}",
    )
