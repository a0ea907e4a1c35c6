"""The executor on Ray Tune: one trial trains one batch of blocks.

Tune schedules trials on cores, GPUs and clusters; it keeps no results. Its loop runs in a thread of
its own, takes batches that were submitted, and hands back what came of them. That is taken out of
Tune's own record then, so that the driver's memory does not grow with what was trained.
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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Generic, TypeVar
from unittest.mock import patch

from xortune import __version__
from xortune.core.errors import InputError
from xortune.core.files import FREE_SPACE, is_full
from xortune.core.trainer import (
    Block,
    OutOfTime,
    Stacking,
    Trainer,
    runs_users_code,
    stacking_of,
)
from xortune.driver.batches import Batches, Done, Job, WorkerFailure
from xortune.driver.cluster import Cluster, check_ray, fitting, missing_room, slots
from xortune.driver.executors import train_blocks
from xortune.driver.process import cloudpickle, ray_settings
from xortune.trainers.function import asked_of_reports
from xortune.trainers.limits import use_threads

with ray_settings():
    import ray
    from ray import tune
    from ray.actor import ActorClass
    from ray.air._internal import usage
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

WAIT_SECONDS = 10.0
"""So long nothing is trained before the user is told why."""

T = TypeVar("T")

# -------------------------------------------------------------------------------------------------
# What runs on a worker: the training of batches, one after the other.


@dataclass(frozen=True, repr=False)
class Parcel(Generic[T]):
    """What Tune only passes on: it would copy each trial's config, and write down what it sees."""

    content: T

    def __deepcopy__(self, _: object) -> Parcel[T]:
        return self

    def __repr__(self) -> str:
        return "..."


@dataclass(frozen=True)
class Sent:
    """A trainer on its way to a worker, with the folders that the program has put into `sys.path`.

    Ray knows nothing of those. Folders of Python itself are the worker's own.
    """

    trainer: Trainer

    def __reduce__(self) -> tuple[Any, ...]:
        path = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100  # "" is this one
        own = [one for one in path if not one.startswith((sys.prefix, sys.base_prefix))]
        return _arrived, (own, cloudpickle().dumps(self.trainer))


def _arrived(path: list[str], pickled: bytes) -> Trainer:
    sys.path[:0] = [folder for folder in path if folder not in sys.path]
    trainer: Trainer = pickle.loads(pickled)  # noqa: S301  # of our own driver
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
        blocks: list[Block] = self.config.pop("batch").content
        own = refusing_tasks() if runs_users_code(self._trainer) else nullcontext()
        with captured_messages() as messages, asked_of_reports(self._cancelled), own:
            results = train_blocks(self._trainer, blocks, deadline=self.config.get("until"))
        return {
            "done": True,
            "results": Parcel(results),
            "messages": messages,
            "batch_seconds": time.perf_counter() - started,
            "stacking": stacking_of(self._trainer, blocks[0]),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }


PACKAGES = ("torch", "numba", "numpy")
"""On which a training's numbers depend."""


def versions() -> dict[str, str]:
    """Of xortune and of what computes here; without the build (`+cpu`), which may differ."""
    found = {"xortune": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def refuse_other_versions(drivers: dict[str, str]) -> None:
    """Refuse to train here what would be counted with what is trained elsewhere.

    Raises:
        InputError: a version differs from the driver's.
    """
    here = versions()
    other = [
        f"{name} {here[name]}, not {want}" for name, want in drivers.items() if here[name] != want
    ]
    if other:
        raise InputError(f"{socket.gethostname()} has {'; '.join(other)} as the driver has")


logger = logging.getLogger("xortune.trainers")


@contextmanager
def captured_messages() -> Iterator[list[str]]:
    """The warnings that engines log meanwhile, each once: nobody reads the log of a worker."""
    messages: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        if (message := record.getMessage()) not in messages:
            messages.append(message)
        return False

    capture = logging.Handler(logging.WARNING)
    capture.addFilter(note)
    logger.addHandler(capture)
    try:
        yield messages
    finally:
        logger.removeHandler(capture)


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
# Why a worker delivered nothing, by what Ray says of it: Ray tells the kinds apart in its words
# alone, where its exception has gone through Tune.

NODE = ("its node has died", "is unavailable: ", "The actor never ran")
SETUP = "raised in its creation task"
STOPPED = "killed by `ray.kill`"

GONE = "it was killed (perhaps for its memory), crashed in C code, or was ended by os._exit"
"""What Ray's "connection error code 2. End of file" means."""

_DETAIL = re.compile(r"Worker exit type: (\w+) Worker exit detail: ([^.]*\.[^.]*)")


def classify_failure(text: str | None) -> WorkerFailure:
    """What Ray's account of a dead worker comes to."""
    text = text or ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "the worker died, no reason given"
    if any(phrase in text for phrase in NODE):
        return WorkerFailure("node", last)
    if SETUP in text:
        return WorkerFailure("setup", last)
    if STOPPED in text:
        return WorkerFailure("stopped", last)
    if detail := _DETAIL.search(text):  # without the half page on what may cause it
        said = f"{detail[1]}, {' '.join(detail[2].split())}"
        last = f"the worker died: {GONE if 'End of file' in said else said}"
    return WorkerFailure("batch", last)


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
        limit = math.inf if self._limit is None else self._limit
        seconds = {name: self._clock - start for name, start in self._started.items()}
        found = [(name, taken) for name, taken in seconds.items() if taken >= limit]
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

    Attributes:
        slots: trials that the cluster runs at once.
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
        self._trainer, self._folder = trainer, folder
        self.cluster = cluster
        self.slots = slots(cluster)
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
        self._tell_what_is_waited_for(waiting=waiting)
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

    def _tell_what_is_waited_for(self, *, waiting: bool) -> None:
        """Say so, once each time, where there is something to train and nobody trains."""
        now = time.monotonic()
        if not waiting:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= WAIT_SECONDS and self._on_message is not None:
            self._idle_since = math.inf
            self._on_message(
                f"no training has begun for {WAIT_SECONDS:.0f} s: {missing_room(self.cluster)}"
            )

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

    def resized(self) -> bool:
        """Look at the cluster, if it is time; whether it has more or less room than before.

        It has at least one slot: where all nodes have left, what waits goes to the next to come.
        """
        if (now := time.monotonic()) < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        before, self.slots = self.slots, max(1, fitting(self.cluster))
        return self.slots != before

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
                fix="check the cluster (`ray status`), then continue with --resume",
            ) from error

    def _tune(self) -> None:
        resources = {"cpu": self.cluster.cpus_per_trial, "gpu": self.cluster.gpus_per_trial}
        given = tune.with_parameters(
            BatchTrainable,
            trainer=Sent(self._trainer),
            drivers=versions(),
            cancelled=self._cancelled,
        )
        # All workers start at once. As many trials wait as twice what runs.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(2 * self.slots)
        tuner = tune.Tuner(
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
                callbacks=[_Collector(self, Watchdog(self.cluster.trial_timeout))],
            ),
        )
        # It would import MLflow and W&B, to count callbacks for statistics that are switched off.
        with patch.object(usage, "tag_callbacks", create=True):
            tuner.fit()

    def arrive(
        self,
        trial_id: str,
        results: Any,
        seconds: float = 0.0,
        worker: str = "",
        stacking: Stacking | None = None,
    ) -> None:
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
            self.done.append(Done(jobs, results, seconds, worker, stacking))
            self.changed.notify_all()
        if self._failed_starts >= FAILED_STARTS:
            assert isinstance(results, WorkerFailure)
            fix = "install the same packages on each node, or send the search by `xortune submit`"
            self.fail(InputError(f"no worker can start: {results.reason}", fix=fix))


def _nothing(_: Any) -> dict[str, Any]:
    """What Tune's parts pickle to be restored from: a search resumes from the journal."""
    return {}


class _Submitted(Searcher):  # type: ignore[misc]
    """Makes a trial of each batch that was submitted."""

    __getstate__ = _nothing

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor

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
        blocks = Parcel([job.block for job in jobs])
        return {"batch": blocks, "until": until if executor.clocks_agree else None}

    def on_trial_complete(self, *_: object, **__: object) -> None:
        pass  # results come by the callback, which also knows the reason of an error

    def save(self, checkpoint_path: str) -> None:
        pass  # the journal is the state

    def restore(self, checkpoint_path: str) -> None:
        pass


class _FillWorkers(FIFOScheduler):  # type: ignore[misc]
    """Gives a free worker to the oldest waiting trial, but lets further workers come up first.

    Tune, when it gives a free worker to a waiting trial, cancels the worker that was starting for
    that trial: where a training takes less time than a worker needs to start, no second worker
    would ever come up. So as long as fewer workers deliver results than there is room for, a free
    worker goes to the newest waiting trial, and those before it keep the ones that are starting.

    It also follows the cluster: where there is room for more, more trials wait.
    """

    __getstate__ = _nothing

    def __init__(self, executor: RayExecutor) -> None:
        super().__init__()
        self._executor = executor
        self._recent: deque[str] = deque(maxlen=4 * executor.slots)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """Remember who delivers."""
        self._recent.append(result["worker"])

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial for the next free worker; None if none waits."""
        executor = self._executor
        if executor.resized():
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

    __getstate__ = _nothing

    def __init__(self, executor: RayExecutor, watchdog: Watchdog) -> None:
        self._executor, self._watchdog = executor, watchdog
        self._expired: dict[str, float] = {}

    def on_trial_start(self, *, trial: Any, **_: object) -> None:
        """A worker has been given a batch."""
        self._executor.running[trial.trial_id] = trial
        self._watchdog.start(trial.trial_id)

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: object) -> None:
        """A batch is trained."""
        self._end(trial)
        for message in result.pop("messages"):  # here they are read
            logger.warning("%s: %s", result["worker"], message)
        results, seconds = result.pop("results").content, result["batch_seconds"]
        stacking = result.pop("stacking")
        self._executor.arrive(trial.trial_id, results, seconds, result["worker"], stacking)

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
            failure = WorkerFailure(
                "late", f"took longer than {self._executor.cluster.trial_timeout:g} s"
            )
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
