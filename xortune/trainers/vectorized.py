"""Trains the seeds of a user's `TorchTraining` in stacks, or in a loop where that is better.

    groups = [(Digits({"lr": 0.01}), range(128)), (Digits({"lr": 0.1}), range(64))]
    found = train_stacked(groups)
    found.scores[1][0], found.audits[1], found.sentence       # of lr 0.1: of seed 0, of all seeds

Of each stack some seeds are trained alone as well (`audit`), here or by an idle worker.
If a number differs, no result of a stack is used: all seeds train in the loop, and no later call of
this process stacks that training.

A stack in which a seed's training raises is trained again in halves, and in the end the seed
alone: so it fails alone. Where torch refuses a stack on its way (`CannotStack`), the loop trains
its seeds.
The seeds of a stack that takes longer than their time limits in all train again, each alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xortune.core.audit import AT_FIRST, OF_NEW, Audit, drawn
from xortune.core.forks import ending_forks
from xortune.trainers.audit import (
    NUDGES,
    Apart,
    SeedResult,
    distances,
    knowledge_of,
    nudged,
)
from xortune.trainers.batching_rules import LOOP, CannotStack
from xortune.trainers.epoch_batches import NotAtOnce
from xortune.trainers.limits import keeping_freed_memory, restore_descriptors, time_is_over
from xortune.trainers.methods import given_to
from xortune.trainers.pilot import Pilot, pilot_of, quiet
from xortune.trainers.reports import Ended, Pruned, SeedTimeout
from xortune.trainers.stack import Group, Stack
from xortune.trainers.verdicts import MethodError

Report = Callable[[int, Sequence[int], Sequence[Any], int], Collection[int]]
"""Called with the index of a group, some of its seeds, the intermediate score of each, and how
often they have reported: 1 at first, and where they train again. It returns the seeds that leave,
with `Pruned` in place of a score."""

Row = tuple[int, int]
"""The index of a group, and one of its seeds."""


class StackedSeeds(NamedTuple):
    """What `train_stacked` comes to.

    Attributes:
        results: for each group that of each seed; only of the first ones if the search's time was
            over before. A score may be the exception that the training raised, or `SeedTimeout`.
        sentence: whether the seeds of the last group train as one.
        audits: for each group what is known of its seeds in stacks.
    """

    results: list[list[SeedResult]]
    sentence: str
    audits: list[Audit]

    @property
    def scores(self) -> list[list[Any]]:
        """Those of the results."""
        return [[one.score for one in of_group] for of_group in self.results]


def arrays_of(results: Sequence[Any]) -> Any:
    """The scores of S seeds as arrays of shape (S,); NaN where a seed has no such number."""
    if not all(isinstance(score, Mapping) for score in results):
        return np.array(results)
    names = dict.fromkeys(name for score in results for name in score)
    return {name: np.array([score.get(name, math.nan) for score in results]) for name in names}


def train_stacked(groups: Sequence[Group], **options: Any) -> StackedSeeds:
    """Train the seeds of some configurations of one class.

    Args:
        groups: each configuration's training with its seeds.
        options: other attributes of `_StackedGroups`.

    Raises:
        MethodError: a method of a training gives something else than it must.
    """
    block = _StackedGroups(groups, **options)
    sentence = ""
    for pilot, indices in block.by_pilot():
        rows = [(index, seed) for index in indices for seed in groups[index][1]]
        if pilot is None:
            block.train_each(rows)
        else:
            block.train(rows, pilot)
            sentence = block.refusal or pilot.sentence
    in_order = zip(groups, block.results, strict=True)
    # Where a stack is given up, a seed may have left it before one that is not trained any more.
    results = [
        [of[seed] for seed in itertools.takewhile(of.__contains__, seeds)]
        for (_, seeds), of in in_order
    ]
    return StackedSeeds(results, sentence, block.audits)


@dataclass
class _StackedGroups:
    """The seeds of some configurations, and their results so far.

    Attributes:
        groups: each configuration's training with its seeds.
        report: called after every `report_every` epochs but the last. What it raises ends all.
        failures: exceptions of a training that are the failure of its seed; all others end all.
        limit: seconds for a seed, checked when it reports and at its end; None for no limit.
        agreed: how many seeds of this training are known to agree with themselves in a stack; None:
            no seed is to be stacked.
        judge: says of a score whether it is a success, as a number; None if no rule does.
        audited: the rows that train alone as well; empty: somebody else compares them; None: they
            are drawn here.
        results: of each group, by the seed.
        audits: of each group.
        of_stacks: rows whose results are those of a stack.
        knowledge: what this process knows of the training's stacks.
    """

    groups: Sequence[Group]
    report: Report = lambda *_: ()
    failures: tuple[type[BaseException], ...] = (Exception,)
    limit: float | None = None
    agreed: int | None = 0
    judge: Callable[[Any], Any] | None = None
    audited: Sequence[Row] | None = None

    def __post_init__(self) -> None:
        self.results: list[dict[int, SeedResult]] = [{} for _ in self.groups]
        self.audits = [Audit() for _ in self.groups]
        self.of_stacks: list[Row] = []
        self.knowledge = knowledge_of(self.groups[0][0])

    @property
    def refusal(self) -> str:
        """Why no seed is stacked, whatever its pilot says; empty if some may be."""
        if self.knowledge.fault:
            return f"a stack trains seeds differently ({self.knowledge.fault}): {LOOP}"
        return f"a stack trained seeds differently before: {LOOP}" if self.agreed is None else ""

    @property
    def known_to_agree(self) -> int:
        """How many seeds are known to agree."""
        return max(self.agreed or 0, self.knowledge.agreed)

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
        if len(rows) > 1 and not self.refusal:
            with suppress(*self.failures), ending_forks():
                pilot.measure(self.groups[rows[0][0]][0], len(rows))
            stacks = pilot.stacks(len(rows))
        for number in range(stacks):
            part = rows[len(rows) * number // stacks : len(rows) * (number + 1) // stacks]
            if time_is_over():
                return
            try:
                self._train_part(part, pilot)
            except CannotStack as refused:
                pilot.reason = pilot.reason or str(refused)
                self.train_each(self._left(rows))
                return
            if self.knowledge.fault and stacks < len(rows):
                self._train_all_again(rows)
                return

    def train_each(self, rows: Sequence[Row]) -> None:
        """Train rows in the loop, one after the other."""
        for index, seed in rows:
            if time_is_over():
                return
            self.results[index][seed] = self._train_alone(index, seed)

    def _train_all_again(self, rows: Sequence[Row]) -> None:
        """Train in the loop what a stack has trained in this call, and the rest of some rows."""
        for index, seed in self.of_stacks:
            del self.results[index][seed]
        for index, audit in enumerate(self.audits):
            self.audits[index] = Audit(0, audit.audited, audit.largest, self.knowledge.fault)
        self.train_each([*dict.fromkeys((*self.of_stacks, *self._left(rows)))])
        self.of_stacks.clear()

    def _left(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that have no result yet."""
        return [(index, seed) for index, seed in rows if seed not in self.results[index]]

    # ---------------------------------------------------------------------------------------------
    # In a stack, and some of it alone as well.

    def _train_part(self, rows: Sequence[Row], pilot: Pilot) -> None:
        """Train rows as one model, and those that are drawn alone before.

        Raises:
            CannotStack: torch does not compute the stack.
        """
        if len(rows) == 1:
            self.train_each(rows)
            return
        chosen = self._chosen(rows, pilot)
        self.train_each(chosen)
        if self._left(chosen):
            return
        stacked: dict[Row, SeedResult] = {}
        try:
            self._train_halves(rows, pilot, chosen, stacked)
        except NotAtOnce:
            pilot.at_once = False
            stacked.clear()
            self._train_halves(rows, pilot, chosen, stacked)
        for index, seed in chosen:
            if (index, seed) in stacked:
                self._compare((index, seed), self.results[index][seed], stacked[index, seed])
        if self.known_to_agree < AT_FIRST and self.audited != []:
            self.train_each(self._left(rows))  # not all of the drawn ones could be compared
            return
        for index, seed in self._left(rows):
            if (index, seed) in stacked:
                self.results[index][seed] = stacked[index, seed]
                self.audits[index] += Audit(stacked=1)
                self.of_stacks.append((index, seed))

    def _chosen(self, rows: Sequence[Row], pilot: Pilot) -> list[Row]:
        """Those that train alone as well."""
        if self.audited is not None:
            return [row for row in rows if row in self.audited]
        structure = pilot.structure, len({index for index, _ in rows}) > 1
        least = 0 if structure in self.knowledge.structures else OF_NEW
        self.knowledge.structures.add(structure)
        texts = [(repr(given_to(self.groups[index][0])), seed) for index, seed in rows]
        return [rows[place] for place in drawn(texts, self.known_to_agree, least)]

    def _compare(self, row: Row, alone: SeedResult, stacked: SeedResult) -> None:
        """Note whether a seed agrees with itself in a stack."""
        index, seed = row
        if isinstance(alone.score, SeedTimeout):
            return
        every = self.groups[index][0].report_every or 1

        def apart_from(other: SeedResult) -> dict[str, Apart]:
            if isinstance(alone.score, Pruned):  # it has ended at a report
                other = SeedResult(alone.score, other.reports[: len(alone.reports)])
                return distances(alone, other, None, every)
            return distances(alone, other, self.judge, every)

        changed = (nudged(self.groups[index][0], units) for units in NUDGES)
        moved = (apart_from(self._train_alone(index, seed, one)) for one in changed)
        apart = apart_from(stacked)
        largest = self.knowledge.compare(seed, apart, moved)
        if not self.knowledge.fault:
            self.audits[index] += Audit(audited=1, largest=largest)

    def _train_halves(
        self,
        rows: Sequence[Row],
        pilot: Pilot,
        alone: Sequence[Row],
        stacked: dict[Row, SeedResult],
    ) -> None:
        """Train rows as one model; in halves if that fails.

        Args:
            rows: to be trained.
            pilot: of their groups.
            alone: those that train alone, too; they report there.
            stacked: gets what each comes to in a stack.
        """
        raised = self._train_together(rows, pilot, alone, stacked)
        if raised is None:
            return
        left = [row for row in rows if row not in stacked]
        if len(left) > 2:
            middle = len(left) // 2
            for half in (left[:middle], left[middle:]):
                self._train_halves(half, pilot, alone, stacked)
            return
        self.train_each(self._left(left))
        both = [self.results[index].get(seed) for index, seed in left]
        if not any(one is None or isinstance(one.score, BaseException) for one in both):
            said = f"{type(raised).__name__}: {raised}".partition("\n")[0]
            if not isinstance(raised, MemoryError) and "alloc" not in said:
                seeds = " and ".join(str(seed) for _, seed in left)
                self.knowledge.fault = (
                    f"of seeds {seeds} a stack raises {said[:200]}, and none alone"
                )

    def _train_alone(self, index: int, seed: int, instead: Any = None) -> SeedResult:
        """Train a seed in the loop.

        Args:
            index: of its group.
            seed: its number.
            instead: a training in place of the group's; its reports are not told, and it has no
                time limit.
        """
        began, reports = time.monotonic(), list[Any]()

        def check_time() -> None:
            if instead is None and self._is_late(began, 1):
                raise SeedTimeout(f"took longer than {self.limit:g} s")

        def report(told: Any) -> None:
            reports.append(told)
            leaves = instead is None and self.report(index, [seed], [told], len(reports))
            check_time()
            if leaves:
                raise Pruned(len(reports))

        restore_descriptors()  # which the seed before may have closed
        try:
            with ending_forks():
                score = (instead or self.groups[index][0]).run(seed, report)
            check_time()
        except (Pruned, SeedTimeout) as ended:
            score = ended
        except Ended:
            raise
        except self.failures as error:
            score = error
        return SeedResult(score, reports)

    def _train_together(
        self,
        rows: Sequence[Row],
        pilot: Pilot,
        alone: Sequence[Row],
        stacked: dict[Row, SeedResult],
    ) -> BaseException | None:
        """Train rows as one model, or each alone if that takes longer than their limits in all.

        Returns:
            What it raised; None if it ended.
        """
        indices = list(dict.fromkeys(index for index, _ in rows))
        groups = [(self.groups[index][0], [s for i, s in rows if i == index]) for index in indices]
        steps = trained_as_one(groups, at_once=pilot.at_once)
        began, reports = time.monotonic(), {row: list[Any]() for row in rows}
        staying, leaving = list(rows), list[int]()
        while staying:
            try:
                with ending_forks(), quiet(), keeping_freed_memory():
                    epoch, scores = steps.send(leaving or None)
            except CannotStack:
                raise
            except self.failures as error:  # of a seed, or because memory ran out
                return error
            for row, score in zip(staying, scores, strict=True):
                if epoch == groups[0][0].epochs:
                    stacked[row] = SeedResult(score, reports[row])
                else:
                    reports[row].append(score)
            if epoch == groups[0][0].epochs:
                return None
            count = len(reports[staying[0]])
            leaving = self._reported(staying, scores, count, alone)
            for place in leaving:
                stacked[staying[place]] = SeedResult(Pruned(count), reports[staying[place]])
            staying = [row for place, row in enumerate(staying) if place not in leaving]
            if self._is_late(began, len(rows)):
                steps.close()
                self.train_each(self._left(staying))
                break
        return None

    def _is_late(self, began: float, seeds: int) -> bool:
        """Whether seeds that began at a `time.monotonic` exceed their time limits in all."""
        return self.limit is not None and time.monotonic() - began > self.limit * seeds

    def _reported(
        self,
        rows: Sequence[Row],
        scores: Sequence[Any],
        count: int,
        alone: Sequence[Row],
    ) -> list[int]:
        """Report the intermediate scores of rows; the places of those that leave."""
        leaving: list[int] = []
        for index, places in itertools.groupby(range(len(rows)), lambda place: rows[place][0]):
            of_group = [place for place in places if rows[place] not in alone]
            if of_group:
                seeds = [rows[place][1] for place in of_group]
                pruned = self.report(index, seeds, [scores[place] for place in of_group], count)
                leaving += [place for place in of_group if rows[place][1] in pruned]
        return leaving


def trained_as_one(
    groups: Sequence[Group], *, at_once: bool = True
) -> Generator[tuple[int, list[Any]], list[int] | None, None]:
    """Train a stack; yield epoch and scores every `report_every` epochs and after the last.

    What is sent are the rows that leave the stack.
    """
    stack = Stack(groups, at_once=at_once)
    epochs = groups[0][0].epochs
    for epoch in range(1, epochs + 1):
        for _ in stack.epoch():
            pass
        is_told = stack.lead.reports_after(epoch) or epoch == epochs
        if is_told and (gone := (yield epoch, stack.scores())):
            stack.leave(gone)
