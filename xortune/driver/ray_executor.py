"""The executor on Ray Tune: one trial trains one batch of blocks.

Tune schedules trials on cores, GPUs and clusters; it keeps no results. Its loop runs in a thread of
its own, takes batches that were submitted, and hands back what came of them. That is taken out of
Tune's own record then, so that the driver's memory does not grow with what was trained.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from xortune.core.errors import InputError
from xortune.core.files import FREE_SPACE, is_full
from xortune.core.trainer import Block, OutOfTime, Trainer, runs_users_code
from xortune.driver.batches import Batches
from xortune.driver.cluster import Cluster, Room, Waits, check_ray
from xortune.driver.jobs import (
    Done,
    Job,
    WorkerFailure,
    classify_failure,
    duration_text,
    refuse_other_versions,
    trained,
    versions,
)
from xortune.driver.process import ray_settings
from xortune.trainers.function import asked_of_reports
from xortune.trainers.limits import use_threads

with ray_settings():
    import ray
    from ray import tune
    from ray.actor import ActorClass
    from ray.remote_function import RemoteFunction
    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search import Searcher

FAILED_STARTS = 3
"""So many workers in a row that could not even begin end the search: the next would neither."""

STUMBLES = 3
"""So often Tune itself may fail, with nothing trained in between, before the search gives up."""

LOOK_SECONDS = 1.0
"""How often the driver looks around while it waits for results. A worker asks at most so often
whether what it trains is still of interest, too."""

ANSWER_SECONDS = 5.0
"""How long a worker waits for an answer to that."""

# -------------------------------------------------------------------------------------------------
# What runs on a worker: the training of batches, one after the other.


class Blocks(tuple[Block, ...]):
    """The blocks of a batch. Tune copies every trial's config several times; these need no copy."""

    __slots__ = ()

    def __deepcopy__(self, _: object) -> Blocks:
        return self


class BatchTrainable(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Trains the batch of blocks in its config, once."""

    def setup(
        self,
        config: dict[str, Any],  # noqa: ARG002
        trainer: Trainer,
        drivers: dict[str, str],
        cancelled: Any = None,
    ) -> None:
        """Keep the trainer; the actor is used for many batches."""
        refuse_other_versions(drivers)
        if runs_users_code(trainer) and (threads := getattr(trainer, "threads", None)):
            use_threads(threads)
        self._trainer = trainer
        self._cancelled = None if cancelled is None else Cancelled(cancelled)

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
        """Nothing of the last batch is left."""
        return True

    def step(self) -> dict[str, Any]:
        """One result or error for each block of the batch, or one failure for all."""
        started = time.perf_counter()
        # Out of the config, which Tune sends back with the result.
        blocks: Blocks = self.config.pop("batch")
        own = refusing_tasks() if runs_users_code(self._trainer) else nullcontext()
        with captured_messages() as messages, asked_of_reports(self._cancelled), own:
            results = trained(self._trainer, blocks, until=self.config.get("until"))
        return {
            "done": True,
            "results": results,
            "messages": messages,
            "batch_seconds": time.perf_counter() - started,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }


# Warnings of engines, which log them as any library does; a worker's log is a file nobody reads.

logger = logging.getLogger("xortune.trainers")


class _Capture(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._messages:
            self._messages.append(message)


@contextmanager
def captured_messages() -> Iterator[list[str]]:
    """The warnings that engines log meanwhile, each once."""
    messages: list[str] = []
    capture = _Capture(messages)
    logger.addHandler(capture)
    try:
        yield messages
    finally:
        logger.removeHandler(capture)


def forward_messages(messages: Sequence[str], worker: str) -> None:
    """Log here what was logged on a worker."""
    for message in messages:
        logger.warning("%s: %s", worker, message)


# A user's function that uses Ray itself is told so: what it begins would wait forever.

USES_RAY = (
    "the function uses Ray itself, whose CPUs the trials of a search hold: what it begins there "
    "would wait for them for ever; train without Ray, or ask for num_cpus=0, and no check before"
)


def refuse(_: object = None) -> None:
    """What Ray calls before it starts in the process of a user's function.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(USES_RAY)


@contextmanager
def refusing_tasks() -> Iterator[None]:
    """Refuse tasks and actors that ask for CPUs: the trial holds all that its group has."""
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
# Cancellation: the driver knows which config is proven worse; the trainings are elsewhere, and are
# busy. So an actor of its own holds which blocks are cancelled. A training that reports asks it now
# and then. What does not hear of it in time is trained to its end.


class _CancelledBlocks:
    """The actor: blocks by the key of their config and their first seed."""

    def __init__(self) -> None:
        self._blocks: set[tuple[str, int]] = set()

    def add(self, blocks: Iterable[tuple[str, int]]) -> None:
        self._blocks.update(blocks)

    def read(self) -> frozenset[tuple[str, int]]:
        return frozenset(self._blocks)


class Cancelled:
    """A worker's side: called with a block, says whether it is cancelled, as far as is known."""

    def __init__(self, actor: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._actor, self._now, self._looked = actor, now, -LOOK_SECONDS
        self._blocks: frozenset[tuple[str, int]] = frozenset()

    def __call__(self, block: Block) -> bool:
        """Whether a block is cancelled."""
        if self._now() - self._looked >= LOOK_SECONDS:
            # Where the driver is going, or slow, it is trained.
            with suppress(ray.exceptions.RayError):
                self._blocks = ray.get(self._actor.read.remote(), timeout=ANSWER_SECONDS)
            self._looked = self._now()
        return (block.point.key, block.first) in self._blocks


# -------------------------------------------------------------------------------------------------
# Which batches have taken too long.
#
# A trainer may hang where no Python runs: in a loop of a C library that holds the interpreter, or
# waiting for a disk that is gone. Neither a scheduler of Tune nor a thread or signal handler in the
# worker runs then, and a timer that ends the process from inside could not tell the driver why. So
# the driver keeps the time and has Ray kill the worker, which does not ask the worker.


class Watchdog:
    """Keeps the time of batches, by a clock that stands still while the driver is busy itself.

    A driver that has just spent minutes on something else has not yet seen the results that came
    meanwhile: nothing is late because nobody looked.

    Args:
        limit: seconds that a batch may take; None for any time.
        now: the time.
    """

    def __init__(self, limit: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._now = limit, now
        self._last, self._clock = now(), 0.0
        self._started: dict[str, float] = {}

    def start(self, name: str) -> None:
        """A batch is being trained from now on."""
        self._started[name] = self._clock

    def end(self, name: str) -> None:
        """A batch is no longer of interest."""
        self._started.pop(name, None)

    def expired(self) -> list[tuple[str, float]]:
        """Batches that have just been found too slow, and their seconds; each is told once."""
        now = self._now()
        self._clock += min(now - self._last, LOOK_SECONDS)
        self._last = now
        if self._limit is None:
            return []
        found = [
            (name, self._clock - start)
            for name, start in self._started.items()
            if self._clock - start >= self._limit
        ]
        for name, _ in found:
            self.end(name)
        return found


# -------------------------------------------------------------------------------------------------
# The executor, and the three parts of Tune that it takes part in.


class _Stopped(Exception):
    """Leaves Tune's loop, which would wait for every trial."""


class RayExecutor:
    """Trains batches on the Ray that is connected; see `driver.loop.Executor`.

    Args:
        trainer: sent to the workers once.
        cluster: what each trial may use.
        folder: where Ray Tune keeps its own files.
        cancels: whether trainings that report are told when nobody wants their results any more.
        on_message: called with a sentence where nothing can begin for a while.
    """

    brief = False

    def __init__(
        self,
        trainer: Trainer,
        cluster: Cluster,
        folder: Path,
        *,
        cancels: bool = False,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        self._trainer, self._cluster, self._folder = trainer, cluster, folder
        self.room = Room(cluster)
        self.done: deque[Done] = deque()
        self.changed = threading.Condition()  # guards all that both threads use
        self.submitted: deque[tuple[tuple[Job, ...], float | None]] = deque()
        self.trials: dict[str, tuple[tuple[Job, ...], float | None]] = {}  # that Tune has
        self.running: dict[str, Any] = {}
        self.stopping = False
        self.clocks_agree = True  # the workers' with ours
        self._failed_starts = self._stumbles = 0
        self._error: BaseException | None = None
        self._cancelled: Any = None
        self._told: set[tuple[str, int]] = set()
        if cancels:
            self._cancelled = ray.remote(num_cpus=0)(_CancelledBlocks).remote()
        self._waits = None if on_message is None else Waits(cluster, on_message)
        self._thread = threading.Thread(target=self._run, name="Ray Tune", daemon=True)

    def __enter__(self) -> RayExecutor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._cancelled is not None and ray.is_initialized():
            ray.kill(self._cancelled)

    @property
    def slots(self) -> int:
        """Trials that the cluster runs at once."""
        return self.room.count

    def takes(self, batches: Batches) -> bool:  # noqa: ARG002  # one is as good as another
        """Whether fewer wait than twice what runs.

        Tune lets a worker go that becomes free when none waits for it.
        """
        return len(self.submitted) + len(self.trials) < 3 * self.slots

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Take a batch; nothing of it begins when so many seconds are over."""
        with self.changed:
            until = None if seconds_left is None else time.time() + seconds_left
            self.submitted.append((jobs, until))
            self.changed.notify_all()

    def wait(self, batches: Batches) -> None:
        """Return when something has come back, or after a moment.

        Raises:
            InputError: no worker can begin, the disk is full, or Tune has failed again and again.
            Halted: Ray has ended.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.done or self._error is not None, LOOK_SECONDS)
            if self._error is not None:
                raise self._error
            waiting = bool(self.trials) and not self.running
            under_way = [job for jobs, _ in self.trials.values() for job in jobs]
        if self._waits is not None:
            self._waits.look(waiting=waiting)
        if self._cancelled is not None:
            names = {
                (job.block.point.key, job.block.first)
                for job, wanted in zip(under_way, batches.wants(under_way), strict=True)
                if not wanted
            }
            if names - self._told:
                self._cancelled.add.remote(names - self._told)
                self._told |= names

    def stop(self) -> None:
        """Kill what trains; what has finished is in `done`."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    # What follows runs in the thread.

    def _run(self) -> None:
        try:
            while not self.stopping:
                try:
                    self._tune()
                except Exception as error:  # Tune is no part of the truth: what it had waits again
                    if not self.stopping:
                        self._stumbled(error)
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Have the driver raise an error."""
        with self.changed:
            self._error = self._error or error
            self.changed.notify_all()

    def _stumbled(self, error: Exception) -> None:
        """Tune has failed, and with it whatever was under way.

        Raises:
            InputError: again and again, or the disk is full.
            Halted: Ray has ended.
        """
        check_ray()
        if is_full(error):
            raise InputError(
                "cannot be written (the disk is full)",
                place=str(self._folder),
                fix=f"{FREE_SPACE}; what is in the journal is kept",
            ) from error
        self._stumbles += 1
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        for trial_id in list(self.trials):
            self.arrive(trial_id, WorkerFailure("node", reason))
        if self._stumbles >= STUMBLES:
            raise InputError(
                f"Ray Tune failed {self._stumbles} times with nothing trained in between "
                f"({reason})",
                fix="see whether the cluster is well (`ray status`), then --resume",
            ) from error

    def _tune(self) -> None:
        resources = {"cpu": self._cluster.cpus_per_trial, "gpu": self._cluster.gpus_per_trial}
        given = tune.with_parameters(
            BatchTrainable, trainer=self._trainer, drivers=versions(), cancelled=self._cancelled
        )
        # All workers start at once. As many trials wait as twice what runs.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(2 * self.slots)
        tune.Tuner(
            tune.with_resources(given, resources),
            tune_config=tune.TuneConfig(
                search_alg=_Submitted(self),
                scheduler=_FillWorkers(self),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=self._folder.name,
                storage_path=str(self._folder.parent),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[_Collector(self, Watchdog(self._cluster.trial_timeout))],
            ),
        ).fit()

    def arrive(self, trial_id: str, results: Any, seconds: float = 0.0, worker: str = "") -> None:
        """Hand back what came of a trial."""
        with self.changed:
            self.running.pop(trial_id, None)
            jobs, until = self.trials.pop(trial_id, ((), None))
            if not jobs:
                return
            if not isinstance(results, WorkerFailure):
                late = any(isinstance(result, OutOfTime) for result in results)
                if late and until is not None and time.time() < until:
                    self.clocks_agree = False  # a worker's is fast
            if worker:  # which has delivered
                self._failed_starts = self._stumbles = 0
            elif isinstance(results, WorkerFailure) and results.kind == "setup":
                self._failed_starts += 1
            self.done.append(Done(jobs, results, seconds, worker))
            self.changed.notify_all()
        if self._failed_starts >= FAILED_STARTS:
            assert isinstance(results, WorkerFailure)
            fix = "install the same packages on each node, or send the search by `xortune submit`"
            self.fail(InputError(f"no worker can begin: {results.reason}", fix=fix))


class _Submitted(Searcher):  # type: ignore[misc]
    """Makes a trial of each batch that was submitted."""

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its parts to restore from; a search resumes from the journal."""
        return {}

    def set_search_properties(self, *_: object, **__: object) -> bool:
        """No metric and no mode: what counts is in the journal."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next batch; None for "not now".

        Where Tune has no trial, it would sleep a second after a None.
        """
        executor = self._executor
        with executor.changed:
            executor.changed.wait_for(
                lambda: executor.submitted or executor.stopping or executor.trials
            )
            if executor.stopping:
                return str(Searcher.FINISHED)
            if not executor.submitted:
                return None
            jobs, until = executor.trials[trial_id] = executor.submitted.popleft()
        blocks = Blocks(job.block for job in jobs)
        return {"batch": blocks, "until": until if executor.clocks_agree else None}

    def on_trial_complete(self, *_: object, **__: object) -> None:
        """Results come by the callback, which also knows the reason of an error."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the state."""


class _FillWorkers(FIFOScheduler):  # type: ignore[misc]
    """Gives a free worker to the oldest waiting trial, but lets further workers come up first.

    Tune, when it gives a free worker to a waiting trial, cancels the worker that was starting for
    that trial: where a training takes less time than a worker needs to start, no second worker
    would ever come up. So as long as fewer workers deliver results than there is room for, a free
    worker goes to the newest waiting trial, and those before it keep the ones that are starting.

    It also follows the cluster: where there is room for more, more trials wait.
    """

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor
        self._recent: deque[str] = deque(maxlen=4 * executor.slots)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as in `_Submitted`."""
        return {}

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """Remember who delivers."""
        self._recent.append(result["worker"])

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial for the next free worker; None if none waits."""
        executor = self._executor
        if executor.room.changed():
            self._recent = deque(maxlen=4 * executor.slots)
            # Past the wrapper that keeps schedulers from meddling: there is no other way.
            controller = tune_controller._tune_controller
            controller.update_max_pending_trials(2 * executor.slots)
        live = {trial.trial_id: trial for trial in tune_controller.get_live_trials()}
        filling = len(set(self._recent)) < executor.slots
        ids = list(executor.trials)
        waiting = (live[i] for i in (reversed(ids) if filling else ids) if i in live)
        found = next((trial for trial in waiting if trial.status == trial.PENDING), None)
        if found is not None:
            _, until = executor.trials[found.trial_id]
            if until is not None and time.time() >= until:
                found.config["until"] = 0.0  # by any clock: it comes back untrained
        return found


class _Collector(tune.Callback):  # type: ignore[misc]
    """Hands back results and crashes of trials, and stops what must be stopped."""

    def __init__(self, executor: RayExecutor, watchdog: Watchdog) -> None:
        self._executor, self._watchdog = executor, watchdog
        self._expired: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as in `_Submitted`."""
        return {}

    def on_trial_start(self, *, trial: Any, **_: object) -> None:
        """A worker has been given a batch."""
        self._executor.running[trial.trial_id] = trial
        self._watchdog.start(trial.trial_id)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: object) -> None:
        """A batch is trained."""
        self._end(trial)
        forward_messages(result.pop("messages"), result["worker"])
        results, seconds = result.pop("results"), result["batch_seconds"]
        self._executor.arrive(trial.trial_id, results, seconds, result["worker"])

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """The worker died: no block of the batch has an outcome."""
        seconds = self._expired.pop(trial.trial_id, None)
        self._end(trial)
        if seconds is None:
            # Not `trial.get_error()`: that reads what is copied to the storage, which comes later.
            path = Path(trial.error_file) if trial.error_file else None
            account = path.read_text(encoding="utf-8") if path and path.exists() else None
            self._executor.arrive(trial.trial_id, classify_failure(account))
        else:
            limit = duration_text(self._executor._cluster.trial_timeout or 0.0)
            failure = WorkerFailure("late", f"took longer than {limit}")
            self._executor.arrive(trial.trial_id, failure, seconds)

    def on_step_end(self, *_: object, **__: object) -> None:
        """Stop what takes too long, or all."""
        for trial_id, seconds in self._watchdog.expired():
            self._expired[trial_id] = seconds
            self._kill(trial_id)
        check_ray()
        if self._executor.stopping:
            for trial_id in list(self._executor.running):
                self._kill(trial_id)
            raise _Stopped

    def _end(self, trial: Any) -> None:
        # Tune keeps every trial to the end, and writes it down; what was in it need not be kept.
        trial.config.clear()
        trial.evaluated_params.clear()
        self._watchdog.end(trial.trial_id)

    def _kill(self, trial_id: str) -> None:
        trial = self._executor.running.get(trial_id)
        actor = trial and trial.temporary_state.ray_actor
        if actor is not None:
            ray.kill(actor)
