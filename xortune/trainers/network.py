"""The built-in network as a trainer: which engine trains what, and which blocks train as one."""

from __future__ import annotations

import functools
import gc
import logging
import socket
from collections.abc import Iterable, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import Config
from xortune.core.errors import InputError, TrainingError, check_type, require
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.seeds import checked_seeds
from xortune.core.system import cores
from xortune.core.task import Task
from xortune.core.trainer import Block, Trainer, Traits
from xortune.trainers.limits import (
    Training,
    environment_threads,
    pools,
    refuse_beyond_memory,
    seconds_of,
    uncovered,
)

logger = logging.getLogger("xortune.trainers")

ENGINES = ("auto", "fused", "reference", "cuda")

ENGINE_VERSION = "1"
"""Change it whenever an engine may give a seed another outcome. Outcomes of different versions are
never counted together."""


@dataclass(frozen=True)
class NetworkTrainer(Trainer):
    """Trains the network that a point describes on one task.

    Attributes:
        task: what to learn.
        engine: `fused` (compiled, on the CPU), `reference` (stacked torch on the CPU), `cuda`
            (stacked torch on the first visible GPU), or `auto`: fused where it covers the config,
            else reference.
        gpus: GPUs for each trial; fractions share one. With any, `auto` becomes `cuda` if torch
            sees a GPU, and warns if not. The driver decides it once for all workers.
        threads: cores that may share one training; the search's workers have one each.
    """

    task: Task
    engine: str = "auto"
    gpus: float = 0.0
    threads: int = 1

    def __post_init__(self) -> None:
        require("the built-in network", "torch", "numba")
        if self.engine != "auto" or not self.gpus:
            return
        import torch  # takes a second

        if torch.cuda.is_available():
            object.__setattr__(self, "engine", "cuda")
        else:
            _warn_of_no_gpu()

    @property
    def traits(self) -> Traits:
        """What engine trains, and how."""
        return Traits(
            is_compiled=self.engine in ("auto", "fused"),
            threads=self.threads,
        )

    def for_worker(self, gpus: float = 0.0) -> NetworkTrainer:
        """The one with one core."""
        return replace(self, threads=1, gpus=self.gpus or gpus)

    def on_all_cores(self) -> NetworkTrainer:
        """The one with all cores that this process may use."""
        return replace(self, threads=usable_cores())

    def check(self, point: Point) -> Point:
        """The point in the normal form of `Config`; see `core.trainer.Trainer.check`."""
        return Config.from_point(point).point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `core.trainer.Trainer.cost` and `limits.seconds_of`."""
        hidden_dim, epochs = block.point["hidden_dim"], block.point["epochs"]
        assert isinstance(hidden_dim, int)
        assert isinstance(epochs, int)
        return seconds_of(hidden_dim, epochs, block.count, self.task)

    def refuse_beyond_memory(self, point: Point, seeds: int = 1) -> None:
        """Refuse a config if `seeds` seeds of it do not fit into this machine's memory.

        Raises:
            InputError: they do not; `field` names the parameter.
        """
        if self.engine != "cuda":
            refuse_beyond_memory(Config.from_point(point), self.task, seeds, self.engine)

    def prepare(self, blocks: Sequence[Block]) -> None:
        """Load the compiled engine, in a subprocess."""
        self.train(blocks)
        gc.freeze()  # scanning modules for garbage took a tenth of the Python time here

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome or error for each block.

        Blocks that differ in epochs share one training. Trainings of the fused engine that differ
        in lr and momentum share its calls; see `fused.train_pool`.
        """
        groups: dict[tuple[Any, ...], list[tuple[int, Config]]] = {}
        results: dict[int, Outcome | TrainingError] = {}
        seeds: dict[range, NDArray[np.int64]] = {}
        for index, block in enumerate(blocks):
            try:
                config = Config.from_point(block.point)
                if block.seeds not in seeds:
                    seeds[block.seeds] = checked_seeds(block.seeds)
            except InputError as error:
                results[index] = TrainingError(str(error))
                continue
            shared = vars(config) | {"epochs": None}
            groups.setdefault((block.seeds, *shared.values()), []).append((index, config))
        trainings = []
        for (of, *_), members in groups.items():
            longest = max((config for _, config in members), key=lambda config: config.epochs)
            epochs = sorted({config.epochs for _, config in members})
            trainings.append(Training(longest, seeds[of], tuple(epochs[:-1])))
        outcomes = self._train_all(trainings) if trainings else []
        for members, outcome in zip(groups.values(), outcomes, strict=True):
            for index, config in members:
                if isinstance(outcome, TrainingError):
                    results[index] = outcome
                else:
                    at_end = outcome.at(config.epochs)
                    results[index] = (
                        replace(at_end, checkpoints=()) if at_end.checkpoints else at_end
                    )
        return [results[index] for index in range(len(blocks))]

    def _train_all(self, trainings: Sequence[Training]) -> list[Outcome | TrainingError]:
        results: dict[int, Outcome | TrainingError] = {**self._trained_together(trainings)}
        for index, training in enumerate(trainings):
            if index in results:
                continue
            try:
                results[index] = evaluate_config(
                    training.config,
                    self.task,
                    training.seeds,
                    training.checkpoints,
                    self.engine,
                    threads=self.threads,
                    gpu_share=self._gpu_share,
                )
            except Exception as error:  # recorded as the error of this training alone
                results[index] = TrainingError(f"{type(error).__name__}: {error}")
        return [results[index] for index in range(len(trainings))]

    def _trained_together(self, trainings: Sequence[Training]) -> dict[int, Outcome]:
        """Train pools of the fused engine; the outcomes by the index of a training."""
        if self.engine not in ("auto", "fused"):
            return {}
        fused = [i for i, one in enumerate(trainings) if uncovered(one.config, self.task) is None]
        outcomes: dict[int, Outcome] = {}
        for pool in pools([trainings[index] for index in fused]):
            group = [fused[at] for at in pool]
            if len(group) == 1:
                continue
            # The config at fault fails again when it trains alone.
            with suppress(Exception):
                members = [trainings[index] for index in group]
                found = _train_fused(members, self.task, self.threads)
                outcomes.update(zip(group, found, strict=True))
        return outcomes

    @property
    def _gpu_share(self) -> float:
        return min(float(self.gpus), 1.0) or 1.0

    def describe(self) -> dict[str, str]:
        """What the manifest says: the engine, the versions that matter to it, the task.

        Raises:
            InputError: an unknown engine, or CUDA where there is none.
        """
        # With GPUs for the trials, the workers must see one, not this process.
        device = "cuda" if self.engine == "cuda" and self.gpus else device_of(self.engine)
        engine = "fused" if self.engine in ("auto", "fused") else "reference"
        # `auto` trains with this engine what the fused one does not cover.
        fallback = {"engine_fallback": "reference"} if self.engine == "auto" else {}
        return {
            "trainer": "network",
            "engine": engine,
            **fallback,
            "engine_version": ENGINE_VERSION,
            "device": device,
            "torch": version("torch"),
            "numba": version("numba"),
            "task": self.task.name,
            "task_fingerprint": self.task.fingerprint,
        }


def engine_described(described: Mapping[str, str]) -> str:
    """The engine of a `NetworkTrainer`, from what its `describe` returned; `auto` by default."""
    if described.get("engine") == "reference":
        return "cuda" if described.get("device") == "cuda" else "reference"
    is_fused = described.get("engine") == "fused" and "engine_fallback" not in described
    return "fused" if is_fused else "auto"


def is_compiled() -> bool:
    """Whether this machine has the fused engine compiled.

    Raises:
        InputError: its packages are not installed.
    """
    require("the built-in network", "torch", "numba")
    from xortune.trainers.kernels.cache import is_kept

    return is_kept()


def engine_of(config: Config, task: Task) -> str:
    """The engine that `auto` chooses for a config."""
    return "fused" if uncovered(config, task) is None else "reference"


def device_of(engine: str) -> str:
    """The torch device on which an engine trains.

    Raises:
        InputError: an unknown engine, or CUDA where there is none.
    """
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}", field="engine", allowed=", ".join(ENGINES))
    if engine != "cuda":
        return "cpu"
    import torch  # takes a second: a driver that only sends blocks to workers does without

    if not torch.cuda.is_available():
        raise InputError(
            "'cuda', but torch sees no CUDA device here",
            field="engine",
            fix="go to a machine with a GPU, name a cluster with --address and "
            "--gpus-per-trial, or train by another engine: --engine auto",
        )
    return "cuda"


@functools.cache
def _warn_of_no_gpu() -> None:
    """Warn once in a process. Ray hands out GPUs by number, whether there are any or not."""
    logger.warning(
        "GPUs are asked for, but torch sees no CUDA device on %s: trained on the CPU. If only the"
        " workers have GPUs, ask for engine 'cuda'",
        socket.gethostname(),
    )


def usable_cores() -> int:
    """Number of cores that this process may use; OMP_NUM_THREADS overrides it, as in torch."""
    if (threads := environment_threads()) is not None:
        return threads
    return cores()


def evaluate_config(
    config: Config,
    task: Task,
    seeds: Sequence[int] | NDArray[np.int64],
    checkpoints: Sequence[int] = (),
    engine: str = "auto",
    *,
    threads: int = 1,
    gpu_share: float = 1.0,
) -> Outcome:
    """Train one config under the given seeds, on `threads` cores or a share of a GPU's memory.

    Raises:
        InputError: seeds that `checked_seeds` refuses, a checkpoint outside [1, epochs], an unknown
            engine, too little memory.
    """
    require("the built-in network", "torch", "numba")
    check_type("checkpoints", checkpoints, Iterable, "a list of epochs")
    for epoch in checkpoints:
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not 1 <= epoch <= config.epochs:
            raise InputError(
                f"{epoch!r} is not an epoch of this training",
                field="checkpoints",
                allowed=f"whole numbers from 1 to {config.epochs}",
            )
    device, earlier = device_of(engine), sorted(set(checkpoints))
    if device == "cpu" and isinstance(seeds, Sized):  # before an array of them fills the memory
        records = len({*earlier, config.epochs})
        refuse_beyond_memory(config, task, len(seeds), engine, records)
    array = checked_seeds(seeds)
    if engine in ("auto", "fused"):
        reason = uncovered(config, task)
        if reason is None:
            training = Training(config, array, tuple(earlier))
            [outcome] = _train_fused([training], task, threads)
            return outcome
        if engine == "fused":
            raise InputError(
                f"'fused', but {reason}",
                field="engine",
                fix="use engine 'auto', which takes the reference engine there",
            )
    from xortune.trainers import reference

    training = Training(config, array, tuple(earlier))
    return reference.train_seeds(training, task, device=device, gpu_share=gpu_share)


def _train_fused(trainings: Sequence[Training], task: Task, threads: int) -> list[Outcome]:
    from xortune.trainers import fused

    return fused.train_pool(trainings, task, threads=threads)
