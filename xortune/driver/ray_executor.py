"""The search's way through Ray Tune: one trial trains one pack of blocks.

Tune schedules; it keeps no results. What a trial returns goes to the `BlockQueue` (and so to the
journal) in a callback, and is taken out of Tune's own record there, so that the driver's memory
does not grow with what was trained.
"""

from __future__ import annotations

import xortune.driver.ray_settings  # noqa: F401  # before Ray itself

# isort: split
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, getsignal, signal
from typing import Any
from unittest.mock import patch

import ray
from ray import tune
from ray.actor import ActorClass
from ray.remote_function import RemoteFunction
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from xortune.core.errors import InputError, TrainingError
from xortune.core.files import FREE_SPACE, is_full
from xortune.core.trainer import Block, OutOfTime, Trainer, runs_users_code
from xortune.driver.batches import Batches, batch_of
from xortune.driver.cancellation import CancellationBoard, CancellationReader
from xortune.driver.cluster import Cluster, Room, Waits, check_ray
from xortune.driver.interrupts import same_handler, told_to_end
from xortune.driver.jobs import (
    BlockSource,
    Job,
    Watchdog,
    WorkerFailure,
    classify_failure,
    refuse_other_versions,
    time_exceeded,
    trained,
    versions,
)
from xortune.driver.process import ray_settings
from xortune.runs.evaluation import EncodedOutcome
from xortune.trainers.function import asked_of_reports
from xortune.trainers.limits import use_threads

# -------------------------------------------------------------------------------------------------
# What engines have to say on a worker, brought to whoever started the search.
#
# They log it, as any library does; on a worker of Ray the log is a file that nobody reads.

logger = logging.getLogger("xortune.trainers")


class _Listener(logging.Handler):
    def __init__(self, words: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._words:
            self._words.append(message)


@contextmanager
def captured_messages() -> Iterator[list[str]]:
    """The warnings that engines log meanwhile, each once."""
    words: list[str] = []
    listener = _Listener(words)
    logger.addHandler(listener)
    try:
        yield words
    finally:
        logger.removeHandler(listener)


def forward_messages(words: Sequence[str], worker: str) -> None:
    """Log here what was heard on a worker."""
    for word in words:
        logger.warning("%s: %s", worker, word)


# -------------------------------------------------------------------------------------------------
# A user's function that uses Ray itself is told so, where it would wait for ever.

TOLD = (
    "the function uses Ray itself, whose CPUs the trials of a search hold: what it begins there "
    "would wait for them for ever; train without Ray, or ask for num_cpus=0, and no check before"
)


def refuse(_: object = None) -> None:
    """What Ray calls before it starts.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(TOLD)


@contextmanager
def refusing_tasks() -> Iterator[None]:
    """Tasks and actors that ask for CPUs are refused: the trial holds all that its group has."""
    with (
        patch.object(RemoteFunction, "_remote", _checked(RemoteFunction._remote)),
        patch.object(ActorClass, "_remote", _checked(ActorClass._remote)),
    ):
        yield


def _checked(remote: Callable[..., Any]) -> Callable[..., Any]:
    def checked(self: Any, *args: Any, **options: Any) -> Any:
        asked = {**self._default_options, **{k: v for k, v in options.items() if v is not None}}
        if asked.get("num_cpus") != 0 and asked.get("scheduling_strategy") is None:
            refuse()
        return remote(self, *args, **options)

    return checked


# -------------------------------------------------------------------------------------------------
# What runs on a worker: the training of packs, one after the other.


class BatchTrainable(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Trains the pack of blocks in its config, once."""

    def setup(
        self,
        config: dict[str, Any],  # noqa: ARG002
        trainer: Trainer,
        drivers: dict[str, str],
        board: Any = None,
    ) -> None:
        """Keep the trainer; the actor is used for many packs."""
        refuse_other_versions(drivers)
        if runs_users_code(trainer) and (threads := getattr(trainer, "threads", None)):
            use_threads(threads)
        self._trainer = trainer
        self._given_up = None if board is None else CancellationReader(board).given_up

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
        """Nothing of the last pack is left."""
        return True

    def step(self) -> dict[str, Any]:
        """One result or error for each block of the pack, or one error for all."""
        started = time.perf_counter()
        # Out of the config, which Tune sends back with the result.
        blocks: Sequence[Block] = self.config.pop("pack")
        own = refusing_tasks() if runs_users_code(self._trainer) else nullcontext()
        with captured_messages() as words, asked_of_reports(self._given_up), own:
            results = trained(self._trainer, blocks, until=self.config.get("until"))
        return {
            "done": True,
            "results": results,
            "words": words,
            "pack_seconds": time.perf_counter() - started,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }


FAILED_STARTS = 3
"""So many workers in a row that could not even begin end the search: the next would neither."""

STUMBLES = 3
"""So often Tune itself may fail, with nothing trained in between, before the search gives up."""


@dataclass(frozen=True)
class Arrival:
    """What came of a pack: its results, one error for all of it, or the death of its worker."""

    jobs: tuple[Job, ...]
    results: list[EncodedOutcome | TrainingError] | TrainingError | WorkerFailure
    seconds: float = 0.0
    worker: str = ""


class QueueSearcher(Searcher):  # type: ignore[misc]
    """Makes a trial of each pack."""

    def __init__(self, packs: Batches) -> None:
        super().__init__()
        self._packs = packs
        self._failed_starts = 0
        self.arrived: deque[Arrival] = deque()
        self.packs: dict[str, tuple[Job, ...]] = {}
        self.refusal: InputError | None = None
        self.hopeless = False  # what is under way is of no use either
        self._clocks = True  # the workers' agree with ours
        self.delivered = 0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its parts to be restored from them; we resume from the journal."""
        return {}

    def set_search_properties(self, *_: object, **__: object) -> bool:
        """No metric and no mode: what counts is in the queue."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next pack, None for "not now", or the word that all is done."""
        if self.arrived and self.packs:
            return None  # the worker that has become free first gets the pack that waits for it
        self.take_in()
        if self.refusal is not None:
            return str(Searcher.FINISHED)
        try:
            jobs = self._packs.next()
        except InputError as error:  # the trainer refuses what was proposed: for the user to see
            self.refusal = error
            return str(Searcher.FINISHED)
        if not jobs:
            return str(Searcher.FINISHED) if self._packs.finished else None
        self.packs[trial_id] = jobs
        until = None if self._packs.left_time is None else time.time() + self._packs.left_time
        return {"pack": tuple(job.block for job in jobs), "until": until if self._clocks else None}

    def take_in(self) -> None:
        """Bring what has arrived to the queue, and so to the journal."""
        while self.arrived:
            arrival = self.arrived.popleft()
            jobs, results, worker = arrival.jobs, arrival.results, arrival.worker
            try:
                if isinstance(results, WorkerFailure):
                    self._bury(jobs, results)
                elif isinstance(results, TrainingError):
                    self._packs.crashed(jobs, results, worker=worker)
                else:
                    if not self._packs.over and any(isinstance(r, OutOfTime) for r in results):
                        self._clocks = False  # a worker's is fast
                    self._packs.receive(jobs, results, seconds=arrival.seconds, worker=worker)
            except InputError as error:  # the journal cannot be written: Tune would bury the reason
                self._refuse(error)
            if not isinstance(results, WorkerFailure):
                self.delivered += 1
                self._failed_starts = 0

    def lose(self, reason: str) -> None:
        """Tune has failed, and with it whatever was under way."""
        for jobs in self.packs.values():
            self.arrived.append(Arrival(jobs, WorkerFailure("node", reason)))
        self.packs.clear()
        self.take_in()

    def _bury(self, jobs: tuple[Job, ...], death: WorkerFailure) -> None:
        reason = TrainingError(death.reason)
        if death.kind == "pack":
            self._packs.crashed(jobs, reason)
        elif death.kind == "late":
            self._packs.late(jobs, reason, seconds=death.seconds)
        elif death.kind == "node":
            self._packs.lost(jobs, reason)
        else:
            self._packs.returned(jobs)
        if death.kind == "setup":
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                fix = (
                    "install the same packages on each node, or send the search by `xortune submit`"
                )
                self._refuse(InputError(f"no worker can begin: {death.reason}", fix=fix))

    def _refuse(self, error: InputError) -> None:
        self.refusal, self.hopeless = error, True
        self._packs.stop()

    def on_trial_complete(self, *_: object, **__: object) -> None:
        """Results come by the callback, which also knows the reason of an error."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""


class FillWorkers(FIFOScheduler):  # type: ignore[misc]
    """Gives a free worker to the oldest waiting trial, but lets further workers come up first.

    Tune, when it gives a free worker to a waiting trial, cancels the worker that was starting for
    that trial: where a training takes less time than a worker needs to start, no second worker
    would ever come up. So as long as fewer workers deliver results than there is room for, a free
    worker goes to the newest waiting trial, and those before it keep the ones that are starting.

    It also follows the cluster: where there is room for more, more trials wait.
    """

    def __init__(
        self, searcher: QueueSearcher, packs: Batches, room: Room, window: int | None
    ) -> None:
        super().__init__()
        self._searcher, self._packs, self._room, self._window = searcher, packs, room, window
        self._recent: deque[str] = deque(maxlen=4 * room.count)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as in `QueueSearcher`."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Remember who delivers."""
        self._recent.append(result["worker"])
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """Remember who delivers: a pack's only result completes its trial."""
        self._recent.append(result["worker"])

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial for the next free worker; None if none waits."""
        if self._room.changed():
            count = self._room.count
            self._packs.resize(count, most_of(self._window, count))
            self._recent = deque(maxlen=4 * count)
            # Past the wrapper that keeps schedulers from meddling: there is no other way.
            tune_controller._tune_controller.update_max_pending_trials(2 * count)
        live = {trial.trial_id: trial for trial in tune_controller.get_live_trials()}
        filling = len(set(self._recent)) < self._room.count
        ids = reversed(self._searcher.packs) if filling else iter(self._searcher.packs)
        waiting = (live[trial_id] for trial_id in ids if trial_id in live)
        found = next((trial for trial in waiting if trial.status == trial.PENDING), None)
        if found is not None and self._packs.over:
            found.config["until"] = 0.0  # by any clock: it comes back untrained
        return found


class Collector(tune.Callback):  # type: ignore[misc]
    """Brings results and crashes of packs back to the searcher, and stops what must be stopped.

    To journal a pack of thousands of blocks takes as long as to make the next one. Both wait until
    the worker that delivered has been given the trial that waits for it: one step of Tune's loop.
    """

    def __init__(
        self,
        searcher: QueueSearcher,
        limit: float | None,
        board: CancellationBoard | None = None,
        waits: Waits | None = None,
    ) -> None:
        self._searcher, self._limit, self._board, self._waits = searcher, limit, board, waits
        self._overtime = Watchdog(limit)
        self._trials: dict[str, Any] = {}  # that run
        self._stopped: dict[str, WorkerFailure] = {}
        self._new = self._interrupted = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as in `QueueSearcher`."""
        return {}

    def setup(self, **_: object) -> None:
        """Hear of Ctrl-C beside Tune, which would politely wait for workers that hang."""
        if threading.current_thread() is threading.main_thread():
            tunes = getsignal(SIGINT)

            def interrupted(number: int, frame: Any) -> None:
                self._interrupted = True
                told_to_end()
                if callable(tunes):
                    tunes(number, frame)  # which puts back the handler from before

            signal(SIGINT, interrupted)

    def on_trial_start(self, *, trial: Any, **_: object) -> None:
        """A worker has been given a pack."""
        self._trials[trial.trial_id] = trial
        self._overtime.start(trial.trial_id)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: object) -> None:
        """A pack is trained."""
        results: list[EncodedOutcome | TrainingError] | TrainingError = result.pop("results")
        forward_messages(result.pop("words"), result["worker"])
        self._arrive(trial, results, result["pack_seconds"], result["worker"])

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """The worker died: no block of the pack has an outcome."""
        death = self._stopped.get(trial.trial_id) or classify_failure(_account(trial))
        self._arrive(trial, death, 0.0, "")

    def on_step_end(self, *_: object, **__: object) -> None:
        """Take in what arrived before this step; stop what takes too long."""
        if not self._new:
            self._searcher.take_in()
        self._new = False
        if self._board is not None:
            self._board.look(self._searcher.packs.values())
        for trial_id, seconds in self._overtime.late():
            self._stopped[trial_id] = time_exceeded(self._limit or 0.0, seconds)
            self._kill(trial_id)
        if self._interrupted or self._searcher.hopeless:
            for trial_id in list(self._trials):
                self._kill(trial_id)
        check_ray()
        if self._waits is not None:
            self._waits.look(waiting=bool(self._searcher.packs) and not self._trials)
        if self._searcher.refusal is not None and self._searcher.hopeless:
            raise self._searcher.refusal  # out of Tune's loop, which would wait for every trial

    def _kill(self, trial_id: str) -> None:
        actor = self._trials[trial_id].temporary_state.ray_actor
        if actor is not None:
            ray.kill(actor)

    def _arrive(
        self,
        trial: Any,
        results: list[EncodedOutcome | TrainingError] | TrainingError | WorkerFailure,
        seconds: float,
        worker: str,
    ) -> None:
        # Tune keeps every trial to the end, and writes it down; what was in it need not be kept.
        trial.config.clear()
        trial.evaluated_params.clear()
        self._overtime.end(trial.trial_id)
        self._trials.pop(trial.trial_id, None)
        self._stopped.pop(trial.trial_id, None)
        jobs = self._searcher.packs.pop(trial.trial_id, ())
        if jobs:
            self._searcher.arrived.append(Arrival(jobs, results, seconds, worker))
            self._new = True


def _account(trial: Any) -> str | None:
    """Ray's words on why a trial failed."""
    # Not `trial.get_error()`: that reads what has been copied to the storage, which comes later.
    path = trial.error_file
    return Path(path).read_text(encoding="utf-8") if path and Path(path).exists() else None


def most_of(window: int | None, room: int) -> int | None:
    """Blocks in a pack, for a sampler that learns from each; None for any number."""
    return None if window is None else batch_of(window, slots=room)


@ray_settings()
def run_trials(
    queue: BlockSource,
    trainer: Trainer,
    *,
    cluster: Cluster,
    folder: Path,
    window: int | None = None,
    begun: Batches | None = None,
    board: CancellationBoard | None = None,
    say: Callable[[str], None] | None = None,
) -> bool:
    """Run packs until the queue has finished; False if the user interrupted it.

    Args:
        queue: where blocks come from and results go.
        trainer: sent to the workers once.
        cluster: what each trial may use; Ray is connected to it.
        folder: where Ray Tune keeps its own files.
        window: of a sampler that learns, whose packs it makes small; None for any size.
        begun: packs of this queue, of which some have been trained already.
        board: where trainings that report are told that they are given up; None: none ever is.
        say: called with a sentence where nothing can begin for a while.

    Raises:
        InputError: the trainer refused a proposal, the journal could not be written, the disk is
            full, no worker can begin, or Tune has failed again and again.
        Halted: Ray has ended.
    """
    room = Room(cluster.cpus_per_trial, cluster.gpus_per_trial)
    most = most_of(window, room.count)
    packs = begun or Batches(queue, trainer, room.count, most, cluster.trial_timeout)
    packs.resize(room.count, most)
    resources = {"cpu": cluster.cpus_per_trial, "gpu": cluster.gpus_per_trial}
    waits = None if say is None else Waits(cluster, say)
    told = {"trainer": trainer, "drivers": versions(), "board": board.actor if board else None}
    given = tune.with_parameters(BatchTrainable, **told)
    trainable = tune.with_resources(given, resources)
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # failures are journaled, and shown by us
    stumbles = 0
    while True:
        searcher = QueueSearcher(packs)
        # All workers start at once. As many trials wait as run: Tune lets a worker go that becomes
        # free when none waits for it.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(2 * room.count)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=FillWorkers(searcher, packs, room, window),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Collector(searcher, cluster.trial_timeout, board, waits)],
            ),
        )
        try:
            with same_handler():
                tuner.fit()
            searcher.take_in()
        except KeyboardInterrupt:
            searcher.take_in()
            return False
        except Exception as error:
            # Tune is no part of the truth: what it had under way waits again.
            searcher.take_in()
            if searcher.refusal is None:
                check_ray()
            if searcher.refusal is None and is_full(error):
                raise InputError(
                    "cannot be written (the disk is full)",
                    place=str(folder),
                    fix=f"{FREE_SPACE}; what is in the journal is kept",
                ) from error
            stumbles = 1 if searcher.delivered else stumbles + 1
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            searcher.lose(reason)
            if stumbles >= STUMBLES and searcher.refusal is None:
                raise InputError(
                    f"Ray Tune failed {stumbles} times with nothing trained in between ({reason})",
                    fix="see whether the cluster is well (`ray status`), then --resume",
                ) from error
            if searcher.refusal is None:
                continue
        if searcher.refusal is not None:
            raise searcher.refusal
        return queue.finished
