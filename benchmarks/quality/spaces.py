"""The spaces that are searched: what may be proposed, and what training a proposal means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quality import surface, tables
from xortune.core.config import Config
from xortune.core.errors import TrainingError
from xortune.core.outcome import Details, Outcome
from xortune.core.point import Point, Value
from xortune.core.task import Task
from xortune.core.trainer import Block, Trainer
from xortune.spaces.model import Choice, Fixed, Range, SearchSpace, is_active
from xortune.spaces.space import parse_space
from xortune.trainers.network import NetworkTrainer, evaluate_config

if TYPE_CHECKING:
    import optuna

SHIFT = 1_000_000
"""Every repetition trains under seeds of its own: seed 0 of the r-th is r * SHIFT."""

INERT = "inert_"
"""What parameters are called that the network does not have."""


@dataclass(frozen=True)
class BenchSpace:
    """A space of the benchmark.

    Attributes:
        name: on the command line and in the tables.
        what: in words.
        text: a space file of xortune; its epochs are fixed.
        synthetic: whether nothing is trained, and the rates are those of `surface`, or of a table.
        table: whether they are those of a table of `tables`; then the text is read from there.
    """

    name: str
    what: str
    text: str
    synthetic: bool = False
    table: bool = False

    @cached_property
    def space(self) -> SearchSpace:
        """The space file, read."""
        text = tables.space_text(self.name) + _REST if self.table else self.text
        return parse_space(text, self.name)

    @cached_property
    def epochs(self) -> int:
        """Of every training."""
        fixed = {p.name: p.value for p in self.space.parameters if isinstance(p, Fixed)}
        return int(str(fixed["epochs"]))

    @property
    def task(self) -> Task:
        """What is learned."""
        return self.space.task

    def trained_key(self, point: Mapping[str, Value]) -> str:
        """Points with the same one are the same training."""
        if self.synthetic:
            return Point(point).key
        return f"{self.task.name}:{Config.from_point(_active(point)).key}"

    def train(self, point: Mapping[str, Value], seeds: Sequence[int]) -> Outcome:
        """Train a point under these seeds, on one core."""
        if self.table:
            solved = tables.solved(self.name, point, seeds)
            details = Details(values=tables.scores(self.name, point, seeds))
            return replace(_judged(self.task, solved, seeds, self.epochs), details=details)
        if self.synthetic:
            return _judged(self.task, surface.solved(point, seeds), seeds, self.epochs)
        return evaluate_config(Config.from_point(_active(point)), self.task, seeds, threads=1)

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """A point as Optuna's samplers propose it."""
        values: dict[str, Value] = {}
        for p in self.space.parameters:
            if not is_active(p, values):
                continue
            if isinstance(p, Fixed):
                values[p.name] = p.value
            elif isinstance(p, Choice):
                values[p.name] = trial.suggest_categorical(p.name, p.values)
            elif p.integer:
                values[p.name] = trial.suggest_int(p.name, int(p.low), int(p.high), log=p.log)
            else:
                values[p.name] = trial.suggest_float(p.name, p.low, p.high, log=p.log)
        return values

    def draw(self, rng: np.random.Generator) -> dict[str, Value]:
        """A point at random."""
        values: dict[str, Value] = {}
        for p in self.space.parameters:
            if is_active(p, values):
                values[p.name] = _drawn(p, rng)
        return values


def _drawn(p: Choice | Range | Fixed, rng: np.random.Generator) -> Value:
    if isinstance(p, Fixed):
        return p.value
    if isinstance(p, Choice):
        return p.values[rng.integers(len(p.values))]
    if p.integer and not p.log:
        return int(rng.integers(int(p.low), int(p.high) + 1))
    if p.integer:
        number = np.exp(rng.uniform(np.log(p.low - 0.5), np.log(p.high + 0.5)))
        return int(np.clip(round(number), p.low, p.high))
    if p.log:
        return float(np.clip(np.exp(rng.uniform(np.log(p.low), np.log(p.high))), p.low, p.high))
    return float(rng.uniform(p.low, p.high))


@dataclass(frozen=True)
class SpaceTrainer(Trainer):
    """A space as a trainer of xortune's search, whose seeds begin elsewhere.

    Attributes:
        bench: the space.
        repetition: which seeds.
    """

    bench: BenchSpace
    repetition: int

    def check(self, point: Point) -> Point:
        """See `xortune.core.trainer.Trainer`."""
        if self.bench.synthetic:
            return point
        inert = {name: value for name, value in point.items() if name.startswith(INERT)}
        return Point({**Config.from_point(_active(point)).point, **inert})

    def cost(self, block: Block) -> float:
        """See `xortune.core.trainer.Trainer`."""
        if self.bench.synthetic:
            return 1e-4
        return NetworkTrainer(self.bench.task).cost(block)

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """See `xortune.core.trainer.Trainer`."""
        return [self._train(block) for block in blocks]

    def _train(self, block: Block) -> Outcome:
        there = self.bench.train(block.point, shifted(block.seeds, self.repetition))
        return Outcome(
            np.arange(block.first, block.first + block.count),
            there.epochs,
            there.status,
            there.solved_epoch,
            there.final_loss,
            there.predictions,
            details=there.details,
        )

    def describe(self) -> dict[str, str]:
        """See `xortune.core.trainer.Trainer`."""
        # With parameters that no network has, none can be made of its configs.
        return {**NetworkTrainer(self.bench.task).describe(), "trainer": "benchmark"}


def shifted(seeds: Sequence[int], repetition: int) -> list[int]:
    """The seeds as a repetition has them."""
    return [seed + repetition * SHIFT for seed in seeds]


def _active(point: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in point.items() if not name.startswith(INERT)}


def _judged(task: Task, solved: np.ndarray, seeds: Sequence[int], epochs: int) -> Outcome:
    right = task.judged_targets[:, 0] > 0.5
    count = len(solved)
    return Outcome.judge(
        task,
        seeds=np.asarray(seeds, np.int64),
        epochs=epochs,
        predictions=solved[:, None] & right,
        finite=np.ones(count, np.bool_),
        solved_epoch=np.full(count, epochs // 2, np.int32),
        final_loss=np.where(solved, 0.0, 0.25).astype(np.float32),
    )


def _shipped(name: str) -> str:
    """The parameters of a space file in search_spaces/, and its epochs."""
    text = (Path(__file__).parents[2] / "search_spaces" / name).read_text(encoding="utf-8")
    kept = text.partition("\nsearch:")[0]
    return f"{kept}\n{_REST}"


_REST = "search: {trials: 200}\nseeds: {race: {alpha: 0.05, max: 512}}\n"

_PARITY_3 = """
name: parity-3
task: parity-3
epochs: 500
parameters:
  activation: {choice: [ReLU, ELU, Tanh, Sigmoid]}
  loss: {choice: [MSELoss, BCELoss]}
  optimizer: {choice: [SGD, Adam, RMSprop]}
  lr: {low: 1.0e-4, high: 1.0, log: true}
  momentum: {low: 0.0, high: 0.99, when: {optimizer: [SGD, RMSprop]}}
  hidden_dim: {low: 3, high: 24, log: true}
"""

_PARITY_4 = """
name: parity-4
task: parity-4
epochs: 300
parameters:
  activation: {choice: [ReLU, ELU, Tanh, Sigmoid]}
  loss: {choice: [MSELoss, BCELoss]}
  optimizer: {choice: [SGD, Adam, RMSprop]}
  lr: {low: 1.0e-4, high: 1.0, log: true}
  momentum: {low: 0.0, high: 0.99, when: {optimizer: [SGD, RMSprop]}}
  hidden_dim: {low: 4, high: 32, log: true}
"""

_NARROW = """
name: narrow
task: xor
epochs: 60
parameters:
  activation: {choice: [ELU, Tanh, Softsign]}
  loss: {choice: [MSELoss, BCELoss]}
  optimizer: Adam
  lr: {low: 0.01, high: 1.0, log: true}
  hidden_dim: {low: 2, high: 4}
"""

_RARE = """
name: rare
task: xor
epochs: 50
parameters:
  activation: {choice: [ReLU, ELU, Tanh, Sigmoid, Softplus, Hardshrink, Softmin, LogSigmoid]}
  loss: {choice: [MSELoss, BCELoss, L1Loss, SmoothL1Loss, HingeEmbeddingLoss, PoissonNLLLoss]}
  optimizer: {choice: [SGD, ASGD, Adagrad, Adam, RMSprop]}
  lr: {low: 1.0e-6, high: 100.0, log: true}
  momentum: {low: 0.0, high: 0.99, when: {optimizer: [SGD, RMSprop]}}
  hidden_dim: {low: 2, high: 10}
"""

_WIDE = """
name: wide
task: xor
epochs: 100
parameters:
  activation: {choice: [ReLU, ELU, Tanh, Sigmoid, Softplus, SiLU, GELU, Softsign]}
  loss: {choice: [MSELoss, BCELoss, L1Loss, SmoothL1Loss, SoftMarginLoss]}
  optimizer: {choice: [SGD, Adam, RMSprop, Adagrad, Rprop, NAdam]}
  lr: {low: 1.0e-4, high: 10.0, log: true}
  momentum: {low: 0.0, high: 0.99, when: {optimizer: [SGD, RMSprop]}}
  hidden_dim: {low: 2, high: 8}
  zero_grad: {choice: [true, false]}
  inert_decay: {low: 1.0e-6, high: 0.1, log: true}
  inert_warmup: {low: 0, high: 50}
  inert_dropout: {low: 0.0, high: 0.5}
  inert_smoothing: {low: 0.0, high: 0.3}
  inert_schedule: {choice: [constant, linear, cosine, step]}
  inert_clip: {low: 0.01, high: 10.0, log: true}
"""

_SYNTHETIC = """
name: synthetic
epochs: 100
parameters:
  kind: {choice: [a, b, c, d]}
  x: {low: 0, high: 40}
  y: {low: 0, high: 40}
  z: {low: 0, high: 10}
"""

SPACES = {
    bench.name: bench
    for bench in (
        BenchSpace("xor", "search_spaces/xor.yaml as shipped", _shipped("xor.yaml")),
        BenchSpace("parity-3", "parity of 3 bits, 500 epochs", _PARITY_3 + _REST),
        BenchSpace("parity-4", "parity of 4 bits, 300 epochs", _PARITY_4 + _REST),
        BenchSpace(
            "narrow", "XOR in 60 epochs, 2 to 4 units: most rates near the best", _NARROW + _REST
        ),
        BenchSpace("rare", "XOR in 50 epochs, nearly all settings useless", _RARE + _REST),
        BenchSpace(
            "wide", "XOR in 100 epochs, 13 parameters, 6 of them without effect", _WIDE + _REST
        ),
        BenchSpace("synthetic", "a table of known rates", _SYNTHETIC + _REST, synthetic=True),
        BenchSpace("cartpole", "examples/cartpole as counted", "", synthetic=True, table=True),
        *(
            BenchSpace(name, f"a table of {kind}'s", "", synthetic=True, table=True)
            for name, kind in tables.NAMES.items()
        ),
    )
}
