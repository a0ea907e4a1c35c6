"""One session of a search: from a checked space to a journal that holds what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError, TrainingError
from xortune.core.progress import Progress
from xortune.core.trainer import Block, Trainer
from xortune.driver.batches import Batches, least_window, window_of
from xortune.driver.blocks import BlockQueue
from xortune.driver.cancellation import cancellation_board
from xortune.driver.certifying import InTurn
from xortune.driver.cluster import THIS_MACHINE, Cluster, connected, slots, slots_to_come
from xortune.driver.jobs import BlockSource
from xortune.driver.local_executor import local_executor
from xortune.driver.propose import LEARNING, budget
from xortune.driver.ray_executor import most_of, run_trials
from xortune.driver.shared import SharedStudy, joined, proposer_in
from xortune.driver.watch import Failure, Watched
from xortune.racing.grants import raced
from xortune.racing.objectives import only_rate, ties_of
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal
from xortune.runs.manifest import manifest_of, update_manifest
from xortune.runs.results import noted_objectives
from xortune.runs.run import JOURNAL, Run, create, holds_run, load_run
from xortune.runs.sessions import earlier_spaces, held_journal, identity_of, made_id
from xortune.spaces.grid import probes
from xortune.spaces.model import SearchSpace
from xortune.trainers.function import CustomTrainer


def search_session(
    space: SearchSpace,
    trainer: Trainer,
    directory: Path,
    manifest: Mapping[str, Any],
    *,
    cluster: Cluster = THIS_MACHINE,
    on_progress: Callable[[Progress], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    then: Callable[[Journal, int], BlockSource | None] | None = None,
    shared: SharedStudy | None = None,
    resumed: Callable[[Run], None] | None = None,
    on_failure: Callable[[Failure], None] | None = None,
    fail_fast: bool = False,
    meanwhile: bool = False,
) -> bool:
    """Evaluate what the space asks for and the journal does not hold yet; False if interrupted.

    Where the time budget is over before that, the manifest says `complete: false`.

    Args:
        space: already checked by the trainer.
        trainer: what trains.
        directory: of the run; one that holds a run is continued.
        manifest: what a new run's manifest says, but for what is known only here.
        cluster: where it is trained.
        on_progress: called after each finished proposal.
        on_word: called with a sentence for the user.
        then: makes what follows on the same workers once all proposals are done, of the journal and
            the number of trials that run at once. Where nothing was left to search it is not asked.
        shared: a study that other searches ask and tell too; None for one of its own.
        resumed: called with the run that the directory holds, before anything else. It may note
            things in the manifest, and should keep nothing of the run: that of a million lines
            takes more than a gigabyte, and is let go when the queue has been filled from it.
        on_failure: called with the first seed that fails, or block that produces nothing.
        fail_fast: whether that ends the session.
        meanwhile: whether this process may train while Ray starts on this machine, or instead if
            that is sooner: for a trainer that neither hangs nor dies.

    Raises:
        TrainingError: a seed failed, and `fail_fast` is asked for.
        InputError: an unreachable cluster or one too small, a directory that cannot be written, a
            proposal that the trainer refuses; what `resumed` raises.
    """
    began = time.monotonic()  # what Ray takes to start is of the time budget too
    made = made_id(identity_of(trainer.describe()))
    known, before = _earlier(directory, resumed)
    window, least = before.window, before.least
    ends = isinstance(trainer, CustomTrainer) and trainer.reports and raced(space)
    shared = joined(shared, space, directory, on_word)

    def queue_into(
        journal: Journal,
        known: Sequence[Evaluation],
        progress: Callable[[Progress], None] | None,
    ) -> BlockQueue:
        return BlockQueue(
            space,
            trainer,
            proposer_in(shared, space, before.spaces, trainer.check),
            journal,
            window=window,
            least=least,
            known=known,
            made=made,
            on_progress=progress,
            ends=ends,
            began=began,
        )

    begun = len({e.proposal for e in known if e.final})
    proof = known and space.stop.proven_rate is not None  # may have ended it sooner
    alone = shared is None  # else it may have to be told
    # A race that began before races had windows gets one below.
    if (begun >= budget(space) or proof) and not (window is None and raced(space)):
        with held_journal(directory / JOURNAL, made, say=on_word) as journal:
            queue = queue_into(journal, known, None)
            if queue.recall():
                update_manifest(directory, complete=True, **_proven(queue))
                return True
    if not known:  # before Ray is started: a directory that cannot be written is told at once
        noted = _first_manifest(manifest, space, shared)
        create(directory, space_text=space.text, manifest=noted)
    cpus, gpus = cluster.cpus_per_trial, cluster.gpus_per_trial
    expected = slots_to_come(cluster.address, cpus) if meanwhile and alone else 0
    with ExitStack() as ray:
        if not expected:
            ray.enter_context(connected(cluster.address))
        room = expected or slots(cpus, gpus)
        if window is None and (space.search.sampler in LEARNING or raced(space)):
            window, least = _windows(space, trainer, room)
            update_manifest(directory, window=window, window_least=least)
        with held_journal(directory / JOURNAL, made, say=on_word) as journal:
            queue = queue_into(journal, known, on_progress)
            known = ()  # the queue lets each go when it has taken it in
            following = queue if then is None else InTurn(queue, partial(then, journal, room))
            watched = Watched(following, on_failure, fail_fast=fail_fast)
            packs = Batches(watched, trainer, room, most_of(window, room), cluster.trial_timeout)
            try:
                if expected:
                    _begin_here(packs, trainer, ray, cluster.address)
                uninterrupted = watched.finished or run_trials(
                    watched,
                    trainer,
                    cluster=cluster,
                    folder=directory.resolve() / "ray",
                    window=window,
                    begun=packs,
                    board=ray.enter_context(cancellation_board(queue.wants if ends else None)),
                    say=on_word,
                )
            except KeyboardInterrupt:  # before there were trials, which tell by what they return
                uninterrupted = False
            if not uninterrupted:
                journal.hurry()
            complete = uninterrupted or queue.finished  # or what followed was interrupted
    _end(directory, queue, complete=complete, failure=watched.failure if fail_fast else None)
    return uninterrupted


def _begin_here(packs: Batches, trainer: Trainer, ray: ExitStack, address: str | None) -> None:
    """Train in this process while Ray starts, or instead; one that cannot be had may not be missed.

    Raises:
        InputError: Ray did not start, and there is more to train.
    """
    missed: InputError | None = None
    with local_executor(packs, trainer) as here:
        if here.wants_workers():
            try:
                ray.enter_context(connected(address))
            except InputError as error:
                missed = error
    if missed is not None and not packs.finished:
        raise missed


def _first_manifest(
    given: Mapping[str, Any], space: SearchSpace, shared: SharedStudy | None
) -> dict[str, Any]:
    """What is given, and what is known only here."""
    noted = dict(given)
    if not only_rate(space.objectives) or ties_of(space.objectives) is not None:
        noted["objectives"] = noted_objectives(space.objectives)
    if shared is not None:
        noted["study"] = shared.entry
    return noted


@dataclass(frozen=True)
class _Earlier:
    """What earlier sessions left in the directory beside their evaluations.

    Attributes:
        spaces: what they searched.
        window, least: see `driver.blocks.window_at`.
    """

    spaces: tuple[SearchSpace, ...] = ()
    window: int | None = None
    least: int | None = None


def _earlier(
    directory: Path, resumed: Callable[[Run], None] | None
) -> tuple[Sequence[Evaluation], _Earlier]:
    """The evaluations apart: the caller lets them go, for there may be a million."""
    if not holds_run(directory):
        return (), _Earlier()
    before = load_run(directory)
    if resumed is not None:
        resumed(before)
    current = manifest_of(directory)
    return before.evaluations, _Earlier(
        earlier_spaces(directory, current),
        current.get("window"),
        current.get("window_least"),
    )


def _windows(space: SearchSpace, trainer: Trainer, room: int) -> tuple[int, int | None]:
    """For a new search: how many steps may be unseen, and how few; see `window_at`."""
    seconds = longest_first_block(space, trainer)
    window = window_of(seconds, slots=room, proposals=budget(space))
    return window, least_window(room) if raced(space) else None


def _end(directory: Path, queue: BlockQueue, *, complete: bool, failure: Failure | None) -> None:
    """Note how it ended; of a failure that ended it also say so."""
    complete = complete and failure is None and not queue.left_undone
    update_manifest(directory, complete=complete, **_proven(queue))
    if failure is not None:
        raise TrainingError(failure.reason)


def longest_first_block(space: SearchSpace, trainer: Trainer) -> float:
    """Seconds that the first seeds of a config take, as the trainer estimates it, at most."""
    first = space.seeds.ladder[0]
    return max(trainer.cost(Block(point, 0, first)) for point in islice(probes(space), 100))


def _proven(queue: BlockQueue) -> dict[str, Any]:
    """For the manifest: what ended the search before all its proposals were made."""
    if queue.proven is None:
        return {}
    key, rate = queue.proven
    return {"proven": {"key": key, "rate": rate}}
