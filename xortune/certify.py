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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from xortune.certify_plan import Task, asked_of, attempt_tasks, extension_tasks, refuse_seen
from xortune.errors import InputError, TrainingError, nearest
from xortune.evaluation import Evaluation
from xortune.evaluation_purpose import Criterion
from xortune.journal import Journal
from xortune.run import JOURNAL, load_run
from xortune.run_certificate import Certificate, certificate_of
from xortune.run_certificate_file import write_certificate
from xortune.run_lock import held
from xortune.run_manifest import MANIFEST, manifest_of
from xortune.run_sessions import (
    Continuation,
    SignedJournal,
    begin_session,
    digests_of,
    identity_of,
    made_id,
)
from xortune.run_versions import changed_trainer
from xortune.seed_ranges import CERTIFY
from xortune.trainer import Block, Trainer

__all__ = ["certify_run"]

TRIES = 2
"""A block that produces no outcome is tried once more, as in a search."""

BLOCK_SECONDS, LEAST_SEEDS = 1.0, 16
"""A block takes about so long on one core, and has at least so many seeds."""


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
    by: str = "own",
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    accept_versions: bool = False,
    session: Mapping[str, Any] | None = None,
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
        by: `own` or `neighbourhood`: whose lower bounds order the finalists.
        on_progress: called with the seeds done and all seeds, at first and after each block.
        on_word: called with a sentence for the user.
        accept_versions: whether an attempt that was begun with another engine or other versions may
            be left as it is, and a new one begun.
        session: what the manifest says of this session, if it is not that of a search.

    Raises:
        InputError: an argument out of range, nothing to certify, an attempt that cannot be
            extended or was begun with another engine or version, no fresh seeds left, or a
            directory that cannot be written.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    _check(top, seeds, confidence, extend=extend, neighbourhood=neighbourhood)
    criterion = _criterion(by, neighbourhood)
    identity = identity_of(trainer.describe())
    # Nobody else takes seeds meanwhile.
    with (
        held(path, say=on_word) as lock,
        SignedJournal.signing(path / JOURNAL, made_id(identity), lock=lock, say=on_word) as journal,
    ):
        run = load_run(path)
        place = str(path / MANIFEST)
        others = changed_trainer(run.manifest, identity, place)
        done = list(run.checks)
        own = digests_of(run.manifest, identity, place)
        if extend:
            tasks = extension_tasks(run, seeds, own)
        else:
            asked = asked_of(run, top, seeds, confidence, extendable=extendable, by=criterion)
            tasks = attempt_tasks(run, trainer, asked, neighbourhood, own, accept=accept_versions)
        refuse_seen(tasks, run)
        if session is not None:
            begin_session(path, Continuation(session), identity)
            run = replace(run, manifest=manifest_of(path))
        if others and on_word is not None:
            shown = ", ".join(f"{name}: {before} -> {now}" for name, before, now in others)
            on_word(f"the search was made with other versions ({shown}): its counts are not these")
        total, trained = sum(len(task.seeds) for task in tasks), 0
        if on_progress is not None:
            on_progress(trained, total)
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


def _criterion(by: str, neighbourhood: float | None) -> Criterion:
    if by == "own":
        return "own"
    if by != "neighbourhood":
        names = ("own", "neighbourhood")
        raise InputError(f"{by!r}", field="by", allowed=" or ".join(names), fix=nearest(by, names))
    if neighbourhood is None:
        raise InputError(
            "'neighbourhood', and no neighbours are measured",
            field="by",
            allowed="together with a neighbourhood",
            fix="give --neighbourhood 0.2 too",
        )
    return "neighbourhood"


def _rounds(tasks: Sequence[Task], trainer: Trainer) -> Iterator[tuple[Task, Block]]:
    """Blocks of about a second, one of each config in turn: so each is known to have begun."""
    yield from (
        pair
        for turn in zip_longest(*(_blocks(task, trainer) for task in tasks))
        for pair in turn
        if pair is not None
    )


def _blocks(task: Task, trainer: Trainer) -> Iterator[tuple[Task, Block]]:
    if not task.seeds:
        return
    whole = Block(task.point, task.seeds.start, len(task.seeds))
    seconds = trainer.cost(whole) / whole.count
    size = max(LEAST_SEEDS, round(BLOCK_SECONDS / seconds)) if seconds > 0 else whole.count
    for first in range(task.seeds.start, task.seeds.stop, size):
        yield task, Block(task.point, first, min(size, task.seeds.stop - first))


def _trained(task: Task, block: Block, trainer: Trainer, journal: Journal) -> list[Evaluation]:
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
