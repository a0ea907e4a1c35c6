"""The verb `certify`, and the certificate that a search makes by itself: fresh seeds for finalists.

Its blocks are planned beforehand and go through the same loop as those of a search. Right after a
search they follow its own on the workers that are there already. Otherwise Ray would have to be
started, and with it workers that import and compile what they train with: where all of it takes
less time than that and no cluster is named, it is trained in this process.
"""

from __future__ import annotations

import math
import os
import shlex
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xortune.certificates.fresh import (
    Call,
    SeedsToTrain,
    next_of_sequence,
    noted_certificate,
    tasks_of,
)
from xortune.core.errors import refuse_given, worded
from xortune.core.formats import count, duration
from xortune.core.trainer import NO_FAILURES, Block, Trainer, runs_users_code
from xortune.driver.batches import BATCHES_PER_SLOT, MIN_BATCH_SECONDS, Batches, Job
from xortune.driver.cluster import Cluster, connected, slots
from xortune.driver.executors import RAY_SECONDS, LocalExecutor
from xortune.driver.loop import Record
from xortune.driver.loop import run as run_loop
from xortune.driver.process import exclusive, process_restored
from xortune.driver.subprocesses import end_process, ending_process, in_this_process
from xortune.driver.trainer import trainer_of, with_cores
from xortune.driver.voice import Voice
from xortune.reports.analysis import certify_command
from xortune.reports.files import write_report
from xortune.runs.certificate import Certificate, certificate_of
from xortune.runs.evaluation import Criterion, Evaluation
from xortune.runs.journal import held_journal
from xortune.runs.manifest import (
    CERTIFIED,
    identity_of,
    is_imported,
    made_id,
    manifest_of,
)
from xortune.runs.run import JOURNAL, Run, load_run
from xortune.runs.sessions import begin_session, changed_trainer, session_entry
from xortune.runs.store import driver_directory
from xortune.trainers.function import CustomTrainer
from xortune.trainers.network import usable_cores

if TYPE_CHECKING:
    from xortune.driver.ray_executor import RayExecutor


def on_ray(trainer: Trainer, cluster: Cluster, folder: Path, **options: Any) -> RayExecutor:
    """Trains on the Ray that is connected; Tune is imported here first."""
    from xortune.driver.ray_executor import RayExecutor

    return RayExecutor(trainer, cluster, folder, **options)


# -------------------------------------------------------------------------------------------------
# Fresh seeds: all are known from the start; what is left to decide is how finely they are split.

BLOCK_SECONDS, LEAST_SEEDS = 1.0, 16
"""A block takes about so long on one core, and has at least so many seeds."""


class FreshSeeds:
    """Decides which fresh seeds are trained next: one block of each config in turn.

    So a config is not known to be good or bad before each has begun, and whoever interrupts an
    attempt cannot choose what was in it. Seeds are independent: whoever has all slots gets the
    blocks of a single finalist side by side, and results come in any order.

    Args:
        wanted: what is to be trained.
        trainer: what will train it, and says what a block may cost.
        slots: trials that run at once; blocks are smaller where some would be idle.
        further: what is wanted next, by all lines so far, once nothing else is.
        pace: how many times as long as the trainer says a block is known to take. What is seen of
            finished blocks corrects it.
    """

    ready = 0

    def __init__(
        self,
        wanted: Sequence[SeedsToTrain],
        trainer: Trainer,
        *,
        slots: int = 1,
        pace: float = 1.0,
        further: Callable[[Sequence[Evaluation]], Sequence[SeedsToTrain]] | None = None,
    ) -> None:
        self.slots = slots
        self._further = further
        self._trainer, self._pace = trainer, pace
        self._waiting = deque(one for one in wanted if one.seeds)
        self.configs = len({one.point.key for one in self._waiting})
        """How many configs there are seeds for."""
        self._total, self._done = sum(one.count for one in self._waiting), 0
        self.news: deque[object] = deque([(0, self._total)])
        """Seeds done, and all seeds."""
        self.lines: list[Evaluation] = []
        """What has been recorded."""

    @property
    def left(self) -> int:
        """How many blocks are still to be made, about."""
        return sum(math.ceil(one.count / self._size(one)) for one in self._waiting)

    @property
    def work_left(self) -> float:
        """Seconds of work for one core, about."""
        return self._pace * sum(self._cost(one) for one in self._waiting)

    @property
    def open(self) -> bool:
        """Whether another block can be made now."""
        return bool(self._waiting)

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002  # nothing waits to be handed out
        """Begin no further block; those under way may finish."""
        self._waiting.clear()
        self._further = None

    def next(self) -> Job | None:
        """The next block to train; None if there is none now."""
        if not self._waiting:
            return None
        one = self._waiting[0]
        size = self._size(one)
        self._waiting.popleft()
        part, *others = one.seeds
        block = Block(one.point, part.start, min(size, len(part)))
        if rest := range(block.seeds.stop, part.stop):
            others.insert(0, rest)
        if others:
            self._waiting.append(replace(one, seeds=tuple(others)))
        return Job(one.proposal, block, purpose=one.purpose)

    def wants(self, job: Job) -> bool:  # noqa: ARG002
        """Every block is of interest."""
        return True

    def tell(self, job: Job, result: Evaluation) -> None:
        """Take in what came of a block."""
        self.lines.append(result)
        estimated = self._trainer.cost(job.block)
        if result.outcome is not None and estimated > 0:
            self._pace = 0.7 * self._pace + 0.3 * result.seconds / estimated
        if result.final:
            self._done += job.block.count
            if self._further is not None:
                more = [one for one in self._further(self.lines) if one.seeds]
                if self._done == self._total:
                    self._waiting.extend(more)
                    self._total += sum(one.count for one in more)
                elif not more:  # decided by those before
                    self._total -= sum(one.count for one in self._waiting)
                    self._waiting.clear()
            self.news.append((self._done, self._total))

    def _cost(self, one: SeedsToTrain) -> float:
        return self._trainer.cost(Block(one.point, one.seeds[0].start, one.count))

    def _size(self, one: SeedsToTrain) -> int:
        """How many seeds the next block of a config has at most."""
        each = max(1.0, self._pace) * self._cost(one) / one.count
        if each <= 0:
            return one.count
        seconds, least = BLOCK_SECONDS, LEAST_SEEDS
        if self.slots > 1:
            # About as many of these blocks for each slot, that all may end together.
            share = math.ceil(
                sum(other.count for other in self._waiting) / (BATCHES_PER_SLOT * self.slots)
            )
            seconds = min(seconds, max(MIN_BATCH_SECONDS, share * each))
            least = min(least, share)
        return max(round(seconds / each), least, 1)


def train_locally(fresh: FreshSeeds, trainer: Trainer, record: Record) -> None:
    """Train fresh seeds in this process, without Ray; a user's function in one of its own.

    That is kept: see `subprocesses.ending_process`.
    """
    run_loop(Batches(fresh, trainer, record, most=1), LocalExecutor(trainer), record)


LEAST_TOLD, LONG = 5.0, 600.0
"""Seconds below which nobody is told what it will take, and from which on fewer seeds are named."""


def estimate(what: str, least: float, most: float, workers: int) -> str | None:
    """What work of so many seconds for one core takes; None where that is a matter of seconds.

    How many workers share it is 0 if that is not known.
    """
    if most / (workers or 1) < LEAST_TOLD:
        return None
    where = f"on {count(workers, 'worker')}" if workers else "for one worker"
    ends = [duration(seconds / (workers or 1)) for seconds in (least, most)]
    took = f"about {ends[1]}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    return f"{what}, {took} {where}"


def estimate_of_seeds(
    verb: str, configs: int, seeds: int, seconds: float, workers: int
) -> str | None:
    """What fresh seeds of so many seconds for one core will take; what fewer would, if long."""
    told = estimate(f"{verb}: {configs} x {seeds:,} seeds", seconds, seconds, workers)
    if told is None or seconds / workers < LONG or seeds < LESS * MANY_SEEDS:
        return told
    fewer = duration(seconds / workers / LESS)
    return worded(f"{told}; --seeds {seeds // LESS} takes {fewer}")


LESS, MANY_SEEDS = 5, 20
"""One in so many of the seeds is named beside a long estimate, if that is so many at least."""


def seeds_callback(
    tell: Callable[[int, int], None] | None,
) -> Callable[[tuple[int, int]], None] | None:
    """Passes on the news of fresh seeds: the seeds done and all seeds."""
    return None if tell is None else lambda news: tell(*news)


# -------------------------------------------------------------------------------------------------
# The verb.

FINALISTS = 5
"""How many a search certifies by itself."""

AFTERWARDS = 0.1
"""A search whose time is over still certifies if that takes at most this share of its budget: it is
what makes the result believable, and mostly takes seconds."""


@process_restored()
def certify(
    run: Run | str | os.PathLike[str],
    *,
    top: int | None = None,
    seeds: int = 1000,
    min_rate: float | None = None,
    confidence: float | None = None,
    extendable: bool = False,
    extend: bool = False,
    neighbourhood: float | None = None,
    by: str | None = None,
    trainer: Trainer | None = None,
    engine: str | None = None,
    address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float = 0.0,
    trial_timeout: float | str | None = None,
    accept_versions: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
    train: Callable[..., Any] | None = None,
    workers: int | None = None,
    verbose: int = 1,
) -> Certificate:
    """Train the best configs of a run on seeds that the search never saw, and bound their rates.

    With a probability of at least `confidence` all lower bounds of all attempts of the run hold
    together: see `runs.certificate`. The run's certificate.json has the result, and its journal
    every block. The same call continues one that was interrupted.

    Args:
        run: a run, or its directory.
        top: how many configs, the first in the search's own order; 5 if not given, 1 with
            `min_rate`.
        seeds: fresh seeds for each, a number planned beforehand; with `extend`, how many more;
            with `min_rate`, at most how many.
        min_rate: prove this rate for the search's best, looking after each seed, at the attempt's
            whole risk; then for the next, up to `top`, until one is not proven. If not given, each
            gets all the seeds and a bound.
        confidence: of all bounds together; 0.95 if not given.
        extendable: begin an attempt to which you may add seeds later; its bound is an anytime-valid
            one, a little lower.
        extend: add seeds to the last attempt, which must have begun as extendable.
        neighbourhood: also measure each config with its numeric settings moved: 0.2 moves those on
            a log scale by factors of 1/1.2 and 1.2, others by 5 % of their range.
        by: what orders the finalists, and so decides which one `gate` and `export` take: `own`, the
            lower bound of each (if not given), or `neighbourhood`, the lowest bound among a
            finalist and its neighbours.
        trainer: what trained the run, if it was not the built-in network.
        engine: of the built-in network: auto, fused, reference or cuda; the search's if not given.
        address: of a Ray cluster, which then trains all of it. If not given, `certify` starts Ray
            on this machine and stops it again, or trains in this process if that is expected to
            take less time than Ray needs to start.
        cpus_per_trial: logical CPUs for each Ray trial.
        gpus_per_trial: logical GPUs for each Ray trial; with fractions trials share one.
        trial_timeout: as in `search`. With a timeout everything trains on Ray, because only its
            workers can be stopped.
        accept_versions: if another engine, torch or Numba began the last attempt, begin a new one.
        on_progress: called with the seeds done and all seeds.
        on_word: called with a sentence that the user should read.
        command: the command line, for the manifest.
        train: your own function that trained the run, if its space does not name it.
        workers: as in `search`; 0 trains in this process.
        verbose: as in `search`.

    Raises:
        InputError: an argument is not usable, there is nothing to certify, the attempt cannot be
            extended or began with other versions, a cluster cannot be reached, or the task is no
            longer the run's.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    if extend:
        allowed = "at the beginning of an attempt: what it was begun with stays"
        refuse_given(
            allowed, top=top, confidence=confidence, extendable=extendable, by=by, min_rate=min_rate
        )
    voice = Voice(verbose, on_word)
    cluster = Cluster.of(address, cpus_per_trial, gpus_per_trial, trial_timeout, workers)
    loaded = run if isinstance(run, Run) else load_run(run)
    call = Call(
        top=(FINALISTS if min_rate is None else 1) if top is None else top,
        seeds=seeds,
        min_rate=min_rate,
        confidence=0.95 if confidence is None else confidence,
        extendable=extendable,
        extend=extend,
        neighbourhood=neighbourhood,
        by=cast("Criterion", "own" if by is None else by),
    )
    with ending_process(), voice.certifying(on_progress) as show:
        if trainer is None:
            # Workers elsewhere may have the GPUs that this machine lacks.
            gpus = gpus_per_trial if address is not None else 0.0
            trainer = trainer_of(
                loaded, engine, gpus, train=train, accept=accept_versions, here=workers == 0
            )
        if workers == 0:
            trainer = in_this_process(trainer, lambda _: None)
        certificate = certify_run(
            driver_directory(loaded.path),
            trainer,
            call,
            cluster=None if workers == 0 else cluster,
            on_progress=show,
            on_message=voice.warn,
            on_estimate=voice.inform,
            accept_versions=accept_versions,
            session={"what": CERTIFIED, **session_entry(command)},
        )
    write_report(_without_note(load_run(loaded.path)), formats=["html", "md", "tex"])
    return certificate


def certify_run(
    path: Path,
    trainer: Trainer,
    call: Call,
    *,
    cluster: Cluster | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_message: Callable[[str], None] | None = None,
    on_estimate: Callable[[str], None] | None = None,
    accept_versions: bool = False,
    session: Mapping[str, Any] | None = None,
) -> Certificate:
    """Train a run's finalists on fresh seeds, and write certificate.json; see `certify`.

    Args:
        path: the run's directory; nothing else may be writing to it.
        trainer: what trained the run.
        call: what is asked for.
        cluster: trains what is worth it, or all if it has an address or a timeout; without it all
            is trained in this process, on all cores.
        on_progress: called with the seeds done and all seeds, at first and after each block.
        on_message: called with a sentence for the user.
        on_estimate: called with what it will take, if that is long.
        accept_versions: whether an attempt that was begun with another engine or other versions may
            be left as it is, and a new one begun.
        session: what the manifest says of this session, if it is not that of a search.
    """
    worker, here = with_cores(trainer, gpus=cluster.gpus_per_trial if cluster else 0.0)
    identity = identity_of(worker.describe())
    made = made_id(identity)
    with ExitStack() as stack:
        stack.enter_context(exclusive())
        # Nobody else takes seeds meanwhile.
        journal = stack.enter_context(held_journal(path / JOURNAL, made, say=on_message))
        run = load_run(path)
        fresh, attempt = _fresh_seeds(run, worker, call, accept=accept_versions)
        if cluster is not None and cluster.address is None and cluster.trial_timeout is None:
            is_short = fresh.work_left / usable_cores() < RAY_SECONDS
            if is_short and not _deadly(run, worker):
                cluster = None
        if cluster is not None:
            stack.enter_context(connected(cluster))
            fresh.slots = slots(cluster)
        if on_estimate is not None:
            own = isinstance(here, CustomTrainer)
            workers = fresh.slots if cluster is not None else 1 if own else usable_cores()
            configs, seconds = fresh.configs, fresh.work_left
            if told := estimate_of_seeds("certify", configs, call.seeds, seconds, workers):
                on_estimate(told)
        changed = changed_trainer(run.manifest, identity)
        if changed and on_message is not None:
            on_message(_not_the_search(run, changed))
        if session is not None:
            begin_session(path, {**session, **attempt}, identity)
            run = replace(run, manifest=manifest_of(path))
        record = Record(journal, fresh, seeds_callback(on_progress))
        try:
            if cluster is None:
                with ending_process():
                    train_locally(fresh, here, record)
            else:
                end_process()  # the process in which the function was looked at
                folder, limit = path.resolve() / "ray", cluster.trial_timeout
                batches = Batches(fresh, worker, record, slots=fresh.slots, limit=limit)
                with on_ray(worker, cluster, folder, on_message=on_message) as executor:
                    run_loop(batches, executor, record)
        finally:
            certificate = noted_certificate(run, [replace(one, made=made) for one in fresh.lines])
    assert certificate is not None
    return certificate


def _fresh_seeds(
    run: Run, trainer: Trainer, call: Call, *, slots: int = 1, accept: bool
) -> tuple[FreshSeeds, dict[str, int]]:
    """What is still to be trained for a call, and for the manifest the number of its attempt."""
    tasks = tasks_of(run, trainer, call, accept=accept)
    purposes = [one.purpose for one in tasks if one.purpose is not None]
    finalists = {purpose.finalist for purpose in purposes}
    # How many times as long as the trainer says the finalists took in the search; by the fastest of
    # their blocks: the first of a worker also took what it imported and compiled.
    ratios = [
        line.seconds / cost
        for line in run.evaluations.of_keys(finalists)
        if line.outcome is not None and (cost := trainer.cost(line.block)) > 0
    ]
    pace = max(1.0, min(ratios, default=1.0))
    attempt = {"attempt": purposes[0].attempt} if purposes else {}
    further = None
    if call.min_rate is not None:
        further = partial(next_of_sequence, run, call)
    return FreshSeeds(tasks, trainer, slots=slots, pace=pace, further=further), attempt


def _deadly(run: Run, trainer: Trainer) -> bool:
    """Whether a user's code may have killed its process: blocks of the run came to nothing."""
    lines = (*run.evaluations, *run.checks)
    return runs_users_code(trainer) and any(
        line.outcome is None and line.error not in NO_FAILURES for line in lines
    )


def _not_the_search(run: Run, changed: Sequence[tuple[str, str, str]]) -> str:
    """Why the search's counts are not those of these seeds: name, before, now of what changed."""
    if is_imported(run.manifest):
        return (
            "whether this trainer made what was imported is not known: its counts stand beside "
            "those that were imported"
        )
    shown = ", ".join(f"{name}: {before} -> {now}" for name, before, now in changed)
    return f"the search was made with other versions ({shown}): its counts are not these"


# -------------------------------------------------------------------------------------------------
# The certificate that a search's space asks for.


def seconds_for_certificate(budget: float | None, spent: float) -> float | None:
    """How many seconds a certificate may take that is begun now; None for any time."""
    return None if budget is None or spent < budget else budget * AFTERWARDS


def fresh_seeds_after(
    path: Path, trainer: Trainer, slots: int, *, most: float | None, accept: bool
) -> FreshSeeds | None:
    """The fresh seeds that follow a search that is done, into the same journal.

    Returns:
        None where `certified` would do nothing, or leave it out.

    Raises:
        InputError: no fresh seeds are left, or an attempt was begun with other versions.
    """
    run = load_run(path)
    call = _lacking(run)
    if call is None or (most is not None and _seconds(run, call) > most):
        return None
    return _fresh_seeds(run, trainer, call, slots=slots, accept=accept)[0]


def certified(
    run: Run,
    trainer: Trainer,
    *,
    most: float | None = None,
    cluster: Cluster | None = None,
    accept: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Run, bool]:
    """Certify the finalists of a search that is done, if its space asks for that.

    Nothing is trained where no config solved a seed, or where the finalists are certified already:
    the blocks followed those of the search, or a finished search is resumed, which must not spend
    another attempt.

    Args:
        run: the search.
        trainer: of the search.
        most: how many seconds it may take, by what the search measured. If it takes more it is not
            begun, and the entry `not_certified` of the manifest has the command that does it.
        cluster: where it may be trained; without it in this process.
        accept: whether an attempt that other versions began may be left; see `certify`.
        on_progress: called with the seeds done and all seeds.

    Returns:
        The run as it is then, and False if the user interrupted; resuming the search continues.

    Raises:
        InputError: the directory cannot be written, or there is no such cluster.
    """
    call = _lacking(run)
    if call is None:
        return (_without_note(run) if noted_certificate(run) else run), True
    if most is not None and (seconds := _seconds(run, call)) > most:
        words = shlex.join(["xortune", "certify", str(run.path), "--seeds", str(call.seeds)])
        left_out = {
            "why": "the time budget had run out",
            "command": certify_command(run, call.seeds, str(run.path)) or words,
            "seconds": seconds,
        }
        return run.noted(not_certified=left_out), True
    try:
        certify_run(
            run.path,
            trainer,
            call,
            cluster=cluster,
            accept_versions=accept,
            on_progress=on_progress,
        )
    except KeyboardInterrupt:
        return load_run(run.path), False
    return _without_note(load_run(run.path)), True


def _lacking(run: Run) -> Call | None:
    """What its space asks for and the run does not have; None if there is no such thing."""
    seeds, solving = run.asked.seeds.certify, _solving(run)
    if seeds is None or not solving:
        return None
    known = certificate_of(run.checks)
    for attempt in known.attempts if known is not None else ():
        ranked = sorted(attempt.finalists, key=lambda found: found.rank)
        if attempt.complete and attempt.seeds >= seeds and [f.key for f in ranked] == solving:
            return None
    return Call(top=FINALISTS, seeds=seeds)


def _solving(run: Run) -> list[str]:
    """Whom a search certifies."""
    return [result.key for result in run.results[:FINALISTS] if result.outcome.successes]


def _seconds(run: Run, call: Call) -> float:
    """About how long certifying takes on all cores of this machine, as the search's blocks did."""
    each = sum(seconds_of_seed(run, key) or 0.0 for key in _solving(run))
    return each * call.seeds / usable_cores()


def seconds_of_seed(run: Run, key: str) -> float | None:
    """Seconds that a seed of a config took in the search; None if none was trained."""
    lines = [e for e in run.evaluations.of_keys([key]) if e.outcome is not None]
    seeds = sum(e.block.count for e in lines)
    return sum(e.seconds for e in lines) / seeds if seeds else None


def _without_note(run: Run) -> Run:
    """The run, without the note about the certificate that it lacked before."""
    return run.noted(not_certified=None) if run.manifest.get("not_certified") else run
