"""The built-in network as a trainer: points become configs, blocks share what they can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from xortune.config import Config
from xortune.errors import InputError, TrainingError
from xortune.outcome import Outcome, checked_seeds
from xortune.point import Point
from xortune.task import Task
from xortune.trainer import Block

__all__ = ["ENGINES", "NetworkTrainer", "evaluate_config"]

ENGINES = ("auto", "reference", "cuda")


@dataclass(frozen=True)
class NetworkTrainer:
    """Trains the network that a point describes on one task.

    Attributes:
        task: what to learn.
        engine: `auto` (CUDA where Ray or the user gives a GPU, else the CPU), `reference` (stacked
            torch on the CPU) or `cuda` (stacked torch on the first visible GPU).
    """

    task: Task
    engine: str = "auto"

    def check(self, point: Point) -> Point:
        """The point of the `Config` it means; see `xortune.trainer.Trainer.check`."""
        return Config.from_point(point).point

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
                outcome = evaluate_config(longest, self.task, seeds, epochs[:-1], self.engine)
            except Exception as error:  # whatever it is, it is this group's alone, and is recorded
                failure = TrainingError(f"{type(error).__name__}: {error}")
                results.update((index, failure) for index, _ in members)
            else:
                results.update(
                    (index, replace(outcome.at(config.epochs), checkpoints=()))
                    for index, config in members
                )
        return [results[index] for index in range(len(blocks))]

    def describe(self) -> dict[str, str]:
        """What the manifest says: the engine that runs here, torch's version, the task."""
        return {
            "trainer": "network",
            "engine": "reference",
            "device": device_of(self.engine),
            "torch": version("torch"),
            "task": self.task.name,
            "task_fingerprint": self.task.fingerprint,
        }


def device_of(engine: str) -> str:
    """The torch device an engine trains on here.

    Raises:
        InputError: an unknown engine, or CUDA where there is none.
    """
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}", field="engine", allowed=", ".join(ENGINES))
    if engine == "reference":
        return "cpu"
    import torch  # takes a second: a driver that only sends blocks to workers does without

    if engine == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "'cuda', but torch sees no CUDA device here", field="engine", fix="use engine 'auto'"
        )
    return "cuda" if torch.cuda.is_available() else "cpu"


def evaluate_config(
    config: Config,
    task: Task,
    seeds: Sequence[int],
    checkpoints: Sequence[int] = (),
    engine: str = "auto",
) -> Outcome:
    """Train one config under the given seeds.

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
    from xortune.engine import reference

    return reference.train(
        config, task, checked_seeds(seeds), sorted(set(checkpoints)), device=device_of(engine)
    )
