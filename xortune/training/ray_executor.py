"""The executor on Ray Tune: a trial is a worker, which trains batches as long as the search lasts.

Tune schedules trials on cores, GPUs and clusters: it starts one for each slot, and tells of those
that die. Batches and results go through a mailbox, which the driver and the workers call.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from xortune.core.errors import Halted, InputError
from xortune.core.files import FREE_SPACE, is_full
from xortune.core.trainer import Trainer
from xortune.training.jobs import (
    BEGUN,
    FAILED_STARTS,
    LOOK_SECONDS,
    TRAINED,
    Batch,
    Limits,
    WorkerFailure,
)
from xortune.training.loop import Executor
from xortune.training.mailbox import ENDED, HERE, SAID, TAKEN, Mailbox
from xortune.training.process import ray_settings, uninterrupted
from xortune.training.ray_worker import WARNED, PickledTrainer, WorkerTrial, logger, versions
from xortune.training.resources import Cluster
from xortune.training.slots import fitting, missing_room, slots
from xortune.training.watchdog import check_ray, is_lost

with ray_settings():
    import ray
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search import Searcher
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

TUNE_FAILURES = 3
"""Number of failures of Tune itself in a row, with nothing trained, after which the search ends."""

ANSWER_SECONDS = 5.0
"""Maximum time that a driver that ends waits for the last results."""

LEAVE_SECONDS = 5.0
"""Maximum time in which Tune's thread, which may hang in a call of it, leaves a Ray that has ended.
Tune looks several times a second."""

WAIT_SECONDS = 30.0
"""Time without a worker after which the user is told why. Workers that start on a busy machine are
there before."""

WORKERS_SECONDS = 60.0
"""Maximum seconds in which the check of a training waits for the workers."""

MOST_CALLS = 1_000_000
"""Maximum calls of the mailbox that wait: each free worker has one there."""

# -------------------------------------------------------------------------------------------------
# Why a worker delivered nothing. Ray's exception has gone through Tune: only its text is left.

NODE = ("its node has died", "is unavailable: ", "The actor never ran")
SETUP = "raised in its creation task"
STOPPED = "killed by `ray.kill`"

GONE = "it was killed (perhaps for its memory), crashed in C code, or was ended by os._exit"
"""The meaning of Ray's "connection error code 2. End of file"."""

OUT_OF_MEMORY = "NODE_OUT_OF_MEMORY"
"""Where a node's memory is short, Ray kills a worker there with this word."""

_DETAIL = re.compile(r"Worker exit type: (\w+) Worker exit detail: ([^.]*\.[^.]*)")


def classify_failure(text: str | None) -> WorkerFailure:
    """Classify Ray's text about a dead worker."""
    text = text or ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "the worker died, no reason given"
    if any(phrase in text for phrase in NODE):
        return WorkerFailure("node", last)
    if SETUP in text or STOPPED in text:
        return WorkerFailure("stopped", last)
    if detail := _DETAIL.search(text):  # leaves out Ray's half page of possible causes
        cause = f"{detail[1]}, {' '.join(detail[2].split())}"
        last = f"the worker died: {GONE if 'End of file' in cause else cause}"
    return WorkerFailure("killed" if OUT_OF_MEMORY in last else "batch", last)


# -------------------------------------------------------------------------------------------------
# The executor, and its plug-ins for Tune.


@dataclass
class _LiveWorker:
    """A worker that is there.

    Attributes:
        name: its host and process id.
        actor: to kill it.
        has_trained: whether it has begun to train.
        batch: what it trains; None if it waits for a batch.
    """

    name: str
    actor: Any
    has_trained: bool = False
    batch: Batch | None = None


class RayExecutor(Executor):
    """Trains batches on the connected Ray; see `training.loop.Executor`.

    What Ray kills for the memory of its node counts as killed by the system; see `WorkerFailure`.
    Of other deaths Ray does not say whether the system killed the worker.

    A trainer may hang outside Python: in a C library that holds the interpreter, or on a lost disk.
    Then no Tune scheduler, thread or signal handler of the worker runs, and a timer that ends the
    process from inside could not report why. So the driver keeps the time and has Ray kill the
    worker.

    Args:
        trainer: sent to the workers once.
        cluster: the resources of each trial.
        folder: of Ray Tune's own files.
        on_message: called with a sentence if no training can begin for a while.
        waits: whether the workers are to be there before it is used.

    Attributes:
        slots: trials that the cluster runs at once.
    """

    def __init__(
        self,
        trainer: Trainer,
        cluster: Cluster,
        folder: Path,
        *,
        on_message: Callable[[str], None] | None = None,
        waits: bool = False,
    ) -> None:
        limits = Limits(cluster.each.limit, trainer.traits.killed_after)
        super().__init__(trainer, slots(cluster), limits)
        self.cluster, self._waits = cluster, waits
        self._on_message = on_message
        self._sent: dict[int, Batch] = {}  # those that no worker has, by number
        self._count = 0  # of batches
        self._trials: dict[str, _LiveWorker] = {}
        self._failed_starts = 0
        self._idle_since: float | None = None
        self._next_look = time.monotonic() + LOOK_SECONDS
        # The mailbox is lost only with the driver's machine.
        here = ray.get_runtime_context().get_node_id()
        there = NodeAffinitySchedulingStrategy(here, soft=True)
        self._mailbox = (
            ray.remote(Mailbox)
            .options(num_cpus=0, max_concurrency=MOST_CALLS, scheduling_strategy=there)
            .remote()
        )
        self._events = self._mailbox.events.remote()
        self._tune = _TuneThread(trainer, cluster, folder, self._mailbox)

    def __enter__(self) -> RayExecutor:
        self._tune.start()
        if self._waits:
            try:
                self._wait_for_workers()
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if ray.is_initialized():
            ray.kill(self._mailbox)

    def _wait_for_workers(self) -> None:
        """Have a worker for each slot start, and return when all are there, or some after a while.

        Raises:
            InputError: no worker can start.
            Halted: Ray has ended.
        """
        self._tune.ask(self.slots)
        deadline = time.monotonic() + WORKERS_SECONDS
        while len(self._trials) < self.slots and time.monotonic() < deadline:
            self.wait()

    @property
    def room(self) -> int:
        """For each slot one that trains and one that waits."""
        return 2 * self.slots

    def send(self, batch: Batch) -> None:
        """Put a batch into the mailbox."""
        self._count += 1
        self._sent[self._count] = batch
        left = None if batch.until is None else max(0.0, batch.until - time.time())
        self._mailbox.put.remote(self._count, pickle.dumps((batch.blocks, batch.again)), left)
        self._tune.ask(len(self.under_way))

    def cancel(self, blocks: set[tuple[str, int]]) -> None:
        """Have the workers ask for it."""
        self._mailbox.cancel.remote(blocks)

    def kill(self, batch: Batch) -> None:
        """Kill the worker of a batch."""
        for trial in self._trials.values():
            if trial.batch is batch:
                ray.kill(trial.actor)

    def receive(self, seconds: float) -> None:
        """Use what the workers say.

        Raises:
            InputError: no worker can start, the disk is full, or Tune has failed repeatedly.
            Halted: Ray has ended.
        """
        self._check_ray()
        self._listen(seconds)
        if self._tune.error is not None:
            raise self._tune.error
        if (now := time.monotonic()) >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            # If all nodes have left, a slot waits for the next one.
            self.slots = max(1, fitting(self.cluster))
        self._report_idleness()

    def _check_ray(self) -> None:
        """Raise Halted if Ray has ended, once Tune's thread has left it."""
        if is_lost():
            self._tune.has_left_ray.wait(LEAVE_SECONDS)
        check_ray()

    def stop(self) -> None:
        """Kill the workers; what has finished is in `done`."""
        if not self._tune.is_alive():
            return
        if ray.is_initialized():
            with suppress(Halted):
                self._mailbox.wake.remote()
                self._listen(ANSWER_SECONDS)
            self._tune.stopping = True
            for trial in self._trials.values():
                ray.kill(trial.actor)
        self._tune.end()

    def _report_idleness(self) -> None:
        """Send one message each time that batches wait and no worker is there for a while."""
        now = time.monotonic()
        if self._trials or not self._sent:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= WAIT_SECONDS and self._on_message is not None:
            self._idle_since = math.inf
            self._on_message(
                f"no training has begun for {WAIT_SECONDS:.0f} s: {missing_room(self.cluster)}"
            )

    # What the workers say.

    def _listen(self, seconds: float) -> None:
        """Use what has happened; wait so long for the first event."""
        ready, _ = ray.wait([self._events], timeout=seconds)
        if not ready:
            return
        with uninterrupted():
            try:
                events = ray.get(self._events)
            except ray.exceptions.RayActorError as error:
                self._check_ray()
                raise Halted("the process that hands out batches to Ray's workers ended") from error
            self._events = self._mailbox.events.remote()
            for name, what, content in events:
                if what == HERE:
                    where, actor = content
                    self._trials[name] = _LiveWorker(where, pickle.loads(actor))  # noqa: S301
                elif what == TAKEN:
                    batch = self._trials[name].batch = self._sent.pop(content)
                    batch.worker = self._trials[name].name
                elif what == SAID:
                    for message in pickle.loads(content):  # noqa: S301  # from our own worker
                        self._hear(self._trials[name], *message)
                elif what == ENDED:
                    self._lose(name, pickle.loads(content))  # noqa: S301  # from our own thread

    def _hear(self, trial: _LiveWorker, what: str, *content: Any) -> None:
        """Use a message of a worker; see `BatchWorker`."""
        if what == WARNED:
            logger.warning("%s: %s", trial.name, *content)
            return
        if what == BEGUN:
            trial.has_trained = True
            self._failed_starts = 0
        elif what == TRAINED:
            self._tune.failures = 0
        assert trial.batch is not None  # a worker speaks of its batch
        trial.batch.hear(what, *content)
        if trial.batch.has_ended:
            trial.batch = None

    def _lose(self, name: str, failure: WorkerFailure) -> None:
        """A worker has ended."""
        trial = self._trials.pop(name, None)
        if failure.kind != "node" and (trial is None or not trial.has_trained):
            self._failed_starts += 1
        if trial is not None and trial.batch is not None:
            trial.batch.lose(failure)
        if self._failed_starts >= FAILED_STARTS:
            fix = "install the same packages on each node"
            self._tune.error = InputError(f"no worker can start: {failure.reason}", fix=fix)


class _TuneThread(threading.Thread):
    """Runs Ray Tune, and tells the mailbox of workers that have ended.

    Attributes:
        stopping: whether Tune is to end.
        has_left_ray: set once it calls nothing of a Ray that has ended.
        failures: of Tune itself, with nothing trained in between.
        error: why it has ended, other than by `stopping`.
    """

    def __init__(self, trainer: Trainer, cluster: Cluster, folder: Path, mailbox: Any) -> None:
        super().__init__(name="Ray Tune", daemon=True)
        self.stopping, self.failures = False, 0
        self.has_left_ray = threading.Event()
        self.error: BaseException | None = None
        self._trainer, self._cluster, self._folder = trainer, cluster, folder
        self._mailbox = mailbox
        self._asked, self._wanted = threading.Event(), 0
        self._alive: set[str] = set()  # the trials

    def run(self) -> None:
        """Run Tune until `stopping`; if it fails, start it again."""
        try:
            while not self.stopping:
                try:
                    self._fit()
                except Exception as error:
                    if not self.stopping:
                        self._count_failure(error)
        except BaseException as error:
            self.error = error
            with suppress(Exception):
                self._mailbox.wake.remote()
        finally:
            self.has_left_ray.set()

    def _fit(self) -> None:
        resources = tune.PlacementGroupFactory([self._cluster.each.amounts])
        # Tune keeps references to the parameters of a class, by its name. To replace them in a
        # later Ray of this process would free objects that have the same ids there.
        trainable = tune.with_parameters(
            type(f"Worker{uuid4().hex}", (WorkerTrial,), {}),
            trainer=PickledTrainer.of(self._trainer),
            drivers=versions(),
            mailbox=self._mailbox,
        )
        # `_Slots` limits their number.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_CALLS)
        tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=_Slots(self),
                scheduler=_Deaths(self),
                num_samples=-1,
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=self._folder.name,
                storage_path=str(self._folder.parent),
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                stop=_Stopping(self),
            ),
        ).fit()

    def ask(self, trials: int) -> None:
        """Have at least so many trials from now on. Those for which there is no room wait for it.

        So Ray's autoscaler sees that more machines would be used.
        """
        self._wanted = max(self._wanted, trials)
        self._asked.set()

    def end(self) -> None:
        """End Tune, and wait until it has ended."""
        self.stopping = True
        self._asked.set()
        self.join()

    def check_ray(self) -> None:
        """Raise Halted if Ray has ended, once the driver's thread has left it."""
        if is_lost():
            self.has_left_ray.set()
            while ray.is_initialized() and not self.stopping:
                time.sleep(0.02)
        check_ray()

    # Tune calls these.

    def propose(self, trial: str) -> bool:
        """Whether there is to be another trial; waits for the first one, as Tune would sleep."""
        self._asked.wait()
        if self.stopping or len(self._alive) >= self._wanted:
            return False
        self._alive.add(trial)
        return True

    def report_end(self, trial: str, why: WorkerFailure) -> None:
        """Tell that the worker of a trial has ended."""
        self._alive.discard(trial)
        self._mailbox.end.remote(trial, pickle.dumps(why))

    def _count_failure(self, error: Exception) -> None:
        """Give up the workers of a Tune that has failed.

        Raises:
            InputError: Tune has failed repeatedly, or the disk is full.
            Halted: Ray has ended.
        """
        self.check_ray()
        if is_full(error):
            raise InputError(
                "cannot be written (the disk is full)",
                place=str(self._folder),
                fix=f"{FREE_SPACE}; what is in the journal is kept",
            ) from error
        self.failures += 1
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        for trial in list(self._alive):
            self.report_end(trial, WorkerFailure("node", reason))
        if self.failures >= TUNE_FAILURES:
            raise InputError(
                f"Ray Tune failed {self.failures} times with nothing trained in between ({reason})",
                fix="check the cluster (`ray status`), then continue with --resume",
            ) from error


def _nothing(_: Any) -> dict[str, Any]:
    """The pickled state of a plug-in: none, as a search resumes from its journal."""
    return {}


class _Slots(Searcher):  # type: ignore[misc]
    """Proposes a trial for each slot, and for each that has ended another one."""

    __getstate__ = _nothing

    def __init__(self, thread: _TuneThread) -> None:
        super().__init__()
        self._thread = thread

    def set_search_properties(self, *_: object, **__: object) -> bool:
        """Accept anything: there is no metric and no mode."""
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of another trial, which is empty; None if there are enough."""
        if self._thread.propose(trial_id):
            return {}
        return str(Searcher.FINISHED) if self._thread.stopping else None

    def on_trial_complete(self, trial_id: str, *_: object, **__: object) -> None:
        pass  # `_Deaths` has told it

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class _Deaths(FIFOScheduler):  # type: ignore[misc]
    """Tells why workers end, before Tune asks for others."""

    __getstate__ = _nothing

    def __init__(self, thread: _TuneThread) -> None:
        super().__init__()
        self._thread = thread

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        """Tell the reason."""
        # `trial.get_error()` would read the copy in the storage, which is written later.
        path = Path(trial.error_file) if trial.error_file else None
        text = path.read_text(encoding="utf-8") if path and path.exists() else None
        self._thread.report_end(trial.trial_id, classify_failure(text))


class _Stopped(Exception):
    """Tune's loop is left."""


class _Stopping(tune.Stopper):  # type: ignore[misc]
    """Ends Tune when the executor stops, or Ray has ended."""

    __getstate__ = _nothing

    def __init__(self, thread: _TuneThread) -> None:
        self._thread = thread

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        """End no trial by its results."""
        return False

    def stop_all(self) -> bool:
        """Leave Tune's loop, which would wait for every trial; it asks several times a second."""
        self._thread.check_ray()
        if self._thread.stopping:
            raise _Stopped
        return False
