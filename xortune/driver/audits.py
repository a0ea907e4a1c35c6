"""Before an answer leaves: enough of the seeds that trained as one model train alone, too.

The trainer audits seeds as it trains them; see `core.audit`. Where it had too few for that, seeds
whose recorded results are those of a stack are trained alone here, spread over all workers.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from xortune.core.audit import LEAST_AUDITED, TOLERANCE, Audit
from xortune.core.formats import count
from xortune.core.outcome import Outcome, Status
from xortune.core.trainer import AUDITED, Block, Trainer
from xortune.driver.fresh_seeds import FreshSeeds
from xortune.runs.evaluation import Evaluation, Evaluations, SeedsToTrain
from xortune.training.batches import Batches
from xortune.training.loop import Executor, NoJournal, Record, run


def lacks_audits(audit: Audit | None) -> bool:
    """Whether more of the stacked seeds are to be audited before an answer leaves."""
    if audit is None or audit.fault:
        return False
    return audit.stacked > 0 and audit.audited < LEAST_AUDITED


def stacked_lines(journal: Evaluations, fingerprint: str) -> list[Evaluation]:
    """The lines that count and have stacked seeds of one version, and those of its audits."""
    lines = journal.lines
    rows = [line for line, one in lines.details.items() if one.audit and one.audit.stacked]
    rows = [*np.intersect1d(rows, lines.standing).tolist(), *lines.audits]
    found = map(lines.evaluation, map(int, rows))
    return [line for line in found if line.fingerprint == fingerprint]


def audit_stacks(
    batches: Batches,
    lines: Callable[[], Sequence[Evaluation]],
    trainer: Trainer,
    executor: Executor,
    record: Callable[[Evaluation], None],
    *,
    inform: Callable[[str], None] = lambda _: None,
) -> None:
    """Audit more stacked seeds if they were few, and record what that shows.

    Sets `begins_again` of the batches if recorded results of stacks are shown wrong.

    Args:
        batches: have ended.
        lines: returns lines as of `audited_now`, of which `batches` has made the last ones.
        trainer: trains the seeds.
        executor: where.
        record: takes the lines of audits.
        inform: called with a sentence before seeds are trained.
    """
    if not batches.begins_again and lacks_audits(batches.recorded):
        lack = LEAST_AUDITED - batches.recorded.audited
        inform(f"up to {count(lack, 'seed')} of stacks train alone, too, to be compared")
        for line in audited_now(lines(), batches.recorded, trainer, executor):
            record(line)
            audit = line.audit or Audit()
            batches.recorded += replace(audit, stacked=-audit.audited)
        batches.begins_again = bool(batches.recorded.fault)


def audited_now(
    lines: Sequence[Evaluation], known: Audit, trainer: Trainer, executor: Executor
) -> list[Evaluation]:
    """Train stacked seeds alone, until `LEAST_AUDITED` are audited, and compare.

    Args:
        lines: with stacked seeds, and those of earlier audits.
        known: what these and others show.
        trainer: trains the seeds.
        executor: where.

    Returns:
        Lines for the journal: one for each seed that agreed; one with the fault if a seed did not,
        or if a worker that still trained ahead has found one.
    """
    drawn = _drawn(lines, LEAST_AUDITED - known.audited)
    points = {line.block.point.key: line.block.point for line, _, _ in drawn}
    seeds = [(line.block.point.key, seed) for line, seed, _ in drawn]
    fresh = FreshSeeds(
        [
            SeedsToTrain(point, tuple(range(s, s + 1) for of, s in seeds if of == key))
            for key, point in points.items()
        ]
    )
    record = Record(NoJournal(), max_void=1.0)
    batches = Batches(fresh, trainer, record, slots=executor.slots, alone=True)
    run(batches, executor, record)
    if drawn and batches.recorded.fault:
        line, audit = drawn[0][0], Audit(fault=batches.recorded.fault)
        return [Evaluation(line.proposal, line.block, None, AUDITED, False, 0.0, "", audit=audit)]
    alone = {
        (line.block.point.key, seed): (line, seed - line.block.first)
        for line in fresh.lines
        if line.outcome is not None
        for seed in line.block.seeds
    }
    found = []
    for line, seed, is_new in drawn:
        if (again := alone.get((line.block.point.key, seed))) is None:
            continue  # it could not be tried
        largest, fault = compared(line, again[0], seed, known.largest)
        if fault or is_new:
            block, audit = Block(line.block.point, seed, 1), Audit(0, 1, largest)
            audit = Audit(fault=fault) if fault else audit
            seconds = again[0].seconds / again[0].block.count
            found.append(
                Evaluation(
                    *(line.proposal, block, None, AUDITED, False, seconds, again[0].worker),
                    audit=audit,
                )
            )
        if fault:
            return found
    return found


def _drawn(lines: Sequence[Evaluation], lack: int) -> list[tuple[Evaluation, int, bool]]:
    """Lines with a seed of theirs that trains alone, and whether it is audited for the first time.

    A line says how many of its seeds the trainer has audited, not which, so that these may be drawn
    again: so many do not count. Seeds of other numbers come first, since a fault may be in all
    configurations under the same numbers.
    """
    known = {
        (line.block.point.key, seed)
        for line in lines
        if line.audit is not None
        for seed in line.block.seeds
    }
    stacked = [
        (line, seed)
        for line in lines
        if line.audit is None
        for seed in line.block.seeds
        if (line.block.point.key, seed) not in known and not _is_pruned(line, seed)
    ]
    first = "".join(line.block.point.key for line, _ in stacked[:1])
    random.Random(first).shuffle(stacked)  # noqa: S311  # the same search audits the same seeds
    times, rounds = Counter[int](), []
    for _, seed in stacked:
        rounds.append(times[seed])
        times[seed] += 1
    drawn, of_line, new = [], Counter[int](), 0
    for place in sorted(range(len(stacked)), key=rounds.__getitem__):
        if new >= lack:
            break
        line, seed = stacked[place]
        assert line.outcome is not None
        of_line[id(line)] += 1
        is_new = of_line[id(line)] > (line.outcome.details.audit or Audit()).audited
        new += is_new
        drawn.append((line, seed, is_new))
    return drawn


ROUNDED = 10.0
"""Some trainings amplify rounding, which their trainer has shown. Then results agree that differ
by at most so many times its largest difference."""


def _is_pruned(line: Evaluation, seed: int) -> bool:
    """Whether a seed was pruned: alone it would train to its end."""
    assert line.outcome is not None
    return bool(line.outcome.status[seed - line.block.first] == Status.PRUNED)


def compared(
    stacked: Evaluation, alone: Evaluation, seed: int, rounding: float = 0.0
) -> tuple[float, str]:
    """The largest difference of a seed's results, and the fault; empty if they agree.

    All numbers and reports are compared, by the scale that the first line's seeds have, and whether
    it is a success. `rounding` is the largest difference of seeds that agreed.
    """
    is_amplified = rounding > TOLERANCE
    most = ROUNDED * rounding if is_amplified else TOLERANCE
    one, other = _outcome(stacked), _outcome(alone)
    at, place = seed - stacked.block.first, seed - alone.block.first
    where = f"seed {seed} of config {stacked.block.point.key}"
    ended = Status(one.status[at]), Status(other.status[place])
    if ended[0] != ended[1] and not is_amplified:
        return math.inf, f"{where}: {ended[0].label} in a stack, {ended[1].label} alone"
    largest = 0.0
    for name, found, again, scale in _numbers(one, other, seed, at, place):
        difference = _difference(found, again, scale)
        if not difference <= most:
            by = f", {difference:.2g} of its scale" if math.isfinite(difference) else ""
            return difference, f"{where}: {name} {found:.6g} in a stack, {again:.6g} alone{by}"
        largest = max(largest, difference)
    return largest, ""


def _outcome(line: Evaluation) -> Outcome:
    assert line.outcome is not None
    return line.outcome if isinstance(line.outcome, Outcome) else line.outcome.decoded(line.block)


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
