"""The executor on Ray Tune: one trial trains one batch of blocks.

Tune schedules trials on cores, GPUs and clusters. Its loop runs in a thread: it takes submitted
batches and returns their results. Results are removed from Tune's own record, so that the driver's
memory does not grow with the number of trainings.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cloudpickle

from xortune.core.errors import InputError, TrainingError, error_text
from xortune.core.files import FREE_SPACE, is_full
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, OutOfTime, Trainer, Unfinished, has, stacking_of
from xortune.core.version import VERSION
from xortune.driver.batches import Batches, Done, Job, WorkerFailure
from xortune.driver.cluster import Cluster, check_ray, fitting, missing_room, slots
from xortune.driver.process import ray_settings
from xortune.driver.processes import ProcessEnded, killed_after, train_in_process
from xortune.driver.worker import encoded, pieces
from xortune.trainers.function import cancelling_if
from xortune.trainers.limits import use_threads
from xortune.trainers.verdicts import one_line

with ray_settings():
    import ray
    from ray import tune
    from ray.actor import ActorClass
    from ray.air._internal import usage
    from ray.remote_function import RemoteFunction
    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search import Searcher

FAILED_STARTS = 3
"""Number of workers in a row that fail to start, after which the search ends."""

TUNE_FAILURES = 3
"""Number of failures of Tune itself in a row, with nothing trained, after which the search ends."""

LOOK_SECONDS = 1.0
"""Time between two checks of the cluster by the driver, and of cancelled blocks by a worker."""

ANSWER_SECONDS = 5.0
"""Maximum time that a worker waits for the list of cancelled blocks."""

WAIT_SECONDS = 10.0
"""Time without any training after which the user is told why."""

# -------------------------------------------------------------------------------------------------
# On a worker: train batches, one after the other.


@dataclass(frozen=True, repr=False)
class OpaquePayload:
    """Content that Tune passes on without copying it or writing its text to files."""

    content: Any

    def __deepcopy__(self, _: object) -> OpaquePayload:
        return self

    def __repr__(self) -> str:
        return "..."


@dataclass(frozen=True)
class PickledTrainer:
    """A trainer pickled with the folders that the program has put into `sys.path`.

    Ray does not send those. Folders of Python itself exist on the worker.
    """

    trainer: Trainer

    def __reduce__(self) -> tuple[Any, ...]:
        path = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100  # resolves "" too
        own = [folder for folder in path if not folder.startswith((sys.prefix, sys.base_prefix))]
        return _unpickled, (own, cloudpickle.dumps(self.trainer))


def _unpickled(path: list[str], pickled: bytes) -> Trainer:
    sys.path[:0] = [folder for folder in path if folder not in sys.path]
    trainer: Trainer = pickle.loads(pickled)  # noqa: S301  # from our own driver
    return trainer


class BatchTrainable(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Trains the batch of blocks in its config, once."""

    def setup(
        self,
        config: dict[str, Any],  # noqa: ARG002
        trainer: Trainer,
        drivers: dict[str, str],
        cancelled: Any = None,
    ) -> None:
        """Keep the trainer: Tune reuses the actor for many batches."""
        refuse_other_versions(drivers)
        if has(trainer, "users_code") and (threads := getattr(trainer, "threads", None)):
            use_threads(threads)
        self._trainer = trainer
        self._cancelled = None if cancelled is None else Cancelled(cancelled)

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
        """Allow the reuse of the actor: it keeps nothing of a batch."""
        return True

    def step(self) -> dict[str, Any]:
        """Train the batch: one result or error for each block, or one failure for all."""
        # Removed from the config, which Tune sends back with the result.
        blocks: list[Block] = self.config.pop("batch").content
        refusing = refusing_tasks() if has(self._trainer, "users_code") else nullcontext()
        with captured_messages() as messages, refusing:
            done = train_batch(self._trainer, blocks, self.config["until"], self._cancelled)
        batch = OpaquePayload((done, messages))
        return {"done": True, "worker": done.worker, "batch": batch}


def train_batch(
    trainer: Trainer,
    blocks: Sequence[Block],
    until: float | None = None,
    cancelled: Callable[[Block], bool] | None = None,
) -> Done:
    """Train a batch here: a result for each block, or one failure for all; without the jobs.

    Args:
        trainer: what trains.
        blocks: what is trained.
        until: `time.time` from which on no training begins.
        cancelled: whether the results of a block are not wanted any more.
    """
    started = time.perf_counter()
    found: list[list[Any]] = [[] for _ in blocks]
    current = blocks[0]

    def begin(index: int, _: Block) -> bool:
        nonlocal current
        current = blocks[index]
        return cancelled is None or not cancelled(current)

    results: Sequence[Any] | WorkerFailure
    stacking = None
    try:
        if killed_after(trainer) is not None:
            results = [_train_in_time(trainer, block, until) for block in blocks]
        else:
            with cancelling_if(None if cancelled is None else lambda _: cancelled(current)):
                for piece in pieces(trainer, blocks, until=until, begin=begin):
                    for (index, _), result in zip(piece.parts, piece.results, strict=True):
                        found[index].append(result)
            results = list(map(joined, found))
            stacking = stacking_of(trainer, blocks[0])
        results = [encoded(*each) for each in zip(blocks, results, strict=True)]
    except Exception as error:  # a trainer's own; the worker lives on for the next batch
        results = WorkerFailure("batch", one_line(error_text(error)))
    seconds = time.perf_counter() - started
    return Done((), results, seconds, f"{socket.gethostname()}:{os.getpid()}", stacking)


def joined(results: Sequence[Outcome | TrainingError]) -> Outcome | TrainingError:
    """The results of the parts of a block as one; an error has the outcome of what ended before."""
    *before, last = results
    whole = [result for result in before if isinstance(result, Outcome)]
    if isinstance(last, Outcome):
        return reduce(Outcome.merge, [*whole, last])
    if isinstance(last, Unfinished):
        whole += [] if last.outcome is None else [last.outcome]
        return type(last)(reduce(Outcome.merge, whole) if whole else None)
    return last


def _train_in_time(trainer: Trainer, block: Block, until: float | None) -> Outcome | TrainingError:
    """Train seeds whose time limit only killing their process enforces, in a process of their own.

    A seed that ends that process has crashed.
    """
    results: list[Outcome | TrainingError] = []
    whole = has(trainer, "takes_many_seeds")
    for part in [block] if whole else [Block(block.point, seed, 1) for seed in block.seeds]:
        result: Outcome | TrainingError = OutOfTime()
        if until is None or time.time() < until:
            result = train_in_process(trainer, part)
            if isinstance(result, ProcessEnded):
                result = Outcome.crashed(part.seeds, 0, str(result))
        results.append(result)
        if isinstance(result, TrainingError):
            break
    return joined(results)


PACKAGES = ("torch", "numba", "numpy")
"""The packages that determine the numbers of a training."""


def versions() -> dict[str, str]:
    """Versions of xortune and of `PACKAGES`, without the build (`+cpu`), which may differ."""
    return {"xortune": VERSION} | {name: version(name).partition("+")[0] for name in PACKAGES}


def refuse_other_versions(drivers: dict[str, str]) -> None:
    """Raise an InputError if a version differs from the driver's: one count has one version."""
    here = versions()
    others = [f"{name} {here[name]}, not {v}" for name, v in drivers.items() if here[name] != v]
    if others:
        raise InputError(f"{socket.gethostname()} has {'; '.join(others)} as the driver has")


logger = logging.getLogger("xortune.trainers")


@contextmanager
def captured_messages() -> Iterator[list[str]]:
    """The warnings that engines log, each once: the driver shows them, as nobody reads this log."""
    messages: list[str] = []

    def capture(record: logging.LogRecord) -> bool:
        if (message := record.getMessage()) not in messages:
            messages.append(message)
        return False

    handler = logging.Handler(logging.WARNING)
    handler.addFilter(capture)
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


# A user's function may not use Ray itself: its tasks would wait forever.

USES_RAY = (
    "the function uses Ray itself, but the trials of a search hold all CPUs: tasks that it starts "
    "would wait forever; train without Ray, or ask for num_cpus=0 and give --no-check"
)


def refuse(_: object = None) -> None:
    """Raise a RuntimeError: Ray calls this before it starts in a function's subprocess."""
    raise RuntimeError(USES_RAY)


@contextmanager
def refusing_tasks() -> Iterator[None]:
    """Refuse tasks and actors that ask for CPUs: the trial holds all of its placement group."""
    with (
        patch.object(RemoteFunction, "_remote", _checked(RemoteFunction._remote)),
        patch.object(ActorClass, "_remote", _checked(ActorClass._remote)),
    ):
        yield


def _checked(remote: Callable[..., Any]) -> Callable[..., Any]:
    def checked(self: Any, *args: Any, **options: Any) -> Any:
        given = {**self._default_options, **{k: v for k, v in options.items() if v is not None}}
        if given.get("num_cpus") != 0 and given.get("scheduling_strategy") is None:
            refuse()
        return remote(self, *args, **options)

    return checked


# -------------------------------------------------------------------------------------------------
# Cancellation. The driver knows which config is proven worse, but workers are busy. So an actor
# holds the cancelled blocks, and a training that reports asks it now and then. One that does not
# report trains to its end.


class _CancelledBlocks:
    """The actor. A block is identified by the key of its config and its first seed."""

    def __init__(self) -> None:
        self._blocks: set[tuple[str, int]] = set()

    def add(self, blocks: Iterable[tuple[str, int]]) -> None:
        self._blocks.update(blocks)

    def read(self) -> frozenset[tuple[str, int]]:
        return frozenset(self._blocks)


class Cancelled:
    """Called on a worker: whether a block is known to be cancelled."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._read_at = actor, -math.inf
        self._blocks: frozenset[tuple[str, int]] = frozenset()

    def __call__(self, block: Block) -> bool:
        """Whether a block is cancelled."""
        if time.monotonic() - self._read_at >= LOOK_SECONDS:
            # If the driver is slow or gone, the training goes on.
            with suppress(ray.exceptions.RayError):
                self._blocks = ray.get(self._actor.read.remote(), timeout=ANSWER_SECONDS)
            self._read_at = time.monotonic()
        return (block.point.key, block.first) in self._blocks


# -------------------------------------------------------------------------------------------------
# Why a worker delivered nothing. Ray's exception has gone through Tune: only its text is left.

NODE = ("its node has died", "is unavailable: ", "The actor never ran")
SETUP = "raised in its creation task"
STOPPED = "killed by `ray.kill`"

GONE = "it was killed (perhaps for its memory), crashed in C code, or was ended by os._exit"
"""The meaning of Ray's "connection error code 2. End of file"."""

_DETAIL = re.compile(r"Worker exit type: (\w+) Worker exit detail: ([^.]*\.[^.]*)")


def classify_failure(text: str | None) -> WorkerFailure:
    """Classify Ray's text about a dead worker."""
    text = text or ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "the worker died, no reason given"
    if any(phrase in text for phrase in NODE):
        return WorkerFailure("node", last)
    if SETUP in text:
        return WorkerFailure("setup", last)
    if STOPPED in text:
        return WorkerFailure("stopped", last)
    if detail := _DETAIL.search(text):  # leaves out Ray's half page of possible causes
        cause = f"{detail[1]}, {' '.join(detail[2].split())}"
        last = f"the worker died: {GONE if 'End of file' in cause else cause}"
    return WorkerFailure("batch", last)


# -------------------------------------------------------------------------------------------------
# Batches that have exceeded their time limit.
#
# A trainer may hang outside Python: in a C library that holds the interpreter, or on a lost disk.
# Then no Tune scheduler, thread or signal handler of the worker runs, and a timer that ends the
# process from inside could not report why. So the driver keeps the time and has Ray kill the
# worker.


class Watchdog:
    """Keeps the time of batches, by a clock that stands still while the driver is busy.

    After minutes of other work the driver has not yet seen the results that have arrived: their
    batches are not late.

    Args:
        limit: seconds that a batch may take; None for any time.
        now: returns the time.
    """

    def __init__(self, limit: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._now = limit, now
        self._last, self._clock = now(), 0.0
        self._started: dict[str, float] = {}

    def start(self, name: str) -> None:
        """Start the time of a batch."""
        self._started[name] = self._clock

    def end(self, name: str) -> None:
        """Forget a batch."""
        self._started.pop(name, None)

    def expired(self) -> list[tuple[str, float]]:
        """The batches that exceed the limit, with their seconds. Returns each batch once."""
        now = self._now()
        self._clock += min(now - self._last, LOOK_SECONDS)
        self._last = now
        limit = math.inf if self._limit is None else self._limit
        seconds = {name: self._clock - start for name, start in self._started.items()}
        late = [(name, taken) for name, taken in seconds.items() if taken >= limit]
        for name, _ in late:
            self.end(name)
        return late


# -------------------------------------------------------------------------------------------------
# The executor, and its three plug-ins for Tune.


class _Stopped(Exception):
    """Leaves Tune's loop, which would wait for every trial."""


class RayExecutor:
    """Trains batches on the connected Ray; see `driver.loop.Executor`.

    Args:
        trainer: sent to the workers once.
        cluster: the resources of each trial.
        folder: of Ray Tune's own files.
        cancels: whether to cancel blocks whose results are not wanted any more.
        on_message: called with a sentence if no training can begin for a while.

    Attributes:
        slots: trials that the cluster runs at once.
    """

    def __init__(
        self,
        trainer: Trainer,
        cluster: Cluster,
        folder: Path,
        *,
        cancels: bool = False,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        self._trainer, self._folder = trainer, folder
        self.cluster = cluster
        self.slots = slots(cluster)
        self.done: deque[Done] = deque()
        self.changed = threading.Condition()  # guards all that both threads use
        self.submitted: deque[tuple[tuple[Job, ...], float | None]] = deque()
        self.trials: dict[str, tuple[tuple[Job, ...], float | None]] = {}  # of Tune, by trial id
        self.running: dict[str, Any] = {}  # Tune's trials, by trial id
        self.stopping = False
        self.clocks_agree = True  # the workers' clocks with ours
        self._failed_starts = self._tune_failures = 0
        self._error: BaseException | None = None
        self._cancelled: Any = None  # the actor
        self._cancelled_blocks: set[tuple[str, int]] = set()
        if cancels:
            self._cancelled = ray.remote(num_cpus=0)(_CancelledBlocks).remote()
        self._on_message = on_message
        self._idle_since: float | None = None
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._thread = threading.Thread(target=self._run, name="Ray Tune", daemon=True)

    def __enter__(self) -> RayExecutor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._cancelled is not None and ray.is_initialized():
            ray.kill(self._cancelled)

    def take(self, batches: Batches) -> None:
        """Begin batches until twice as many trials wait as there are slots.

        Tune ends a worker that becomes free when no trial waits for it. Blocks under way whose
        results are not wanted any more are cancelled.
        """
        if self._cancelled is not None:
            self._cancel_unwanted(batches)
        while len(self.submitted) + len(self.trials) < 3 * self.slots and (jobs := batches.next()):
            with self.changed:
                self.submitted.append((jobs, batches.until))
                self.changed.notify_all()

    def _cancel_unwanted(self, batches: Batches) -> None:
        with self.changed:
            jobs = [job for jobs, _ in self.trials.values() for job in jobs]
        if new := batches.unwanted(jobs) - self._cancelled_blocks:
            self._cancelled.add.remote(new)
            self._cancelled_blocks |= new

    def wait(self) -> None:
        """Return when a result has arrived, or after `LOOK_SECONDS`.

        Raises:
            InputError: no worker can start, the disk is full, or Tune has failed repeatedly.
            Halted: Ray has ended.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.done or self._error is not None, LOOK_SECONDS)
            if self._error is not None:
                raise self._error
            is_idle = bool(self.trials) and not self.running
        self._report_idleness(is_idle=is_idle)

    def stop(self) -> None:
        """Kill what trains; finished results are in `done`."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _report_idleness(self, *, is_idle: bool) -> None:
        """Send one message each time that trials wait and none has run for `WAIT_SECONDS`."""
        now = time.monotonic()
        if not is_idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= WAIT_SECONDS and self._on_message is not None:
            self._idle_since = math.inf
            self._on_message(
                f"no training has begun for {WAIT_SECONDS:.0f} s: {missing_room(self.cluster)}"
            )

    # The methods below run in the thread.

    def _run(self) -> None:
        try:
            while not self.stopping:
                try:
                    self._tune()
                except Exception as error:  # Tune is restarted, and its batches are tried again
                    if not self.stopping:
                        self._count_failure(error)
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Have `wait` raise an error."""
        with self.changed:
            self._error = self._error or error
            self.changed.notify_all()

    def resized(self) -> bool:
        """Whether the number of slots has changed; looks once in `LOOK_SECONDS`.

        There is at least one slot: if all nodes have left, trials wait for the next node.
        """
        if (now := time.monotonic()) < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        before, self.slots = self.slots, max(1, fitting(self.cluster))
        return self.slots != before

    def _count_failure(self, error: Exception) -> None:
        """Return the batches of a Tune that has failed.

        Raises:
            InputError: Tune has failed repeatedly, or the disk is full.
            Halted: Ray has ended.
        """
        check_ray()
        if is_full(error):
            raise InputError(
                "cannot be written (the disk is full)",
                place=str(self._folder),
                fix=f"{FREE_SPACE}; what is in the journal is kept",
            ) from error
        self._tune_failures += 1
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        for trial_id in list(self.trials):
            self.arrive(trial_id, Done((), WorkerFailure("node", reason)))
        if self._tune_failures >= TUNE_FAILURES:
            raise InputError(
                f"Ray Tune failed {self._tune_failures} times with nothing trained in between "
                f"({reason})",
                fix="check the cluster (`ray status`), then continue with --resume",
            ) from error

    def _tune(self) -> None:
        resources = {"cpu": self.cluster.cpus_per_trial, "gpu": self.cluster.gpus_per_trial}
        trainable = tune.with_parameters(
            BatchTrainable,
            trainer=PickledTrainer(self._trainer),
            drivers=versions(),
            cancelled=self._cancelled,
        )
        # All workers start at once, and twice as many trials wait.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(2 * self.slots)
        tuner = tune.Tuner(
            tune.with_resources(trainable, resources),
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
                callbacks=[_Collector(self, Watchdog(self.cluster.trial_timeout))],
            ),
        )
        # `tag_callbacks` imports MLflow and W&B, for usage statistics that are off.
        with patch.object(usage, "tag_callbacks", create=True):
            tuner.fit()

    def arrive(self, trial_id: str, done: Done) -> None:
        """Put what became of a trial into `done`, with its jobs."""
        failure = done.results if isinstance(done.results, WorkerFailure) else None
        with self.changed:
            self.running.pop(trial_id, None)
            jobs, until = self.trials.pop(trial_id, ((), None))
            if not jobs:
                return
            results = done.results if isinstance(done.results, Sequence) else ()
            ended = any(isinstance(result, OutOfTime) for result in results)
            if ended and until is not None and time.time() < until:
                self.clocks_agree = False  # the worker's clock is fast
            if done.worker:
                self._failed_starts = self._tune_failures = 0
            elif failure is not None and failure.kind == "setup":
                self._failed_starts += 1
            self.done.append(replace(done, jobs=jobs))
            self.changed.notify_all()
        if failure is not None and self._failed_starts >= FAILED_STARTS:
            fix = "install the same packages on each node, or send the search by `xortune submit`"
            self.fail(InputError(f"no worker can start: {failure.reason}", fix=fix))


def _nothing(_: Any) -> dict[str, Any]:
    """The pickled state of a plug-in: none, as a search resumes from its journal."""
    return {}


class _Submitted(Searcher):  # type: ignore[misc]
    """Makes a trial of each submitted batch."""

    __getstate__ = _nothing

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor

    def set_search_properties(self, *_: object, **__: object) -> bool:
        """Accept anything: there is no metric and no mode."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial, its batch; None for "not now".

        If Tune has no trial, this waits for a batch: after None Tune would sleep a second.
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
            jobs, deadline = executor.trials[trial_id] = executor.submitted.popleft()
        blocks = OpaquePayload([job.block for job in jobs])
        return {"batch": blocks, "until": deadline if executor.clocks_agree else None}

    def on_trial_complete(self, *_: object, **__: object) -> None:
        pass  # `_Collector` gets the results, and the reasons of errors

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class _FillWorkers(FIFOScheduler):  # type: ignore[misc]
    """Gives a free worker to the oldest waiting trial, once all workers have started.

    When Tune gives a free worker to a waiting trial, it cancels the worker that is starting for
    that trial: with trainings shorter than the start of a worker, no second worker would ever
    start. So as long as fewer workers deliver results than there are slots, a free worker goes to
    the newest waiting trial, and older trials keep their starting workers.

    It also adapts the number of waiting trials to the size of the cluster.
    """

    __getstate__ = _nothing

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor
        self._recent: deque[str] = deque(maxlen=4 * executor.slots)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """Remember which workers deliver results."""
        self._recent.append(result["worker"])

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial for the next free worker; None if none waits."""
        executor = self._executor
        if executor.resized():
            self._recent = deque(maxlen=4 * executor.slots)
            # Tune wraps its controller to hide this method from schedulers.
            controller = tune_controller._tune_controller
            controller.update_max_pending_trials(2 * executor.slots)
        live = {trial.trial_id: trial for trial in tune_controller.get_live_trials()}
        filling = len(set(self._recent)) < executor.slots
        ids = list(executor.trials)
        waiting = (live[i] for i in (reversed(ids) if filling else ids) if i in live)
        chosen = next((trial for trial in waiting if trial.status == trial.PENDING), None)
        if chosen is not None:
            _, deadline = executor.trials[chosen.trial_id]
            if deadline is not None and time.time() >= deadline:
                chosen.config["until"] = 0.0  # over by any clock: the batch returns untrained
        return chosen


class _Collector(tune.Callback):  # type: ignore[misc]
    """Returns the results and failures of trials, and stops trials."""

    __getstate__ = _nothing

    def __init__(self, executor: RayExecutor, watchdog: Watchdog) -> None:
        self._executor, self._watchdog = executor, watchdog
        self._expired: dict[str, float] = {}

    def on_trial_start(self, *, trial: Any, **_: object) -> None:
        """Start the time of a trial that a worker has begun."""
        self._executor.running[trial.trial_id] = trial
        self._watchdog.start(trial.trial_id)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: object) -> None:
        """Return the results of a batch, and log its worker's warnings."""
        self._end(trial)
        done, messages = result.pop("batch").content
        for message in messages:
            logger.warning("%s: %s", done.worker, message)
        self._executor.arrive(trial.trial_id, done)

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """Return the reason why a worker died: no block of the batch has an outcome."""
        seconds = self._expired.pop(trial.trial_id, None)
        self._end(trial)
        if seconds is None:
            # `trial.get_error()` would read the copy in the storage, which is written later.
            path = Path(trial.error_file) if trial.error_file else None
            text = path.read_text(encoding="utf-8") if path and path.exists() else None
            failure = classify_failure(text)
        else:
            reason = f"took longer than {self._executor.cluster.trial_timeout:g} s"
            failure = WorkerFailure("late", reason)
        self._executor.arrive(trial.trial_id, Done((), failure, seconds or 0.0))

    def on_step_end(self, *_: object, **__: object) -> None:
        """Kill the workers of late batches; all workers if the executor stops."""
        for trial_id, seconds in self._watchdog.expired():
            self._expired[trial_id] = seconds
            self._kill(trial_id)
        check_ray()
        if self._executor.stopping:
            for trial_id in list(self._executor.running):
                self._kill(trial_id)
            raise _Stopped

    def _end(self, trial: Any) -> None:
        # Tune keeps every trial to the end, and writes it to files: remove the content.
        trial.config.clear()
        trial.evaluated_params.clear()
        self._watchdog.end(trial.trial_id)

    def _kill(self, trial_id: str) -> None:
        trial = self._executor.running.get(trial_id)
        actor = trial and trial.temporary_state.ray_actor
        if actor is not None:
            ray.kill(actor)
