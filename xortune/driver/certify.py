"""The verb `certify`, and the certificate at the end of a search: fresh seeds for finalists.

Its seeds go through the same loop as those of a search, on workers of the same kinds. At the end of
a search they train on its workers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from xortune.certificates.fresh import (
    CertifyRequest,
    finalists_of,
    next_of_sequence,
    number_asked,
    save_certificate,
    tasks_of,
)
from xortune.comparisons.contestants import place_of
from xortune.core.errors import TrainingError, command_line, refuse_given, worded
from xortune.core.formats import count, duration
from xortune.core.seeds import IgnoredSeed
from xortune.core.trainer import VOID, Outages, Trainer
from xortune.driver.arguments import BEGINNING, CertifyArguments, refuse_unused, verb
from xortune.driver.fresh_seeds import FreshSeeds, passing_over
from xortune.driver.trainer import trainer_of
from xortune.driver.voice import SILENT, Voice
from xortune.driver.workplace import Workplace, who_trains
from xortune.racing.race import FINALISTS
from xortune.reports.files import write_report
from xortune.reports.scripts import certify_command
from xortune.runs.certificate import Certificate, certificate_of
from xortune.runs.evaluation import Criterion, Evaluation, NumberAsked
from xortune.runs.journal import held_journal
from xortune.runs.manifest import (
    CERTIFIED,
    fingerprint_of,
    identity_of,
    is_imported,
    manifest_of,
)
from xortune.runs.run import Run, load_run
from xortune.runs.sessions import begin_session, changed_trainer, session_entry
from xortune.runs.store import JOURNAL, driver_directory
from xortune.stats.betting import checked_limits
from xortune.trainers.network import usable_cores
from xortune.trainers.verdicts import judged_names
from xortune.training.executors import AskedExecutor, executor_for
from xortune.training.process import exclusive, process_restored
from xortune.training.processes import ending_processes
from xortune.training.resources import THIS_MACHINE, Cluster
from xortune.training.timing import MeasuredSeconds

SHORT, LONG = 5.0, 600.0
"""Seconds: shorter work has no estimate; the estimate of longer work suggests fewer seeds."""

FEWER_SEEDS_DIVISOR, MANY_SEEDS = 5, 20
"""The suggestion is a fifth of the seeds, if these are at least 20."""


def estimate(what: str, least: float, most: float, workers: int) -> str | None:
    """A sentence about the time of `least` to `most` seconds of work for one core.

    None if the work is `SHORT`. `workers` is 0 if their number is not known.
    """
    if most / (workers or 1) < SHORT:
        return None
    where = f"on {count(workers, 'worker')}" if workers else "for one worker"
    low, high = (duration(seconds / (workers or 1)) for seconds in (least, most))
    return f"{what}, {f'about {high}' if low == high else f'{low} to {high}'} {where}"


def estimate_of_seeds(
    verb: str, configs: int, seeds: int, seconds: float, workers: int
) -> str | None:
    """As `estimate`, for fresh seeds; if long, it suggests fewer."""
    sentence = estimate(f"{verb}: {configs} x {seeds:,} seeds", seconds, seconds, workers)
    if sentence is None or seconds / workers < LONG or seeds < FEWER_SEEDS_DIVISOR * MANY_SEEDS:
        return sentence
    fewer = duration(seconds / workers / FEWER_SEEDS_DIVISOR)
    return worded(f"{sentence}; --seeds {seeds // FEWER_SEEDS_DIVISOR} takes {fewer}")


# -------------------------------------------------------------------------------------------------
# The verb.

AFTERWARDS = 0.1
"""When a search's time budget is over, it still certifies if that takes at most this share of the
budget: the certificate makes the result believable, and mostly takes seconds."""


@verb(CertifyArguments)
@process_restored()
def certify(given: CertifyArguments) -> Certificate:
    """Train the best configs of a run on seeds that the search never saw, and bound their rates.

    Of a search for a number without a rule it bounds the statistic that was sought, or that of
    `of`.

    With a probability of at least `confidence` all lower bounds of all attempts hold together,
    those of other and of deleted runs of the same training and number included, by the ledger of
    the project: see `runs.certificate`. The run's certificate.json has the result, and
    its journal every block. The same call continues one that was interrupted.

    Raises:
        InputError: an argument is not usable, there is nothing to certify, the attempt cannot be
            extended or began with other versions, a cluster cannot be reached, or the task is no
            longer the run's.
        TrainingError: too many seeds could not be tried. Its `outcome` is the certificate so far,
            with an attempt that is not complete; None if no seed has finished.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    if given.extend:
        refuse_unused(given, BEGINNING)
    voice = Voice(given.verbose, given.listener)
    cluster = Cluster.of(given.workers, given.ray, given.address)
    outages = Outages.of(given.retry, given.retry_wait, given.max_void)
    loaded = given.run if isinstance(given.run, Run) else load_run(given.run)
    asked = _asked(loaded, given)
    alone = given.min_rate is not None or (asked is not None and asked.goal is not None)
    key = given.key
    if key is not None:
        refuse_given("without a key, which is of one configuration", top=given.top)
        alone, key = True, loaded.results[place_of(loaded, key, at="key")].key
    call = CertifyRequest(
        top=(1 if alone else FINALISTS) if given.top is None else given.top,
        seeds=given.seeds,
        min_rate=given.min_rate,
        confidence=0.95 if given.confidence is None else given.confidence,
        extendable=given.extendable,
        extend=given.extend,
        neighbourhood=given.neighbourhood,
        by=cast("Criterion", "own" if given.by is None else given.by),
        asked=asked,
        key=key,
    )
    with ending_processes(), voice.drawing("certifying") as shown:
        here, trainer, accept = cluster.workers == 0, given.trainer, given.accept_versions
        if trainer is None:
            # Workers elsewhere may have the GPUs that this machine lacks.
            gpus = 0.0 if cluster.address is None else cluster.each.gpus
            trainer = trainer_of(
                loaded, given.engine, gpus, train=given.train, accept=accept, here=here
            )
        who = who_trains(trainer, cluster, outages)
        certificate = certify_run(
            driver_directory(loaded.path),
            who.trainer,
            call,
            cluster=who.cluster,
            voice=shown,
            accept_versions=accept,
            outages=outages,
            session={"what": CERTIFIED, **session_entry(command_line())},
        )
    write_report(_without_note(load_run(loaded.path)), formats=["html", "md", "tex"])
    return certificate


def _asked(run: Run, given: CertifyArguments) -> NumberAsked | None:
    """The statistic of a number that is certified; None of a rate, and where seeds are added."""
    if given.extend:
        return None
    if given.min_rate is not None:
        mine = {"min": given.min, "max": given.max, "of": given.of, "bounds": given.bounds}
        refuse_given("only without min_rate", **mine)
        return None
    bounds = None if given.bounds is None else checked_limits(given.bounds)
    return number_asked(run, given.of, given.min, given.max, bounds)


def certify_run(
    path: Path,
    trainer: Trainer,
    call: CertifyRequest,
    *,
    cluster: Cluster = THIS_MACHINE,
    voice: Voice = SILENT,
    accept_versions: bool = False,
    outages: Outages | None = None,
    session: Mapping[str, Any] | None = None,
) -> Certificate:
    """Train a run's finalists on fresh seeds, and write certificate.json; see `certify`.

    `cluster` says who trains, `outages` what becomes of seeds that cannot be tried. `voice` tells
    how far it is, and an estimate of the time, if it is long. `session` is the manifest's entry, if
    this is not part of a search.
    """
    outages = Outages() if outages is None else outages
    worker = trainer.for_worker(cluster.each.gpus)
    trains = worker.on_all_cores() if cluster.workers == 0 else worker
    identity = identity_of(worker.describe())
    fingerprint = fingerprint_of(identity)
    with ExitStack() as stack:
        stack.enter_context(exclusive(ray=cluster.is_ray))
        journal = stack.enter_context(
            held_journal(path / JOURNAL, fingerprint, on_message=voice.warn)
        )
        run = load_run(path)
        fresh, attempt = _fresh_seeds(run, worker, call, accept=accept_versions)
        expected = _expected_seconds(run, worker, fresh)
        asked = AskedExecutor(trains, cluster, path, on_message=voice.warn)
        executor = stack.enter_context(executor_for(asked))
        known = [expected.of(block) for block in fresh.blocks]
        seconds = sum(each for each in known if each is not None)
        if sentence := estimate_of_seeds(
            "certify", fresh.configs, call.seeds, seconds, executor.slots
        ):
            voice.inform(sentence)
        changed = changed_trainer(run.manifest, identity)
        if changed:
            voice.warn(_changed_message(run, changed))
        if session is not None:
            begin_session(path, {**session, **attempt}, identity)
            run = replace(run, manifest=manifest_of(path))
        limit, file = cluster.each.limit, path / JOURNAL
        place = Workplace(trains, executor, voice, outages, limit, journal, file)
        begins_again = True
        while begins_again:
            record = place.record(
                before=_done_of(run, attempt),
                ignored=IgnoredSeed(judged_names(worker), voice.warn, several=fresh.configs > 1),
            )
            known_audit = run.evaluations.lines.audit(fingerprint)
            waits = not call.is_sequence
            passing = {} if waits else passing_over(fresh, journal, dict(fresh.void))
            batches = place.batches(fresh, record, expected=expected, audit=known_audit, **passing)
            try:
                place.train(batches, record, voice.seeds)
            finally:
                if not batches.begins_again:
                    certificate = save_certificate(
                        run, [replace(line, fingerprint=fingerprint) for line in fresh.lines]
                    )
            if begins_again := batches.begins_again:
                run = _left(run, path)
                fresh, _ = _fresh_seeds(run, worker, call, accept=accept_versions)
    if record.ends is not None:
        raise TrainingError(record.ends.reason, outcome=certificate)
    assert certificate is not None
    if void := count_of_void(fresh.void.values()):
        again = "the attempt is not complete, and the same call tries them again"
        is_complete = certificate.attempts[-1].complete
        voice.warn(f"{void}; {'the answer does not need them' if is_complete else again}")
    return certificate


def _left(run: Run, path: Path) -> Run:
    """The run, once results of stacks are replaced that were shown wrong.

    Raises:
        TrainingError: results of the search are among them.
    """
    left = load_run(path)
    save_certificate(left)
    if len(left.evaluations) == len(run.evaluations):
        return left
    left.noted(complete=False, proven=None)
    raise TrainingError(
        f"{path}: results by which the search chose its finalists were trained as one model and are"
        " replaced; fix: continue the search with --resume, which trains them again one by one, "
        "then certify again"
    )


def count_of_void(reasons: Collection[str]) -> str:
    """How many seeds could not be tried, and why the first could not; empty if there are none."""
    if not reasons:
        return ""
    return f"{count(len(reasons), 'seed')} could not be tried: {next(iter(reasons))}"


def _fresh_seeds(
    run: Run, trainer: Trainer, call: CertifyRequest, *, accept: bool
) -> tuple[FreshSeeds, dict[str, int]]:
    """The seeds that a call lacks, and the manifest's entry with the number of the attempt."""
    tasks = tasks_of(run, trainer, call, accept=accept)
    purposes = [task.purpose for task in tasks if task.purpose is not None]
    further = None if not call.is_sequence else partial(next_of_sequence, run, call)
    fresh = FreshSeeds([task for task in tasks if task.seeds], further=further)
    return fresh, {"attempt": purposes[0].attempt} if purposes else {}


def _done_of(run: Run, attempt: Mapping[str, int]) -> int:
    """How many seeds an attempt of `_fresh_seeds` has so far."""
    checks = run.checks
    purposes = (checks.lines.purposes[line] for line in checks.places.tolist())
    own = np.array([purpose.attempt == attempt.get("attempt") for purpose in purposes], np.bool_)
    return int((checks.column("count") * checks.column("final"))[own].sum())


def _expected_seconds(run: Run, trainer: Trainer, fresh: FreshSeeds) -> MeasuredSeconds:
    """What seeds take by the search: of each config its median block.

    The first block of a worker also took the time of imports and compilation, and a seed that
    crashes takes less than others. What a seed of an imported table took is not known: 0 is there.
    """
    expected = MeasuredSeconds(trainer)
    lines: dict[str, list[Evaluation]] = {block.point.key: [] for block in fresh.blocks}
    for line in run.evaluations.of_keys(set(lines)):
        if line.outcome is not None and line.seconds:
            lines[line.block.point.key].append(line)
    for own in filter(None, lines.values()):
        ordered = sorted(own, key=lambda line: line.seconds / line.block.count)
        middle = ordered[(len(ordered) - 1) // 2]
        expected.note(middle.block, middle.seconds)
    return expected


def _changed_message(run: Run, changed: Sequence[tuple[str, str, str]]) -> str:
    """Why the search's counts cannot be compared: changed entries as (name, before, now)."""
    if is_imported(run.manifest):
        return (
            "whether this trainer produced the imported results is not known: its counts are shown "
            "beside theirs"
        )
    shown = ", ".join(f"{name}: {before} -> {now}" for name, before, now in changed)
    return f"the search was made with other versions ({shown}): its counts are not these"


# -------------------------------------------------------------------------------------------------
# The certificate that a search's space asks for.


def fresh_seeds_after(
    path: Path, trainer: Trainer, *, budget: float | None, spent: float, accept: bool
) -> tuple[FreshSeeds, MeasuredSeconds] | None:
    """The fresh seeds that a search trains into the same journal, after `spent` of its seconds.

    Returns:
        The seeds and what they are expected to take; None if there is nothing to certify, or no
        time for it within the budget; see `AFTERWARDS`.

    Raises:
        InputError: no fresh seeds are left, or an attempt was begun with other versions.
    """
    run = load_run(path)
    call = missing_certificate(run)
    if call is None:
        return None
    if budget is not None and spent >= budget and _seconds(run, call) > budget * AFTERWARDS:
        return None
    fresh = _fresh_seeds(run, trainer, call, accept=accept)[0]
    return fresh, _expected_seconds(run, trainer, fresh)


def with_certificate(run: Run) -> Run:
    """Write a finished search's certificate.json, if there are fresh seeds, and return the run.

    If the search had no time left for the certificate that its space asks for, or not all seeds of
    it could be tried, the manifest's entry `not_certified` gets the command that makes it.

    Raises:
        InputError: the directory cannot be written.
    """
    save_certificate(run)
    call = missing_certificate(run)
    if call is None:
        return _without_note(run)
    left_out = {
        "why": count_of_void([str(line.error).removeprefix(VOID) for line in run.checks.void])
        or "the time budget had run out",
        "command": certify_command(run, call.seeds, str(run.path)),
        "seconds": _seconds(run, call),
    }
    return run.noted(not_certified=left_out)


def missing_certificate(run: Run) -> CertifyRequest | None:
    """The certificate that the run's space asks for, if the run lacks it."""
    seeds, keys = run.asked.seeds.certify, [one.key for one in finalists_of(run, FINALISTS)]
    if seeds is None or not keys:
        return None
    certificate, asked = certificate_of(run.checks), number_asked(run)
    for attempt in certificate.attempts if certificate is not None else ():
        ranked = sorted(attempt.finalists, key=lambda finalist: finalist.rank)
        same = attempt.asked == asked and [one.key for one in ranked] == keys
        if attempt.complete and attempt.seeds >= seeds and same:
            return None
    return CertifyRequest(top=FINALISTS, seeds=seeds, asked=asked)


def _seconds(run: Run, call: CertifyRequest) -> float:
    """Estimated seconds of a certificate on all cores of this machine."""
    finalists = finalists_of(run, call.top)
    each = sum(seconds_of_seed(run, one.key) or 0.0 for one in finalists)
    return each * call.seeds / usable_cores()


def seconds_of_seed(run: Run, key: str) -> float | None:
    """Seconds that a seed of a config took in the search; None if none was trained."""
    lines = [e for e in run.evaluations.of_keys([key]) if e.outcome is not None]
    seeds = sum(e.block.count for e in lines)
    return sum(e.seconds for e in lines) / seeds if seeds else None


def _without_note(run: Run) -> Run:
    """The run without the manifest's entry `not_certified`."""
    return run.noted(not_certified=None) if run.manifest.get("not_certified") else run
