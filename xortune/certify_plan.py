"""What an attempt to certify finalists still has to train, and under which seeds.

Everything is read from the run's journal: which attempt was begun last, whether it is the one that
is asked for, and which seeds nothing has seen.

Where an attempt's seeds begin is drawn from the run and from what is asked: its space, its search's
seed, its trainer, the finalists, how many seeds, which attempt. Another run or another question has
other seeds, so that nobody can choose by the seeds of one certificate what the next is to prove.
The same question has the same answer, also after the directory was deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import product

from xortune.certify_neighbours import neighbours
from xortune.errors import InputError
from xortune.evaluation import Evaluation
from xortune.evaluation_purpose import Criterion, Purpose
from xortune.point import Point
from xortune.run import JOURNAL, Run
from xortune.run_certificate import certificate_of
from xortune.run_manifest import MANIFEST
from xortune.run_sessions import first_made, identity_of
from xortune.seed_ranges import CERTIFY, NEIGHBOURS
from xortune.trainer import Trainer

DRAWS = 64
"""How often the beginning of an attempt's seeds is drawn until nothing of the run is among them."""

_TRAINER = ("trainer", "source", "success", "metric", "task_fingerprint")
"""What the draw knows of the trainer: what one seed solved means, not by which version."""

__all__ = ["Task", "asked_of", "attempt_tasks", "extension_tasks", "refuse_seen"]


@dataclass(frozen=True)
class Task:
    """All seeds of one config that an attempt still has to train.

    Attributes:
        point: the config.
        proposal: which of the search's proposals it is written under.
        purpose: for the journal.
        seeds: ascending parts; none where it has them all. Blocks are trained side by side, so that
            one that was interrupted may lack any of its seeds.
    """

    point: Point
    proposal: int
    purpose: Purpose
    seeds: tuple[range, ...]

    @property
    def count(self) -> int:
        """How many seeds."""
        return sum(map(len, self.seeds))


def asked_of(
    run: Run, top: int, seeds: int, confidence: float, *, extendable: bool, by: Criterion
) -> list[Purpose]:
    """What an attempt, still without its number, has to do: the finalists in the search's order.

    Raises:
        InputError: no config solved a seed.
    """
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
            by=by,
        )
        for rank, result in enumerate(finalists, 1)
    ]


def attempt_tasks(
    run: Run,
    trainer: Trainer,
    asked: Sequence[Purpose],
    neighbourhood: float | None,
    own: AbstractSet[str],
    *,
    accept: bool = False,
) -> list[Task]:
    """The rest of the last attempt if that is what is asked for and it lacks seeds; else a new one.

    One that was begun by another engine or other versions, which `own` does not name, is never
    continued: its seeds and those of these here are not one count. With `accept` a new one begins.

    Neighbours spend nothing of the attempt's share: to measure them later needs no new attempt.

    Raises:
        InputError: no fresh seeds are left, neighbours are to order what cannot be moved, or what
            has an order already; an attempt that others have begun.
    """
    number = max((_of(check).attempt for check in run.checks), default=0)
    begun = [check for check in run.checks if _of(check).attempt == number]
    if begun:
        asked = [replace(purpose, attempt=number) for purpose in asked]
        if _same(begun, asked):
            others = _made_by_others(run, begun, own)
            rest = _tasks(run, trainer, asked, begun, neighbourhood)
            if any(task.seeds for task in rest):
                if not others:
                    return rest
                if not accept:
                    raise InputError(
                        f"attempt {number} was begun by another engine or other versions, and its "
                        "seeds and those of these here are not one count",
                        field="accept_versions",
                        place=str(run.path),
                        fix="finish it with what began it, or begin another with --accept-versions",
                    )
            elif not others and asked[0].by != _of(begun[-1]).by:
                raise InputError(
                    f"attempt {number} has all of this already, in another order",
                    field="by",
                    fix="`neighbourhood_lower_bound` is in certificate.json; gate and export take "
                    "another finalist with --key",
                )
    asked = [replace(purpose, attempt=number + 1) for purpose in asked]
    return _tasks(run, trainer, asked, [], neighbourhood)


def _same(begun: Sequence[Evaluation], asked: Sequence[Purpose]) -> bool:
    """Whether what was begun is what is asked for now: finalists, seeds, confidence and bound.

    Neighbours may still come to order it; what they order stays so.
    """
    by, neighbours = asked[0].by, asked[0].neighbours
    wanted = {purpose.finalist: purpose for purpose in asked}
    return (by == "neighbourhood" or _of(begun[-1]).by == "own") and all(
        _of(check).first is not None
        and wanted.get(_of(check).finalist)
        == replace(_of(check), kind="certify", moved=None, by=by, neighbours=neighbours, first=None)
        for check in begun
    )


def _tasks(
    run: Run,
    trainer: Trainer,
    asked: Sequence[Purpose],
    begun: Sequence[Evaluation],
    neighbourhood: float | None,
) -> list[Task]:
    """What an attempt still lacks.

    All finalists get the same seeds, so that they can be compared; each neighbourhood has its own.
    """
    seeds = asked[0].seeds
    first = _first(CERTIFY, run, trainer, asked, begun)
    _refuse_beyond(CERTIFY, run, first, seeds)
    near = around_from = _first(NEIGHBOURS, run, trainer, asked, begun)
    points = {result.key: result.point for result in run.results}
    tasks, around = [], []
    # Those that an earlier call has finished count, even if this one moves by another fraction.
    measured = {
        (_of(check).finalist, check.block.point.key)
        for check in begun
        if _of(check).kind == "neighbourhood"
        and _count(begun, _of(check).finalist, check.block.point.key) == seeds
    }
    for purpose in asked:
        key, proposal = purpose.finalist, _proposal(run, purpose.finalist)
        point = points[key]
        own = [c for c in begun if _of(c).kind == "certify" and _of(c).finalist == key]
        rest = _missing(range(first, first + seeds), key, own)
        tasks.append(Task(point, proposal, replace(purpose, first=first), rest))
        if neighbourhood is None:
            continue
        others = [c for c in begun if _of(c).kind == "neighbourhood" and _of(c).finalist == key]
        span = range(near, near + seeds)
        near = span.stop
        if near > NEIGHBOURS.stop:
            raise InputError("no seeds are left for neighbours", field="neighbourhood")
        for name, moved in neighbours(point, run.asked, trainer, neighbourhood):
            reason = replace(purpose, kind="neighbourhood", moved=name, first=around_from)
            around.append(Task(moved, proposal, reason, _missing(span, moved.key, others)))
            measured.add((key, moved.key))
    if neighbourhood is None:
        number = _of(begun[-1]).neighbours if begun else 0
    else:
        number = len(measured)
        if asked[0].by == "neighbourhood" and not around:
            raise InputError(
                "no finalist has a setting that can be moved",
                field="by",
                allowed="own",
                fix="leave it out",
            )
    return [
        replace(task, purpose=replace(task.purpose, neighbours=number)) for task in tasks + around
    ]


def _made_by_others(run: Run, lines: Sequence[Evaluation], own: AbstractSet[str]) -> bool:
    first = first_made(run.manifest, str(run.path / MANIFEST))
    return any((line.made or first) not in own for line in lines)


def extension_tasks(run: Run, seeds: int, own: AbstractSet[str]) -> list[Task]:
    """More seeds for the finalists of the last attempt, which `own` has made.

    Raises:
        InputError: there is none, or none that can be extended.
    """
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
    if _made_by_others(run, lines, own):
        raise InputError(
            f"attempt {attempt.number} was made by another engine or other versions, and its seeds "
            "and those of these here are not one count",
            field="extend",
            fix="begin another attempt: without --extend, or with --extendable",
        )
    if not attempt.complete and len({_of(check).seeds for check in lines}) == 1:
        raise InputError(
            f"attempt {attempt.number} was interrupted before its {attempt.seeds:,} seeds",
            field="extend",
            fix="finish it first: the same command without --extend",
        )
    planned = attempt.seeds if not attempt.complete else attempt.seeds + seeds
    _refuse_beyond(CERTIFY, run, attempt.finalists[0].first, planned)
    last = _of([check for check in run.checks if _of(check).attempt == attempt.number][-1])
    tasks = []
    for found in attempt.finalists:
        had = [check for check in lines if _of(check).finalist == found.key]
        rest = _missing(range(found.first, found.first + planned), found.key, had)
        purpose = replace(_of(had[0]), seeds=planned, by=last.by, neighbours=last.neighbours)
        tasks.append(Task(found.point, had[0].proposal, purpose, rest))
    return tasks


def _first(
    seeds: range,
    run: Run,
    trainer: Trainer,
    asked: Sequence[Purpose],
    begun: Sequence[Evaluation],
) -> int:
    """Where an attempt's seeds begin in a range.

    One that was begun goes on where it began. For another the beginning is drawn in the lower half
    of where it may be, so that seeds can be added, and again where the run has had such seeds.
    """
    known = [_of(check).first for check in begun if check.block.first in seeds]
    if known and known[0] is not None:
        return known[0]
    # All finalists have the same seeds, each neighbourhood has its own.
    count = asked[0].seeds * (len(asked) if seeds is NEIGHBOURS else 1)
    used = [line.block.seeds for line in _lines(run) if line.block.seeds.stop > seeds.start]
    identity = identity_of(trainer.describe())
    told = {
        "space": run.asked.text,
        "seed": run.manifest.get("seed"),
        "trainer": {name: identity[name] for name in _TRAINER if name in identity},
        "attempt": asked[0].attempt,
        "finalists": [purpose.finalist for purpose in asked],
        "asked": [asked[0].seeds, asked[0].confidence, asked[0].extendable],
        "range": seeds.start,
    }
    room = max(len(seeds) - count, 0) // 2 + 1
    for draw in range(DRAWS):
        text = json.dumps({**told, "draw": draw}, sort_keys=True)
        number = int.from_bytes(hashlib.sha256(text.encode()).digest())
        first = seeds.start + number % room
        if all(had.stop <= first or first + count <= had.start for had in used):
            return first
    return max((had.stop for had in used if had.start < seeds.stop), default=seeds.start)


def _refuse_beyond(seeds: range, run: Run, first: int, count: int) -> None:
    if first + count > seeds.stop:
        raise InputError(
            f"{count:,} fresh seeds are asked for, and {max(0, seeds.stop - first):,} are left",
            field="seeds",
            place=str(run.path),
            fix="certify with fewer seeds",
        )


def refuse_seen(tasks: Sequence[Task], run: Run) -> None:
    """Whatever the ranges say: no seed may be in the journal but of this attempt's own configs.

    Raises:
        InputError: one is.
    """
    least = min((part.start for task in tasks for part in task.seeds), default=0)
    used = [line for line in _lines(run) if line.block.seeds.stop > least]
    for task, line in product(tasks, used):
        if line.purpose is not None and line.purpose.attempt == task.purpose.attempt:
            continue
        seen = line.block.seeds
        for part in task.seeds:
            if seen.start < part.stop and seen.stop > part.start:
                raise InputError(
                    f"seeds {part.start} to {part.stop - 1} are not fresh: config "
                    f"{line.block.point.key} was trained under {seen.start} to {seen.stop - 1}",
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
    """Seeds of a config that these lines have."""
    return sum(
        line.block.count
        for line in lines
        if line.final and (_of(line).finalist, line.block.point.key) == (finalist, key)
    )


def _missing(seeds: range, key: str, lines: Iterable[Evaluation]) -> tuple[range, ...]:
    """The parts of some seeds that no final line has for a config."""
    had = [line.block.seeds for line in lines if line.final and line.block.point.key == key]
    parts, start = [], seeds.start
    for block in sorted(had, key=lambda block: block.start):
        parts.append(range(start, min(block.start, seeds.stop)))
        start = max(start, block.stop)
    return tuple(part for part in (*parts, range(start, seeds.stop)) if part)


def _proposal(run: Run, key: str) -> int:
    """The first proposal of a config: certifying it is none of its own."""
    return next(e.proposal for e in run.evaluations if e.block.point.key == key)
