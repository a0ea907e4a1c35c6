"""The built-in network as a trainer: points become configs, blocks share what they can."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from xortune.config import Config
from xortune.errors import InputError, TrainingError
from xortune.outcome import Outcome, checked_seeds
from xortune.point import Point
from xortune.task import Task
from xortune.trainer import Block

__all__ = [
    "ENGINES",
    "NetworkTrainer",
    "engine_of",
    "evaluate_config",
    "is_compiled",
    "usable_cores",
]

ENGINES = ("auto", "fused", "reference", "cuda")

ENGINE_VERSION = "1"
"""Another one wherever an engine may give a seed another outcome than the version before: what was
trained with one is never counted together with what was trained with another."""


@dataclass(frozen=True)
class NetworkTrainer:
    """Trains the network that a point describes on one task.

    Attributes:
        task: what to learn.
        engine: `fused` (compiled, on the CPU), `reference` (stacked torch on the CPU), `cuda`
            (stacked torch on the first visible GPU), or `auto`: fused where it covers the config,
            else reference.
        gpus: whether trials are given a GPU; `auto` then is `cuda` wherever torch sees one.
        threads: cores that may share one training; the search's workers have one each.
    """

    task: Task
    engine: str = "auto"
    gpus: bool = False
    threads: int = 1

    def check(self, point: Point) -> Point:
        """The point of the `Config` it means; see `xortune.trainer.Trainer.check`."""
        return Config.from_point(point).point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `xortune.trainer.Trainer.cost`.

        What the fused engine was measured to take with an elementwise activation, whatever the
        engine: too little by far for the reference engine, and always in the same proportion.
        """
        hidden_dim, epochs = block.point["hidden_dim"], block.point["epochs"]
        assert isinstance(hidden_dim, int)
        assert isinstance(epochs, int)
        rows = self.task.inputs.shape[0]
        if self.task.held_out_inputs is not None:
            rows += self.task.judged_inputs.shape[0]
        each = 0.7 + 0.12 * hidden_dim * (self.task.dim + 2)  # ns for an epoch of a row
        seconds: float = 1e-4 + block.count * epochs * rows * each * 1e-9
        return seconds

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome or error for each block; blocks that differ in epochs share one training."""
        groups: dict[tuple[str, range], list[tuple[int, Config]]] = {}
        results: dict[int, Outcome | TrainingError] = {}
        for index, block in enumerate(blocks):
            try:
                config = Config.from_point(block.point)
            except InputError as error:
                results[index] = TrainingError(str(error))
                continue
            shared = replace(config, epochs=1).key
            groups.setdefault((shared, block.seeds), []).append((index, config))
        for (_, seeds), members in groups.items():
            longest = max((config for _, config in members), key=lambda config: config.epochs)
            epochs = sorted({config.epochs for _, config in members})
            try:
                outcome = evaluate_config(
                    longest,
                    self.task,
                    seeds,
                    epochs[:-1],
                    self._engine_here,
                    threads=self.threads,
                )
            except Exception as error:  # whatever it is, it is this group's alone, and is recorded
                failure = TrainingError(f"{type(error).__name__}: {error}")
                results.update((index, failure) for index, _ in members)
            else:
                results.update((index, _alone(outcome.at(c.epochs))) for index, c in members)
        return [results[index] for index in range(len(blocks))]

    @property
    def _engine_here(self) -> str:
        if self.engine != "auto" or not self.gpus:
            return self.engine
        import torch

        return "cuda" if torch.cuda.is_available() else "auto"

    def describe(self) -> dict[str, str]:
        """What the manifest says: the engine, the versions that matter to it, the task.

        Raises:
            InputError: an unknown engine, or CUDA where there is none.
        """
        device = device_of(self._engine_here)
        engine = "fused" if self._engine_here in ("auto", "fused") else "reference"
        # Of a search that takes what fits, what is trained where the fused engine does not reach.
        fallback = {"engine_fallback": "reference"} if self._engine_here == "auto" else {}
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


def is_compiled() -> bool:
    """Whether the fused engine can start at once here, and need not be compiled first."""
    from xortune.engine.kernels.cache import is_kept

    return is_kept()


def engine_of(config: Config, task: Task) -> str:
    """What `auto` is for a config: `fused`, or `reference` where that does not reach."""
    from xortune.engine import fused

    return "fused" if fused.uncovered(config, task) is None else "reference"


def _alone(outcome: Outcome) -> Outcome:
    return replace(outcome, checkpoints=()) if outcome.checkpoints else outcome


def device_of(engine: str) -> str:
    """The torch device an engine trains on here.

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
            "'cuda', but torch sees no CUDA device here", field="engine", fix="use engine 'auto'"
        )
    return "cuda"


def usable_cores() -> int:
    """How many cores this process may use; OMP_NUM_THREADS has the last word, as for torch."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def evaluate_config(
    config: Config,
    task: Task,
    seeds: Sequence[int],
    checkpoints: Sequence[int] = (),
    engine: str = "auto",
    *,
    threads: int = 1,
) -> Outcome:
    """Train one config under the given seeds, on at most so many cores.

    Raises:
        InputError: seeds that `checked_seeds` refuses, a checkpoint outside [1, epochs], an unknown
            engine.
    """
    for epoch in checkpoints:
        if isinstance(epoch, bool) or not isinstance(epoch, int) or not 1 <= epoch <= config.epochs:
            raise InputError(
                f"{epoch!r} is no epoch of this training",
                field="checkpoints",
                allowed=f"whole numbers from 1 to {config.epochs}",
            )
    device, array, earlier = device_of(engine), checked_seeds(seeds), sorted(set(checkpoints))
    if engine in ("auto", "fused"):
        from xortune.engine import fused

        reason = fused.uncovered(config, task)
        if reason is None:
            return fused.train(config, task, array, earlier, threads=threads)
        if engine == "fused":
            raise InputError(
                f"'fused', but {reason}",
                field="engine",
                fix="use engine 'auto', which takes the reference engine there",
            )
    from xortune.engine import reference

    return reference.train(config, task, array, earlier, device=device)
