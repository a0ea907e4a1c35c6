"""The search's way through Ray Tune: one trial trains one pack of blocks.

Tune schedules; it keeps no results. What a trial returns goes to the `BlockQueue` (and so to the
journal) in a callback, and is taken out of Tune's own record there, so that the driver's memory
does not grow with what was trained.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xortune.errors import InputError, TrainingError
from xortune.evaluation import Packed, pack
from xortune.outcome import Outcome
from xortune.search.blocks import BlockQueue, Job
from xortune.search.packs import Packs
from xortune.trainer import Block, Trainer

# Ray reads these when it is imported: no usage report, no loggers that write files for each trial,
# and no word about settings that are ours.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the newer reporter prints even when silent
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # resuming is the journal's work

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

__all__ = ["connected", "run_trials", "slots"]


class PackTrainable(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Trains the pack of blocks in its config, once."""

    def setup(self, config: dict[str, Any], trainer: Trainer) -> None:  # noqa: ARG002
        """Keep the trainer; the actor is used for many packs."""
        self._trainer = trainer

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
        """Nothing of the last pack is left."""
        return True

    def step(self) -> dict[str, Any]:
        """One result or error for each block of the pack, or one error for all."""
        started = time.perf_counter()
        # Out of the config, which Tune sends back with the result.
        blocks: Sequence[Block] = self.config.pop("pack")
        results: list[Packed | TrainingError] | TrainingError
        try:
            # Packed here, where there are many processors, and small on its way to the driver.
            results = [
                pack(block, result) if isinstance(result, Outcome) else result
                for block, result in zip(blocks, self._trainer.train(blocks), strict=True)
            ]
        except Exception as error:  # a trainer's own; the worker lives on for the next pack
            results = TrainingError(" ".join(f"{type(error).__name__}: {error}".split()))
        return {
            "done": True,
            "results": results,
            "pack_seconds": time.perf_counter() - started,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }


@dataclass(frozen=True)
class Arrival:
    """What a worker delivered: the results of a pack, or one error for all of it."""

    jobs: tuple[Job, ...]
    results: list[Packed | TrainingError] | TrainingError
    seconds: float
    worker: str


class QueueSearcher(Searcher):  # type: ignore[misc]
    """Makes a trial of each pack."""

    def __init__(self, packs: Packs) -> None:
        super().__init__()
        self._packs = packs
        self.arrived: deque[Arrival] = deque()
        self.packs: dict[str, tuple[Job, ...]] = {}
        self.refusal: InputError | None = None

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
        return {"pack": tuple(job.block for job in jobs)}

    def take_in(self) -> None:
        """Bring what has arrived to the queue, and so to the journal."""
        while self.arrived:
            arrival = self.arrived.popleft()
            jobs, results, worker = arrival.jobs, arrival.results, arrival.worker
            try:
                if isinstance(results, TrainingError):
                    self._packs.crashed(jobs, results, worker=worker)
                else:
                    self._packs.receive(jobs, results, seconds=arrival.seconds, worker=worker)
            except InputError as error:  # the journal cannot be written: Tune would bury the reason
                self.refusal = error
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
    """

    def __init__(self, searcher: QueueSearcher, room: int) -> None:
        super().__init__()
        self._searcher, self._room = searcher, room
        self._recent: deque[str] = deque(maxlen=4 * room)

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
        live = {trial.trial_id: trial for trial in tune_controller.get_live_trials()}
        filling = len(set(self._recent)) < self._room
        ids = reversed(self._searcher.packs) if filling else iter(self._searcher.packs)
        waiting = (live[trial_id] for trial_id in ids if trial_id in live)
        return next((trial for trial in waiting if trial.status == trial.PENDING), None)


class Collector(tune.Callback):  # type: ignore[misc]
    """Brings results and crashes of packs back to the searcher.

    To journal a pack of thousands of blocks takes as long as to make the next one. Both wait until
    the worker that delivered has been given the trial that waits for it: one step of Tune's loop.
    """

    def __init__(self, searcher: QueueSearcher) -> None:
        self._searcher = searcher
        self._new = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as in `QueueSearcher`."""
        return {}

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: object) -> None:
        """A pack is trained."""
        results: list[Packed | TrainingError] | TrainingError = result.pop("results")
        self._arrive(trial, results, result["pack_seconds"], result["worker"])

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """The worker died: no block of the pack has an outcome."""
        self._arrive(trial, TrainingError(_reason(trial)), 0.0, "")

    def on_step_end(self, *_: object, **__: object) -> None:
        """Take in what arrived before this step."""
        if not self._new:
            self._searcher.take_in()
        self._new = False

    def _arrive(
        self,
        trial: Any,
        results: list[Packed | TrainingError] | TrainingError,
        seconds: float,
        worker: str,
    ) -> None:
        # Tune keeps every trial to the end, and writes it down; what was in it need not be kept.
        trial.config.clear()
        trial.evaluated_params.clear()
        jobs = self._searcher.packs.pop(trial.trial_id, ())
        self._searcher.arrived.append(Arrival(jobs, results, seconds, worker))
        self._new = True


def _reason(trial: Any) -> str:
    error = trial.get_error()
    lines = [line.strip() for line in str(error or "the worker died").splitlines() if line.strip()]
    kind = type(error).__name__ if error is not None else "RayError"
    return f"{kind}: {lines[-1] if lines else 'no reason given'}"


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray for the time of a search: shut down afterwards if and only if it was started here.

    Raises:
        InputError: no cluster answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    _refuse_deaf(where)
    local = {"include_dashboard": False, "num_cpus": _cores()} if where == "local" else {}
    try:
        ray.init(
            address=where,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}},
            **local,
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{where!r} cannot be reached ({first})",
            field="address",
            fix="start a cluster with `ray start --head`, or leave the address out",
        ) from None
    # Even with log_to_driver=False the raylet's word on a dead worker goes to our stdout, into the
    # JSON. Ray's own switch for its debugger silences it; where there is none, nothing is lost.
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


def _refuse_deaf(address: str) -> None:
    # Ray would try for many minutes, and print each try.
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{address!r} cannot be reached ({error})",
            field="address",
            fix="check that the cluster runs (`ray status`), or leave the address out",
        ) from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def slots(cpus_per_trial: float, gpus_per_trial: float) -> int:
    """How many trials the cluster runs at once.

    Raises:
        InputError: not even one.
    """
    have = ray.cluster_resources()
    wanted = {"CPU": cpus_per_trial, "GPU": gpus_per_trial}
    for kind, amount in wanted.items():
        if amount > have.get(kind, 0.0):
            raise InputError(
                f"{amount:g} for each trial, but the cluster has {have.get(kind, 0.0):g}",
                field=f"{kind.lower()}s_per_trial",
                allowed="at most what the cluster has",
            )
    return min(int(have[kind] / amount) for kind, amount in wanted.items() if amount > 0)


def run_trials(
    queue: BlockQueue,
    trainer: Trainer,
    *,
    folder: Path,
    cpus_per_trial: float,
    gpus_per_trial: float,
    most: int | None = None,
) -> bool:
    """Run packs until the queue has finished; False if the user interrupted it.

    Args:
        queue: where blocks come from and results go.
        trainer: sent to the workers once.
        folder: where Ray Tune keeps its own files.
        cpus_per_trial: logical CPUs for each trial, fractions allowed.
        gpus_per_trial: logical GPUs for each trial, fractions allowed.
        most: blocks in a pack, for a sampler that learns from each; None for any number.

    Raises:
        InputError: the trainer refused a proposal, or the journal could not be written.
    """
    room = slots(cpus_per_trial, gpus_per_trial)
    packs = Packs(queue, trainer, room, most)
    searcher = QueueSearcher(packs)
    resources = {"cpu": cpus_per_trial, "gpu": gpus_per_trial}
    trainable = tune.with_resources(tune.with_parameters(PackTrainable, trainer=trainer), resources)
    # All workers start at once. As many trials wait as run: Tune lets a worker go that becomes free
    # when none waits for it.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(2 * room)
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # failures are journaled, and shown by us
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=FillWorkers(searcher, room),
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
            callbacks=[Collector(searcher)],
        ),
    )
    try:
        tuner.fit()
    except KeyboardInterrupt:
        return False
    finally:
        searcher.take_in()
    if searcher.refusal is not None:
        raise searcher.refusal
    return queue.finished
