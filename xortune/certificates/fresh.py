"""Certify: the finalists of a search, and their neighbours, on seeds that nothing has seen yet."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xortune.core.errors import InputError, check_share, refuse_given, refuse_unknown
from xortune.core.point import Point, Value
from xortune.core.seeds import CERTIFY, NEIGHBOURS
from xortune.core.trainer import Trainer
from xortune.runs.certificate import (
    Certificate,
    certificate_of,
    purpose_of,
    sequence_step,
    write_certificate,
)
from xortune.runs.evaluation import Criterion, Evaluation, Purpose
from xortune.runs.manifest import identity_of, made_id
from xortune.runs.run import JOURNAL, Run
from xortune.spaces.model import Choice, Range, SearchSpace, is_active, is_number
from xortune.stats.horizon import LONGEST
from xortune.stats.planning import seeds_for_lower_bound

# -------------------------------------------------------------------------------------------------
# The neighbours of a config: each of its numeric settings moved a little, inside the space.
#
# A config on a cliff's edge solves every seed as well as one on a plateau, until a setting moves.


def neighbours(
    point: Point, space: SearchSpace, trainer: Trainer, fraction: float
) -> tuple[tuple[str, Point], ...]:
    """The name of the moved parameter and the point, for each move that leads elsewhere.

    A range on a log scale is moved by the factors 1 / (1 + fraction) and 1 + fraction, any other by
    a quarter of `fraction` of its width down and up (0.2: 5 %); whole numbers by 1 at least, ranges
    with a step by one step at least. What would leave the range ends at its end. A list of numbers
    is moved to the next smaller and the next larger one, whatever the fraction, unless that would
    turn another parameter on or off: that is another kind of config. Parameters with a fixed value
    or other lists are not moved, nor those that are not active in the point.
    """
    if not 0 < fraction < math.inf:
        raise InputError(
            f"{fraction} is out of range", field="neighbourhood", allowed="above 0, such as 0.2"
        )
    found: dict[str, tuple[str, Point]] = {}
    for parameter in space.parameters:
        value = point.get(parameter.name)
        if not is_number(value):
            continue
        if isinstance(parameter, Range):
            moves = _moves(parameter, value, fraction)
        elif isinstance(parameter, Choice) and all(map(is_number, parameter.values)):
            numbers = sorted(one for one in parameter.values if is_number(one))
            smaller = [one for one in numbers if one < value]
            moves = smaller[-1:] + [one for one in numbers if one > value][:1]
        else:
            continue
        for moved in moves:
            values = dict(point) | {parameter.name: moved}
            # A condition may hang on a list of numbers, never on a range.
            if _active(space, values) != _active(space, point):
                continue
            other = trainer.check(Point(values))
            if other.key != point.key:
                found.setdefault(other.key, (parameter.name, other))
    return tuple(found.values())


def _active(space: SearchSpace, values: Mapping[str, Value]) -> list[str]:
    """The names of the parameters whose conditions these values meet."""
    chosen: dict[str, Value] = {}
    names = []
    for parameter in space.parameters:
        if is_active(parameter, chosen):
            names.append(parameter.name)
            if parameter.name in values:  # a normal form may leave some out
                chosen[parameter.name] = values[parameter.name]
    return names


def _moves(parameter: Range, value: float, fraction: float) -> list[float]:
    if parameter.log:
        targets = (value / (1 + fraction), value * (1 + fraction))
    else:
        width = (parameter.high - parameter.low) * fraction / 4
        targets = (value - width, value + width)
    least = 1 if parameter.integer and parameter.step is None else parameter.step
    moves = []
    for target, sign in zip(targets, (-1, 1), strict=True):
        moved = target
        if least is not None:
            steps = max(1, round(abs(target - value) / least))
            moved = value + sign * steps * least
            if not parameter.integer:  # steps of 0.1 from 0.2 reach 0.3, not 0.30000000000000004
                moved = float(f"{moved:.12g}")
        moved = min(max(moved, parameter.low), parameter.high)
        moves.append(int(moved) if parameter.integer else moved)
    return [moved for moved in moves if moved != value]


@dataclass(frozen=True)
class Call:
    """What is asked of a certificate. An attempt that was interrupted goes on with an equal one.

    Attributes:
        top: how many finalists; the first of the search's own order that solved any seed.
        seeds: how many each of them gets; with `extend`, how many more.
        confidence: with which all bounds of all attempts shall hold together.
        extendable: begin an attempt whose seeds may be added to later, with the anytime bound.
        extend: add seeds to the last attempt, which must be extendable; its finalists stay.
        neighbourhood: also train each finalist with its settings moved by so much.
        by: `own` or `neighbourhood`: whose lower bounds order the finalists.
        min_rate: prove this rate, finalist after finalist, with up to `seeds` each.

    Raises:
        InputError: one of them is out of range, or does not go with another.
    """

    top: int
    seeds: int
    confidence: float = 0.95
    extendable: bool = False
    extend: bool = False
    neighbourhood: float | None = None
    by: Criterion = "own"
    min_rate: float | None = None

    def __post_init__(self) -> None:
        for name, value, high in (("top", self.top, 1000), ("seeds", self.seeds, len(CERTIFY))):
            if not 1 <= value <= high:
                raise InputError(f"{value} is out of range", field=name, allowed=f"1 to {high:,}")
        check_share("confidence", self.confidence)
        if self.min_rate is not None:
            self._refuse_no_sequence(self.min_rate)
        if self.extend and self.neighbourhood is not None:
            raise InputError(
                "neighbours can only be asked for when an attempt begins",
                field="neighbourhood",
                allowed="at the beginning of an attempt",
                fix="leave it out, or begin another attempt without --extend",
            )
        refuse_unknown(self.by, ("own", "neighbourhood"), f"{self.by!r}", field="by")
        if self.by == "neighbourhood" and self.neighbourhood is None:
            raise InputError(
                "'neighbourhood' needs measured neighbours",
                field="by",
                allowed="together with a neighbourhood",
                fix="give --neighbourhood 0.2 too",
            )

    def _refuse_no_sequence(self, rate: float) -> None:
        check_share("min_rate", rate)
        refuse_given(
            "where bounds are shown, not with a rate that is to be proven",
            extendable=self.extendable or None,
            extend=self.extend or None,
            neighbourhood=self.neighbourhood,
        )
        least = seeds_for_lower_bound(rate, confidence=1 - (1 - self.confidence) / 2)
        if not least <= self.seeds <= LONGEST:
            raise InputError(
                f"{self.seeds:,} seeds for a rate of {rate:g}",
                field="seeds",
                allowed=f"{least:,} to {LONGEST:,}"
                if least <= LONGEST
                else f"a rate that {LONGEST:,} seeds can prove",
            )


# -------------------------------------------------------------------------------------------------
# What an attempt to certify finalists still has to train, and under which seeds.
#
# Everything is read from the run's journal: which attempt was begun last, whether it is the one
# that is asked for, and which seeds nothing has seen. `driver.certify` trains it like the blocks of
# a search. Every block goes into the journal with its purpose, so that the certificate can be made
# from the journal alone and an attempt, once begun, is never forgotten: one that was interrupted
# goes on where it stopped, with the same finalists and seeds, and one that disappoints stays on
# record and has spent its share of alpha. `runs.certificate` says what is promised.
#
# Where an attempt's seeds begin is drawn from the run and from what is asked, so that nobody can
# choose by the seeds of one certificate what the next is to prove. The same question has the same
# answer, also after the directory was deleted.

DRAWS = 64
"""How often the beginning of an attempt's seeds is drawn until nothing of the run is among them."""

_TRAINER = ("trainer", "source", "success", "metric", "task_fingerprint")
"""What the draw knows of the trainer: what one seed solved means, not by which version."""


@dataclass(frozen=True)
class SeedsToTrain:
    """The seeds that a config is still to be trained under.

    Attributes:
        seeds: ascending parts; none where it has them all. Blocks are trained side by side, so that
            one that was interrupted may lack any of its seeds.
        proposal: which of the search's proposals it is written under.
    """

    point: Point
    seeds: tuple[range, ...]
    proposal: int = 0
    purpose: Purpose | None = None

    @property
    def count(self) -> int:
        """How many seeds."""
        return sum(map(len, self.seeds))


def tasks_of(run: Run, trainer: Trainer, call: Call, *, accept: bool = False) -> list[SeedsToTrain]:
    """All that is still to be trained for a call.

    Args:
        run: with a journal that nobody else writes to.
        trainer: what will train it.
        call: what is asked for.
        accept: whether an attempt that was begun with another engine or other versions may be left
            as it is, and a new one begun.

    Raises:
        InputError: nothing to certify, an attempt that cannot be extended or was begun with another
            engine or version, neighbours that there are not, or no fresh seeds left.
    """
    tasks = (
        _extension(run, trainer, call.seeds)
        if call.extend
        else _attempt(run, trainer, call, accept=accept)
    )
    _refuse_seen(tasks, run)
    return tasks


def _attempt(run: Run, trainer: Trainer, call: Call, *, accept: bool) -> list[SeedsToTrain]:
    """The rest of the last attempt if that is what is asked for and it lacks seeds; else a new one.

    One that was begun by another engine or other versions is never continued: its seeds and those
    of these here are not one count. With `accept` a new one begins.

    Neighbours spend nothing of the attempt's share: to measure them later needs no new attempt.
    """
    number, begun = _last(run.checks)
    asked = _asked(run, call, number)
    if not asked:
        raise InputError(
            "no configuration solved a seed" if run.results else "no configuration is finished yet",
            place=str(run.path),
            fix="search further, or search another space",
        )
    if begun and _same(begun, asked):
        others = _made_by_others(begun, trainer)
        rest = _tasks(run, trainer, asked, begun, call.neighbourhood)
        if any(task.seeds for task in rest):
            if not others:
                return rest
            if not accept:
                raise InputError(
                    f"another engine or other versions began attempt {number}; one count cannot "
                    "contain seeds of both",
                    field="accept_versions",
                    place=str(run.path),
                    fix="finish it with what began it, or begin another with --accept-versions",
                )
        elif not others and call.by != purpose_of(begun[-1]).by:
            raise InputError(
                f"attempt {number} has all of this already, in another order",
                field="by",
                fix="`neighbourhood_lower_bound` is in certificate.json; gate and export take "
                "another finalist with --key",
            )
    return _tasks(run, trainer, _asked(run, call, number + 1), [], call.neighbourhood)


def _last(checks: Iterable[Evaluation]) -> tuple[int, list[Evaluation]]:
    """The number of the last attempt, 0 if there is none, and its lines."""
    lines = list(checks)
    number = max((purpose_of(line).attempt for line in lines), default=0)
    return number, [line for line in lines if purpose_of(line).attempt == number]


def _asked(run: Run, call: Call, attempt: int, first: int | None = None) -> list[Purpose]:
    """What each finalist of the call is trained for in that attempt."""
    finalists = [result for result in run.results[: call.top] if result.outcome.successes]
    return [
        Purpose(
            kind="certify",
            attempt=attempt,
            finalist=result.key,
            rank=rank,
            finalists=len(finalists),
            seeds=call.seeds,
            confidence=call.confidence,
            extendable=call.extendable,
            search_k=result.outcome.successes,
            search_n=result.outcome.n,
            moved=None,
            by=call.by,
            neighbours=0,
            first=first,
            min_rate=call.min_rate,
        )
        for rank, result in enumerate(finalists, 1)
    ]


def _same(begun: Sequence[Evaluation], asked: Sequence[Purpose]) -> bool:
    """Whether what was begun is what is asked for now: finalists, seeds, confidence and bound.

    Neighbours may still come to order it; what they order stays so.
    """
    by = asked[0].by
    wanted = {purpose.finalist: purpose for purpose in asked}
    free: dict[str, Any] = {
        "kind": "certify",
        "moved": None,
        "by": by,
        "neighbours": 0,
        "first": None,
    }
    return (by == "neighbourhood" or purpose_of(begun[-1]).by == "own") and all(
        had.first is not None and wanted.get(had.finalist) == replace(had, **free)
        for had in map(purpose_of, begun)
    )


def _tasks(
    run: Run,
    trainer: Trainer,
    asked: Sequence[Purpose],
    begun: Sequence[Evaluation],
    neighbourhood: float | None,
) -> list[SeedsToTrain]:
    """What an attempt still lacks.

    All finalists get the same seeds, so that they can be compared; each neighbourhood has its own.
    """
    seeds = asked[0].seeds
    first = _first(CERTIFY, run, trainer, asked, begun)
    _refuse_beyond(run, first, seeds)
    asked = [replace(purpose, first=first) for purpose in asked]
    if asked[0].min_rate is not None:
        return _next_of_sequence(run, asked, begun)
    near = around_from = _first(NEIGHBOURS, run, trainer, asked, begun)
    had: dict[tuple[str, str, str], list[Evaluation]] = defaultdict(list)
    for line in begun:
        had[purpose_of(line).kind, purpose_of(line).finalist, line.block.point.key].append(line)
    # Neighbours that an earlier call has finished count, even if this moves by another fraction.
    measured = {
        (finalist, key)
        for (kind, finalist, key), lines in had.items()
        if kind == "neighbourhood"
        and sum(line.block.count for line in lines if line.final) == seeds
    }
    tasks, around = [], list[SeedsToTrain]()
    for purpose in asked:
        key = purpose.finalist
        own = _to_train(run, purpose, range(first, first + seeds), had["certify", key, key])
        tasks.append(own)
        if neighbourhood is None:
            continue
        span = range(near, near + seeds)
        near = span.stop
        if near > NEIGHBOURS.stop:
            raise InputError("no seeds are left for neighbours", field="neighbourhood")
        for name, moved in neighbours(own.point, run.asked, trainer, neighbourhood):
            reason = replace(purpose, kind="neighbourhood", moved=name, first=around_from)
            rest = missing(span, had["neighbourhood", key, moved.key])
            around.append(SeedsToTrain(moved, rest, own.proposal, reason))
            measured.add((key, moved.key))
    number = len(measured)
    if neighbourhood is None:
        number = purpose_of(begun[-1]).neighbours if begun else 0
    elif asked[0].by == "neighbourhood" and not around:
        raise InputError(
            "no finalist has a setting that can be moved",
            field="by",
            allowed="own",
            fix="leave it out",
        )
    return [
        replace(task, purpose=task.purpose and replace(task.purpose, neighbours=number))
        for task in tasks + around
    ]


def _to_train(run: Run, purpose: Purpose, span: range, had: Iterable[Evaluation]) -> SeedsToTrain:
    """What a finalist lacks of some seeds. Certifying it is no proposal of its own."""
    line = run.evaluations.of_keys([purpose.finalist])[0]
    return SeedsToTrain(line.block.point, missing(span, had), line.proposal, purpose)


def _next_of_sequence(
    run: Run, asked: Sequence[Purpose], begun: Sequence[Evaluation]
) -> list[SeedsToTrain]:
    """The seeds that a sequence cannot do without: of one finalist, up to the first that proves it.

    All finalists have the same seeds. Nothing where the last is proven, or one is given up.
    """
    for purpose in asked:
        assert purpose.first is not None
        had = [line for line in begun if purpose_of(line).finalist == purpose.finalist]
        step = sequence_step(had, purpose)
        if step.proven is None:
            return [_to_train(run, purpose, range(purpose.first, purpose.first + step.needed), had)]
        if not step.proven:
            break
    return []


def next_of_sequence(run: Run, call: Call, lines: Sequence[Evaluation]) -> list[SeedsToTrain]:
    """What the sequence that a call has begun needs next, once these lines have come too."""
    number, begun = _last([*run.checks, *lines])
    asked = _asked(run, call, number, purpose_of(begun[-1]).first)
    return _next_of_sequence(run, asked, begun)


def _extension(run: Run, trainer: Trainer, seeds: int) -> list[SeedsToTrain]:
    """More seeds for the finalists of the last attempt."""
    certificate = certificate_of(run.checks)
    if certificate is None:
        raise InputError(
            "the run has no attempt to extend", field="extend", fix="begin one with --extendable"
        )
    attempt = certificate.attempts[-1]
    another = "begin another attempt: without --extend, or with --extendable"
    if attempt.bound != "anytime":
        raise InputError(
            f"attempt {attempt.number} was planned for {attempt.seeds:,} seeds, and its "
            "bound holds for exactly this number",
            field="extend",
            allowed="an attempt that was begun as extendable",
            fix=another,
        )
    _, begun = _last(run.checks)
    lines = [line for line in begun if purpose_of(line).kind == "certify"]
    if _made_by_others(lines, trainer):
        raise InputError(
            f"another engine or other versions made attempt {attempt.number}; one count cannot "
            "contain seeds of both",
            field="extend",
            fix=another,
        )
    if not attempt.complete and len({purpose_of(line).seeds for line in lines}) == 1:
        raise InputError(
            f"attempt {attempt.number} was interrupted before its {attempt.seeds:,} seeds",
            field="extend",
            fix="finish it first: the same command without --extend",
        )
    planned = attempt.seeds if not attempt.complete else attempt.seeds + seeds
    last = purpose_of(begun[-1])
    known = {purpose_of(line).finalist: purpose_of(line) for line in reversed(lines)}
    asked = [replace(known[one.key], seeds=planned, by=last.by) for one in attempt.finalists]
    return _tasks(run, trainer, asked, begun, None)


def _first(
    seeds: range, run: Run, trainer: Trainer, asked: Sequence[Purpose], begun: Sequence[Evaluation]
) -> int:
    """Where an attempt's seeds begin in a range.

    An attempt that was begun goes on where it began. For a new one the first seed is drawn in the
    lower half of the range, so that seeds can be added later. It is drawn again if the run has
    already used such seeds.
    """
    known = [purpose_of(line).first for line in begun if line.block.first in seeds]
    if known and known[0] is not None:
        return known[0]
    # All finalists have the same seeds, each neighbourhood has its own.
    count = asked[0].seeds * (len(asked) if seeds is NEIGHBOURS else 1)
    some = (run.evaluations, run.checks)
    starts = np.concatenate([lines.column("first") for lines in some])
    stops = starts + np.concatenate([lines.column("count") for lines in some])
    identity = identity_of(trainer.describe())
    told = {
        "space": run.asked.text,
        "seed": run.manifest.get("seed"),
        "trainer": {name: identity[name] for name in _TRAINER if name in identity},
        "attempt": asked[0].attempt,
        "finalists": [purpose.finalist for purpose in asked],
        "asked": [asked[0].seeds, asked[0].confidence, asked[0].extendable]
        + ([] if asked[0].min_rate is None else [asked[0].min_rate]),
        "range": seeds.start,
    }
    room = max(len(seeds) - count, 0) // 2 + 1
    for draw in range(DRAWS):
        text = json.dumps({**told, "draw": draw}, sort_keys=True)
        number = int.from_bytes(hashlib.sha256(text.encode()).digest())
        first = seeds.start + number % room
        if not ((stops > first) & (starts < first + count)).any():
            return first
    return int(stops[starts < seeds.stop].max(initial=seeds.start))


def _refuse_beyond(run: Run, first: int, count: int) -> None:
    if first + count > CERTIFY.stop:
        raise InputError(
            f"{count:,} fresh seeds are asked for, and {max(0, CERTIFY.stop - first):,} are left",
            field="seeds",
            place=str(run.path),
            fix="certify with fewer seeds",
        )


def _refuse_seen(tasks: Sequence[SeedsToTrain], run: Run) -> None:
    """Whatever the ranges say: no seed may be in the journal but of this attempt's own configs."""
    attempts = {task.purpose.attempt for task in tasks if task.purpose}
    purposes = [run.checks.lines.purposes[line] for line in run.checks.places.tolist()]
    others = np.array([one.attempt not in attempts for one in purposes], np.bool_)
    for lines in (run.evaluations, run.checks.where(others)):
        starts = lines.column("first")
        stops = starts + lines.column("count")
        for part in (part for task in tasks for part in task.seeds):
            seen = np.flatnonzero((starts < part.stop) & (stops > part.start))
            if seen.size:
                block = lines[int(seen[0])].block
                raise InputError(
                    f"seeds {part.start} to {part.stop - 1} are not fresh: config "
                    f"{block.point.key} was trained under {block.first} to {block.seeds.stop - 1}",
                    field="seeds",
                    place=str(run.path / JOURNAL),
                    fix="begin another attempt, without --extend",
                )


def _made_by_others(lines: Sequence[Evaluation], trainer: Trainer) -> bool:
    """Whether another engine or other versions have made one of these."""
    own = made_id(identity_of(trainer.describe()))
    return any(line.made not in (None, own) for line in lines)


def missing(seeds: range, lines: Iterable[Evaluation]) -> tuple[range, ...]:
    """The parts of some seeds that none of a config's final lines has, ascending."""
    parts, start = [], seeds.start
    for had in sorted((line.block.seeds for line in lines if line.final), key=lambda s: s.start):
        parts.append(range(start, min(had.start, seeds.stop)))
        start = max(start, had.stop)
    return tuple(part for part in (*parts, range(start, seeds.stop)) if part)


def noted_certificate(run: Run, more: Sequence[Evaluation] = ()) -> Certificate | None:
    """Write certificate.json, if there is anything to be in it.

    Raises:
        InputError: the directory cannot be written.
    """
    certificate = certificate_of((*run.checks, *more))
    if certificate is not None:
        write_certificate(run.path, certificate, run.manifest)
    return certificate
