"""Before an answer leaves: enough of the seeds that trained as one model train alone, too.

The trainer audits seeds as it trains them; see `core.audit`. Where it had too few for that, seeds
whose recorded results are those of a stack are trained alone here, spread over all workers.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from xortune.core.audit import LEAST_AUDITED, TOLERANCE, Audit
from xortune.core.formats import count
from xortune.core.outcome import Status
from xortune.core.trainer import AUDITED, Block, Trainer
from xortune.driver.fresh_seeds import FreshSeeds
from xortune.runs.evaluation import Evaluation, Evaluations, SeedsToTrain
from xortune.training.batches import Batches
from xortune.training.loop import Executor, NoJournal, Record, run
from xortune.training.stacks import compared, decoded


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
        one, other = (decoded(of.block, of.outcome) for of in (line, again[0]) if of.outcome)
        rounding = ROUNDED * known.largest if known.largest > TOLERANCE else TOLERANCE
        largest, fault = compared(one, other, seed, most=rounding)
        if fault or is_new:
            block, audit = Block(line.block.point, seed, 1), Audit(0, 1, largest)
            if fault:
                audit = Audit(fault=f"seed {seed} of config {line.block.point.key}: {fault}")
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
