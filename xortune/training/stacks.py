"""Seeds of a stack that idle workers train alone, and whether both results agree.

Where workers are idle, `Batches` draws the seeds of a stack that are audited. Each of them is a
batch of its own, which the next free worker trains, whatever brings it there: `Batch` knows of no
difference. The results of the stack are used once those of all these seeds are there and agree.
Otherwise the stack trains again, and its worker audits these seeds itself: it can tell a fault of
the stack from a training that amplifies rounding.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xortune.core.audit import LEAST_SCALE, OF_NEW, TOLERANCE, Audit, drawn
from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome, Status
from xortune.core.trainer import Block, Postponed, Unfinished
from xortune.runs.evaluation import EncodedOutcome
from xortune.training.jobs import Done, Job, WorkerFailure

Result = Outcome | EncodedOutcome | TrainingError
Seed = tuple[str, int]
"""The key of a configuration, and the number of a seed."""


class SharedStacks:
    """The stacks whose audited seeds other workers train alone.

    Attributes:
        to_send: those seeds, as far as no worker has them.
    """

    def __init__(self) -> None:
        self.to_send: deque[Job] = deque()
        self._stacks: dict[int, _SharedStack] = {}
        self._count = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._stacks)

    def share(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        """The jobs of a stack that trains none of its seeds alone; `to_send` gets its audits.

        A stack whose worker is to audit certain seeds itself is not shared.
        """
        if any(job.block.audited for job in jobs):
            return tuple(jobs)
        self._count += 1
        seeds = [job.of(seed, 1) for job in jobs for seed in job.block.seeds]
        agreed = jobs[0].block.agreed or 0
        places = drawn([_seed_of(job) for job in seeds], agreed, OF_NEW)
        chosen = [seeds[place] for place in places]
        self._stacks[self._count] = _SharedStack(dict.fromkeys(map(_seed_of, chosen)))
        self.to_send += (self._sent(job, agreed=None) for job in chosen)
        return tuple(self._sent(job, audited=()) for job in jobs)

    def _sent(self, job: Job, **block: Any) -> Job:
        return replace(job, stack=self._count, block=replace(job.block, **block))

    def stop(self) -> None:
        """Send nothing more. Of a stack of which seeds are not sent yet no result is used."""
        for job in self.to_send:
            self._stacks.pop(job.stack, None)
        self.to_send.clear()

    def receive(self, done: Done) -> Done | None:
        """What a batch comes to: of a stack that is shared, None until all of it is there."""
        if not done.jobs or not (number := done.jobs[0].stack):
            return done
        if (stack := self._stacks.get(number)) is None:
            return None  # an audit of a stack without results
        stack.hear(done)
        if not stack.is_over:
            return None
        del self._stacks[number]
        self.to_send = deque(job for job in self.to_send if job.stack != number)
        return stack.compared()


@dataclass
class _SharedStack:
    """A stack whose audited seeds other workers train alone.

    Attributes:
        alone: by the audited seeds, what each came to; None if that is not known yet.
        done: the results of the stack, once they are there.
    """

    alone: dict[Seed, Result | None]
    done: Done | None = None

    def hear(self, done: Done) -> None:
        """Keep what a batch came to: the stack, or an audited seed alone."""
        if not is_audit(first := done.jobs[0]):
            self.done = done
        elif isinstance(done.results, WorkerFailure):
            self.alone[_seed_of(first)] = TrainingError(done.results.reason)
        else:
            self.alone[_seed_of(first)] = done.results[0]

    @property
    def is_over(self) -> bool:
        """Whether nothing more is waited for: all is there, or no result came of the stack."""
        if self.done is None or isinstance(self.done.results, WorkerFailure):
            return self.done is not None
        return not any(map(_is_stacked, self.done.results)) or None not in self.alone.values()

    def compared(self) -> Done:
        """The results of the stack, with its audits; all postponed if one does not agree.

        Then its worker is to audit the same seeds itself.
        """
        assert self.done is not None
        done, results = self.done, list[Result]()
        if isinstance(done.results, WorkerFailure):
            return replace(done, jobs=tuple(map(_unshared, done.jobs)))
        alone = [self._of(job.block) for job in done.jobs]
        for job, result, own in zip(done.jobs, done.results, alone, strict=True):
            audited = _audited(job.block, result, own) if _is_stacked(result) else result
            if audited is None:
                again = map(_unshared, done.jobs, alone)
                postponed = [Postponed() for _ in done.jobs]
                return replace(done, jobs=tuple(again), results=postponed, stacking=None)
            results.append(audited)
        return replace(done, jobs=tuple(map(_unshared, done.jobs)), results=results)

    def _of(self, block: Block) -> dict[int, Result | None]:
        """Of a block, what its audited seeds came to alone."""
        key = block.point.key
        return {seed: self.alone[key, seed] for seed in block.seeds if (key, seed) in self.alone}


def _unshared(job: Job, audited: Iterable[int] | None = None) -> Job:
    """A job that is shared no more; its worker is to audit some seeds, or draws them."""
    of = None if audited is None else tuple(audited)
    return replace(job, stack=0, block=replace(job.block, audited=of))


def _seed_of(job: Job) -> Seed:
    """The first seed of a job."""
    return job.block.point.key, job.block.first


def is_audit(job: Job) -> bool:
    """Whether it is an audited seed, which trains alone for the stack that another job is."""
    return job.stack > 0 and job.block.agreed is None


def audit_of(result: Result) -> Audit:
    """What a result says of seeds that trained as one model, also one of the first seeds alone."""
    outcome = getattr(result, "outcome", None) if isinstance(result, Unfinished) else result
    if outcome is None or isinstance(outcome, TrainingError):
        return Audit()
    return outcome.details.audit or Audit()


def _is_stacked(result: Result) -> bool:
    return audit_of(result).stacked > 0


def _audited(
    block: Block, result: Result, alone: Mapping[int, Result | None]
) -> Outcome | EncodedOutcome | None:
    """The outcome of a block in a stack, with its audits; None if one does not agree."""
    largest = 0.0
    if isinstance(result, TrainingError):
        return None
    for seed, other in alone.items():
        if other is None or isinstance(other, TrainingError):
            return None
        own = decoded(block.part(seed, 1), other)
        difference, fault = compared(decoded(block, result), own, seed, scale=LEAST_SCALE)
        if fault:
            return None
        largest = max(largest, difference)
    known, n = audit_of(result), len(alone)
    audit = known + Audit(-min(known.stacked, n), min(known.stacked, n), largest)
    return replace(result, details=replace(result.details, audit=audit))


def decoded(block: Block, outcome: Outcome | EncodedOutcome) -> Outcome:
    """The outcome of a block, whether it is encoded or not."""
    return outcome if isinstance(outcome, Outcome) else outcome.decoded(block)


# -------------------------------------------------------------------------------------------------
# Whether two results of a seed agree.


def compared(
    stacked: Outcome,
    alone: Outcome,
    seed: int,
    *,
    most: float = TOLERANCE,
    scale: float | None = None,
) -> tuple[float, str]:
    """The largest difference of a seed's results, and the fault; empty if they agree.

    All numbers and reports are compared, and whether it is a success.

    Args:
        stacked: an outcome in which the seed was stacked.
        alone: one in which it was not.
        seed: its number.
        most: the largest difference of those that agree. If it is more than `TOLERANCE`, the seed
            may be a success in one of both.
        scale: the least one of a number; None: that of the stacked outcome's seeds.
    """
    at, place = (int(np.flatnonzero(of.seeds == seed)[0]) for of in (stacked, alone))
    ended = Status(stacked.status[at]), Status(alone.status[place])
    if ended[0] != ended[1] and most <= TOLERANCE:
        return math.inf, f"{ended[0].label} in a stack, {ended[1].label} alone"
    largest = 0.0
    for name, found, again, of_all in _numbers(stacked, alone, seed, at, place):
        difference = _difference(found, again, of_all if scale is None else scale)
        if not difference <= most:
            by = f", {difference:.2g} of its scale" if math.isfinite(difference) else ""
            return difference, f"{name} {found:.6g} in a stack, {again:.6g} alone{by}"
        largest = max(largest, difference)
    return largest, ""


def _numbers(
    one: Outcome, other: Outcome, seed: int, at: int, place: int
) -> Iterator[tuple[str, float, float, float]]:
    """The numbers of a seed: name, value in the first outcome, in the second, and the scale."""
    none = np.full(max(one.n, other.n), math.nan)
    for name in {**one.details.values, **other.details.values}:
        values = one.details.values.get(name, none)
        again = float(other.details.values.get(name, none)[place])
        yield name, float(values[at]), again, _scale((*values.tolist(), again))
    again = float(other.final_loss[place])
    yield "final loss", float(one.final_loss[at]), again, _scale((*one.final_loss.tolist(), again))
    reports, others = _reports(one, seed), _reports(other, seed)
    names = {name for name, _ in reports}
    scales = {n: _scale([v for (of, _), v in reports.items() if of == n]) for n in names}
    for (name, report), value in reports.items():
        if (name, report) in others:  # curves are thinned
            yield f"report {report} of {name}", value, others[name, report], scales[name]


def _reports(outcome: Outcome, seed: int) -> Mapping[tuple[str, int], float]:
    """What a seed reported, by the name of the number and the index of the report."""
    found: dict[tuple[str, int], float] = {}
    for part in outcome.details.curves:
        curves = part.points()
        mine = curves.seed == seed
        rows = zip(curves.report[mine].tolist(), curves.values[mine].tolist(), strict=True)
        found |= {(n, at): v for at, row in rows for n, v in zip(curves.names, row, strict=True)}
    return found


def _scale(values: Iterable[float]) -> float:
    return max((abs(one) for one in values if math.isfinite(one)), default=0.0)


def _difference(one: float, other: float, scale: float) -> float:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(one - other) / max(scale, abs(one), abs(other))
