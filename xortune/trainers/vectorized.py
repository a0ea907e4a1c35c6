"""Trains the seeds of a user's `TorchTraining` in stacks, or in a loop where `pilot` says so.

    groups = [(Digits({"lr": 0.01}), range(128)), (Digits({"lr": 0.1}), range(64))]
    scores, sentence = train_stacked(groups)       # scores[1][0]: of lr 0.1, seed 0

A stack in which a seed's training raises is trained again in halves, and in the end the seed alone:
so it fails alone. A stack that is refused on its way (`CannotStack`) is trained again in one stack
for each configuration, and in the loop if that is refused too, or if seeds would share something.
The seeds of a stack that takes longer than their time limits in all train again, each alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xortune.core.forks import ending_forks
from xortune.trainers.batching_rules import LOOP, CannotStack
from xortune.trainers.limits import keeping_freed_memory, restore_descriptors, time_is_over
from xortune.trainers.methods import untracked
from xortune.trainers.pilot import Pilot, pilot_of, quiet
from xortune.trainers.reports import Ended, Hopeless, SeedTimeout
from xortune.trainers.stack import Group, Stack
from xortune.trainers.surroundings import Shares
from xortune.trainers.verdicts import MethodError

Report = Callable[[int, Sequence[int], Any, int], Collection[int]]
"""Called with the index of a group, some of its seeds, their intermediate scores, and a number that
is another one where they train again from the start. It returns the seeds that leave, with
`Hopeless` in place of a score."""

Row = tuple[int, int]
"""The index of a group, and one of its seeds."""


def arrays_of(results: Sequence[Any]) -> Any:
    """The scores of S seeds as arrays of shape (S,); NaN where a seed has no such number."""
    if not all(isinstance(score, Mapping) for score in results):
        return np.array(results)
    names = dict.fromkeys(name for score in results for name in score)
    return {name: np.array([score.get(name, math.nan) for score in results]) for name in names}


def train_stacked(
    groups: Sequence[Group],
    report: Report = lambda *_: (),
    failures: tuple[type[BaseException], ...] = (Exception,),
    limit: float | None = None,
) -> tuple[list[list[Any]], str]:
    """Train the seeds of some configurations of one class.

    Args:
        groups: each configuration's training with its seeds.
        report: called after every `report_every` epochs but the last. What it raises ends all.
        failures: exceptions of a training that are the failure of its seed; all others end all.
        limit: seconds for a seed, checked when it reports and at its end; None for no limit.

    Returns:
        For each group the score of each seed, or the exception that its training raised, or
        `SeedTimeout`; only the first seeds if the search's time was over before. And a sentence:
        whether those of the last group train as one.

    Raises:
        MethodError: a method of a training gives something else than it must.
    """
    block = _StackedGroups(groups, report, failures, limit, [{} for _ in groups])
    sentence = ""
    for pilot, indices in block.by_pilot():
        rows = [(index, seed) for index in indices for seed in groups[index][1]]
        if pilot is None:
            block.train_each(rows)
        else:
            block.train(rows, pilot)
            sentence = pilot.sentence
    in_order = zip(groups, block.results, strict=True)
    # Where a stack is given up, a seed may have left it before one that is not trained any more.
    return [
        [of[seed] for seed in itertools.takewhile(of.__contains__, seeds)]
        for (_, seeds), of in in_order
    ], sentence


@dataclass(frozen=True)
class _StackedGroups:
    """The seeds of some configurations, and their results so far.

    Attributes:
        groups, report, failures, limit: see `train_stacked`.
        results: of each group, by the seed: its score, or the exception that it raised.
        numbers: of the times that seeds train, for `Report`.
    """

    groups: Sequence[Group]
    report: Report
    failures: tuple[type[BaseException], ...]
    limit: float | None
    results: Sequence[dict[int, Any]]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def by_pilot(self) -> list[tuple[Pilot | None, list[int]]]:
        """The indices of the groups by their pilots: groups with one pilot may be in one stack.

        The pilot is None for a single group whose training failed in it.

        Raises:
            MethodError: a method of a training gives something else than it must.
        """
        found: list[tuple[Pilot | None, list[int]]] = []
        for index, (training, seeds) in enumerate(self.groups):
            pilot = None
            try:
                with ending_forks():
                    pilot = pilot_of(training, [*seeds, seeds[0] + 1][:2])
            except MethodError:
                raise
            except self.failures:  # the training of the seeds raises it again
                pass
            same = [indices for one, indices in found if one is not None and one is pilot]
            if same:
                same[0].append(index)
            else:
                found.append((pilot, [index]))
        return found

    def train(self, rows: Sequence[Row], pilot: Pilot) -> None:
        """Train rows of groups with one pilot, in as many stacks as are fastest."""
        stacks = len(rows)
        if len(rows) > 1:
            with suppress(*self.failures), ending_forks():
                pilot.measure(self.groups[rows[0][0]][0], len(rows))
            stacks = pilot.stacks(len(rows))
        for number in range(stacks):
            if time_is_over():
                return
            part = rows[len(rows) * number // stacks : len(rows) * (number + 1) // stacks]
            try:
                self._train_part(part, pilot)
            except CannotStack as refused:
                left = self._left(rows)
                indices = dict.fromkeys(index for index, _ in left)
                if len(indices) > 1 and not isinstance(refused, Shares):
                    for one in indices:  # configurations may differ in what is read late
                        self.train([(index, seed) for index, seed in left if index == one], pilot)
                else:
                    pilot.reason = pilot.reason or str(refused)
                    self.train_each(left)
                return

    def train_each(self, rows: Sequence[Row]) -> None:
        """Train rows in the loop, one after the other."""
        for row in rows:
            if time_is_over():
                return
            self._train_alone(*row)

    def _train_part(self, rows: Sequence[Row], pilot: Pilot) -> None:
        """Train rows as one model; in halves if that fails.

        Raises:
            CannotStack: a stack does not train them as the loop does.
        """
        if len(rows) == 1:
            self._train_alone(*rows[0])
        elif rows and not self._train_together(rows, pilot):
            left = self._left(rows)
            middle = len(left) // 2
            self._train_part(left[:middle], pilot)
            self._train_part(left[middle:], pilot)

    def _train_alone(self, index: int, seed: int) -> None:
        """Train a seed in the loop."""
        training, number, began = self.groups[index][0], next(self.numbers), time.monotonic()

        def check_time() -> None:
            if self._is_late(began, 1):
                raise SeedTimeout(f"took longer than {self.limit:g} s")

        def report(told: Any) -> None:
            leaves = self.report(index, [seed], told, number)
            check_time()
            if leaves:
                raise Hopeless

        restore_descriptors()  # which the seed before may have closed
        try:
            # `run` also reads the parameters of the optimizer
            with ending_forks(), untracked(training):
                score = training.run(seed, report)
            check_time()
            self.results[index][seed] = score
        except (Hopeless, SeedTimeout) as ended:
            self.results[index][seed] = ended
        except Ended:
            raise
        except self.failures as error:
            self.results[index][seed] = error

    def _train_together(self, rows: Sequence[Row], pilot: Pilot) -> bool:
        """Train rows as one model, or each alone if that takes longer than their limits in all.

        Returns:
            False if it fails.

        Raises:
            CannotStack: a stack does not train them as the loop does.
        """
        indices = list(dict.fromkeys(index for index, _ in rows))
        groups = [(self.groups[index][0], [s for i, s in rows if i == index]) for index in indices]
        steps = trained_as_one(groups, at_once=pilot.at_once)
        number, began = next(self.numbers), time.monotonic()
        staying, leaving = list(rows), list[int]()
        while staying:
            try:
                with ending_forks(), quiet(), keeping_freed_memory():
                    epoch, scores = steps.send(leaving or None)
            except CannotStack:
                raise
            except self.failures:  # of a seed, or because memory ran out
                return False
            if epoch == groups[0][0].epochs:
                for (index, seed), score in zip(staying, scores, strict=True):
                    self.results[index][seed] = score
                return True
            leaving = self._reported(staying, scores, number)
            staying = [row for place, row in enumerate(staying) if place not in leaving]
            if self._is_late(began, len(rows)):
                steps.close()
                self.train_each(staying)
                break
        return True

    def _is_late(self, began: float, seeds: int) -> bool:
        """Whether seeds that began at a `time.monotonic` exceed their time limits in all."""
        return self.limit is not None and time.monotonic() - began > self.limit * seeds

    def _reported(self, rows: Sequence[Row], scores: Sequence[Any], number: int) -> list[int]:
        """Report the intermediate scores of rows; the places of those that leave."""
        leaving: list[int] = []
        for index, places in itertools.groupby(range(len(rows)), lambda place: rows[place][0]):
            of_group = list(places)
            seeds = [rows[place][1] for place in of_group]
            told = arrays_of([scores[place] for place in of_group])
            hopeless = self.report(index, seeds, told, number)
            gone = [place for place in of_group if rows[place][1] in hopeless]
            self.results[index].update({rows[place][1]: Hopeless() for place in gone})
            leaving += gone
        return leaving

    def _left(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that have no result yet."""
        return [(index, seed) for index, seed in rows if seed not in self.results[index]]


def trained_as_one(
    groups: Sequence[Group], *, at_once: bool = True
) -> Generator[tuple[int, list[Any]], list[int] | None, None]:
    """Train a stack; yield epoch and scores every `report_every` epochs and after the last.

    What is sent are the rows that leave the stack.
    """
    stack = Stack(groups, at_once=at_once)
    epochs = stack.lead.epochs
    for epoch in range(1, epochs + 1):
        for _ in stack.epoch():
            pass
        if stack.lead.epochs != epochs:
            raise CannotStack(f"the training changes its number of epochs: {LOOP}")
        is_told = stack.lead.reports_after(epoch) or epoch == epochs
        if is_told and (gone := (yield epoch, stack.scores())):
            stack.leave(gone)
