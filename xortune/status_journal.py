"""What a status takes from a journal: counts and keys of each line, read once, in order.

A line is refused here as everywhere: status counts no journal that a report would not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from xortune import run_belonging as belonging
from xortune.errors import InputError
from xortune.evaluation import Evaluation, Packed, decode
from xortune.evaluation_purpose import Purpose
from xortune.files import open_regular
from xortune.journal import Spans
from xortune.objective_numbers import counted
from xortune.outcome import MAX_SEED, Outcome, Status
from xortune.point import Point
from xortune.run_results import criteria, first_of
from xortune.space_model import Objective
from xortune.status_proposals import Proposals
from xortune.trainer import NOT_FINISHED

__all__ = ["AttemptCount", "ConfigCount", "Tally"]

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
        made: the digests of what made the lines, each with its first line.

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
        self.made: dict[str | None, int] = {}
        self._spans, self._belonging = Spans(), belonging.Proposals()
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
        assert not isinstance(outcome, Packed)  # it was read from a journal
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
