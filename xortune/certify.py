"""Certify: the finalists of a search on seeds that nothing has seen yet.

Every block goes into the run's journal with its purpose, so that the certificate can be made from
the journal alone and an attempt, once begun, is never forgotten: one that was interrupted goes on
where it stopped, with the same finalists and seeds, and one that disappoints stays on record and
has spent its share of alpha. `xortune.run_certificate` says what is promised.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from xortune.certify_neighbours import neighbours
from xortune.errors import InputError, TrainingError
from xortune.evaluation import Evaluation
from xortune.evaluation_purpose import Purpose
from xortune.journal import Journal
from xortune.point import Point
from xortune.run import JOURNAL, Run, load_run
from xortune.run_certificate import Certificate, certificate_of
from xortune.run_certificate_file import write_certificate
from xortune.seed_ranges import CERTIFY, NEIGHBOURS
from xortune.trainer import Block, Trainer

__all__ = ["certify_run"]

TRIES = 2
"""A block that produces no outcome is tried once more, as in a search."""

BLOCK_SECONDS, LEAST_SEEDS = 1.0, 16
"""A block takes about so long on one core, and has at least so many seeds."""


@dataclass(frozen=True)
class _Task:
    """All seeds of one config that an attempt still has to train."""

    point: Point
    proposal: int
    purpose: Purpose
    seeds: range


def certify_run(
    path: Path,
    trainer: Trainer,
    *,
    top: int,
    seeds: int,
    confidence: float = 0.95,
    extendable: bool = False,
    extend: bool = False,
    neighbourhood: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Certificate:
    """Train a run's finalists on fresh seeds, and write certificate.json.

    Args:
        path: the run's directory; nothing else may be writing to it.
        trainer: what trained the run.
        top: how many finalists; the first of the search's own order that solved any seed.
        seeds: how many each of them gets; with `extend`, how many more.
        confidence: with which all bounds of all attempts shall hold together.
        extendable: begin an attempt whose seeds may be added to later, with the anytime bound.
        extend: add seeds to the last attempt, which must be extendable; its finalists stay.
        neighbourhood: also train each finalist with its settings moved by so much.
        on_progress: called with the seeds done and all seeds, after each block.

    Raises:
        InputError: an argument out of range, nothing to certify, an attempt that cannot be
            extended, no fresh seeds left, or a directory that cannot be written.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    _check(top, seeds, confidence, extend=extend, neighbourhood=neighbourhood)
    with Journal.open(path / JOURNAL) as journal:  # nobody else takes seeds meanwhile
        run = load_run(path)
        done = list(run.checks)
        if extend:
            tasks = _extension(run, seeds)
        else:
            asked = _asked(run, top, seeds, confidence, extendable=extendable)
            tasks = _attempt(run, trainer, asked, neighbourhood)
        _refuse_seen(tasks, run)
        total, trained = sum(len(task.seeds) for task in tasks), 0
        try:
            for task, block in _rounds(tasks, trainer):
                done += _trained(task, block, trainer, journal)
                trained += block.count
                if on_progress is not None:
                    on_progress(trained, total)
        finally:
            certificate = certificate_of(done)
            if certificate is not None:
                write_certificate(run.path, certificate, run.manifest)
    assert certificate is not None
    return certificate


def _check(
    top: int, seeds: int, confidence: float, *, extend: bool, neighbourhood: float | None
) -> None:
    for name, value, low, high in (("top", top, 1, 1000), ("seeds", seeds, 1, len(CERTIFY))):
        if not low <= value <= high:
            raise InputError(f"{value} is out of range", field=name, allowed=f"{low} to {high:,}")
    if not 0 < confidence < 1:
        raise InputError(
            f"{confidence} is out of range", field="confidence", allowed="above 0 and below 1"
        )
    if extend and neighbourhood is not None:
        raise InputError(
            "an attempt that is extended has its neighbours already, or none",
            field="neighbourhood",
            allowed="at the beginning of an attempt",
            fix="leave it out, or begin another attempt without --extend",
        )


def _asked(run: Run, top: int, seeds: int, confidence: float, *, extendable: bool) -> list[Purpose]:
    """What an attempt, still without its number, has to do: the finalists in the search's order."""
    finalists = [result for result in run.results[:top] if result.outcome.successes]
    if not finalists:
        raise InputError(
            "no configuration solved a seed" if run.results else "no configuration is finished yet",
            place=str(run.path),
            fix="search further, or another space: there is nothing to certify",
        )
    return [
        Purpose(
            kind="certify",
            attempt=1,
            finalist=result.key,
            rank=rank,
            finalists=len(finalists),
            seeds=seeds,
            confidence=confidence,
            extendable=extendable,
            search_k=result.outcome.successes,
            search_n=result.outcome.n,
        )
        for rank, result in enumerate(finalists, 1)
    ]


def _attempt(
    run: Run, trainer: Trainer, asked: Sequence[Purpose], neighbourhood: float | None
) -> list[_Task]:
    """The rest of the last attempt if that is what is asked for and it lacks seeds; else a new one.

    Neighbours are no part of the promise: to measure them later needs no new attempt.
    """
    number = max((_of(check).attempt for check in run.checks), default=0)
    begun = [check for check in run.checks if _of(check).attempt == number]
    if begun:
        asked = [replace(purpose, attempt=number) for purpose in asked]
        if _same(begun, asked):
            rest = _tasks(run, trainer, asked, begun, neighbourhood)
            if any(task.seeds for task in rest):
                return rest
    asked = [replace(purpose, attempt=number + 1) for purpose in asked]
    return _tasks(run, trainer, asked, [], neighbourhood)


def _same(begun: Sequence[Evaluation], asked: Sequence[Purpose]) -> bool:
    """Whether what was begun is what is asked for now: finalists, seeds, confidence and bound."""
    wanted = {purpose.finalist: purpose for purpose in asked}
    return all(
        wanted.get(_of(check).finalist) == replace(_of(check), kind="certify", moved=None)
        for check in begun
    )


def _tasks(
    run: Run,
    trainer: Trainer,
    asked: Sequence[Purpose],
    begun: Sequence[Evaluation],
    neighbourhood: float | None,
) -> list[_Task]:
    """What an attempt still lacks.

    All finalists get the same seeds, so that they can be compared; each neighbourhood has its own.
    """
    own = [check for check in begun if _of(check).kind == "certify"]
    seeds = asked[0].seeds
    first = min((c.block.first for c in own), default=None)
    first = _free(CERTIFY, run, seeds) if first is None else first
    near = _free(NEIGHBOURS, run, 0)
    points = {result.key: result.point for result in run.results}
    tasks, around = [], []
    for purpose in asked:
        key, proposal = purpose.finalist, _proposal(run, purpose.finalist)
        point = points[key]
        span = range(first + _count(own, key, key), first + seeds)
        tasks.append(_Task(point, proposal, purpose, span))
        if neighbourhood is None:
            continue
        others = [c for c in begun if _of(c).kind == "neighbourhood" and _of(c).finalist == key]
        start = min((check.block.first for check in others), default=near)
        near = max(near, start + seeds)
        if near > NEIGHBOURS.stop:
            raise InputError("no seeds are left for neighbours", field="neighbourhood")
        for name, moved in neighbours(point, run.asked, trainer, neighbourhood):
            span = range(start + _count(others, key, moved.key), start + seeds)
            reason = replace(purpose, kind="neighbourhood", moved=name)
            around.append(_Task(moved, proposal, reason, span))
    return tasks + around


def _extension(run: Run, seeds: int) -> list[_Task]:
    """More seeds for the finalists of the last attempt."""
    certificate = certificate_of(run.checks)
    if certificate is None:
        raise InputError(
            "the run has no attempt to extend",
            field="extend",
            fix="begin one with --extendable",
        )
    attempt = certificate.attempts[-1]
    if attempt.bound != "anytime":
        raise InputError(
            f"attempt {attempt.number} was planned for {attempt.seeds:,} seeds, and has a bound "
            "for exactly so many",
            field="extend",
            allowed="an attempt that was begun as extendable",
            fix="begin another attempt: without --extend, or with --extendable",
        )
    lines = [
        check
        for check in run.checks
        if _of(check).attempt == attempt.number and _of(check).kind == "certify"
    ]
    if not attempt.complete and len({_of(check).seeds for check in lines}) == 1:
        raise InputError(
            f"attempt {attempt.number} was interrupted before its {attempt.seeds:,} seeds",
            field="extend",
            fix="finish it first: the same command without --extend",
        )
    planned = attempt.seeds if not attempt.complete else attempt.seeds + seeds
    tasks = []
    for found in attempt.finalists:
        check = next(check for check in lines if _of(check).finalist == found.key)
        span = range(found.first + found.n, found.first + planned)
        tasks.append(_Task(found.point, check.proposal, replace(_of(check), seeds=planned), span))
    return tasks


def _free(seeds: range, run: Run, count: int) -> int:
    """The first seed of a range that lies above all of its seeds that the journal has."""
    first = max(
        (
            check.block.first + check.block.count
            for check in _lines(run)
            if check.block.first < seeds.stop
            and check.block.first + check.block.count > seeds.start
        ),
        default=seeds.start,
    )
    if first + count > seeds.stop:
        raise InputError(
            f"{count:,} fresh seeds are asked for, and {max(0, seeds.stop - first):,} are left",
            field="seeds",
            place=str(run.path),
            fix="certify with fewer seeds",
        )
    return first


def _refuse_seen(tasks: Sequence[_Task], run: Run) -> None:
    """Whatever the ranges say: no seed may be in the journal but of this attempt's own configs."""
    least = min(task.seeds.start for task in tasks)
    used = [line for line in _lines(run) if line.block.first + line.block.count > least]
    for task in tasks:
        for line in used:
            first, stop = line.block.first, line.block.first + line.block.count
            mine = line.purpose is not None and line.purpose.attempt == task.purpose.attempt
            if task.seeds and not mine and first < task.seeds.stop and stop > task.seeds.start:
                raise InputError(
                    f"seeds {task.seeds.start} to {task.seeds.stop - 1} are not fresh: config "
                    f"{line.block.point.key} was trained under {first} to {stop - 1}",
                    field="seeds",
                    place=str(run.path / JOURNAL),
                    fix="begin another attempt, without --extend",
                )


def _lines(run: Run) -> Iterator[Evaluation]:
    yield from run.evaluations
    yield from run.checks


def _of(check: Evaluation) -> Purpose:
    assert check.purpose is not None
    return check.purpose


def _count(lines: Iterable[Evaluation], finalist: str, key: str) -> int:
    """Seeds of a config that these lines have; blocks follow each other without a gap."""
    return sum(
        line.block.count
        for line in lines
        if line.final and (_of(line).finalist, line.block.point.key) == (finalist, key)
    )


def _proposal(run: Run, key: str) -> int:
    """The first proposal of a config: certifying it is none of its own."""
    return next(e.proposal for e in run.evaluations if e.block.point.key == key)


def _rounds(tasks: Sequence[_Task], trainer: Trainer) -> Iterator[tuple[_Task, Block]]:
    """Blocks of about a second, one of each config in turn: so each is known to have begun."""
    yield from (
        pair
        for turn in zip_longest(*(_blocks(task, trainer) for task in tasks))
        for pair in turn
        if pair is not None
    )


def _blocks(task: _Task, trainer: Trainer) -> Iterator[tuple[_Task, Block]]:
    if not task.seeds:
        return
    whole = Block(task.point, task.seeds.start, len(task.seeds))
    seconds = trainer.cost(whole) / whole.count
    size = max(LEAST_SEEDS, round(BLOCK_SECONDS / seconds)) if seconds > 0 else whole.count
    for first in range(task.seeds.start, task.seeds.stop, size):
        yield task, Block(task.point, first, min(size, task.seeds.stop - first))


def _trained(task: _Task, block: Block, trainer: Trainer, journal: Journal) -> list[Evaluation]:
    lines = []
    for attempt in range(1, TRIES + 1):
        start = time.perf_counter()
        [result] = trainer.train([block])
        failed = isinstance(result, TrainingError)
        lines.append(
            Evaluation(
                proposal=task.proposal,
                block=block,
                outcome=None if isinstance(result, TrainingError) else result,
                error=str(result) if isinstance(result, TrainingError) else None,
                final=not failed or attempt == TRIES,
                seconds=time.perf_counter() - start,
                worker=f"{socket.gethostname()}:{os.getpid()}",
                purpose=task.purpose,
            )
        )
        journal.append(lines[-1])
        if not failed:
            break
    return lines
