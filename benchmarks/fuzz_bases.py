"""The run directories that fuzz.py mutates: certified, of one's own trainer, with a front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import xortune as xt
from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block, Trainer
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal
from xortune.runs.run import create
from xortune.runs.store import JOURNAL

__all__ = ["SPACE", "Fake", "base_runs"]


class Fake(Trainer):
    """A trainer that trains nothing: half of its seeds are solved, or none has an outcome."""

    def check(self, point: Point) -> Point:
        return point

    def cost(self, block: Block) -> float:
        return 1e-6 * block.count

    def describe(self) -> dict[str, str]:
        return {"trainer": "network", "task": "xor", "task_fingerprint": Task.xor().fingerprint}

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        return [
            TrainingError("too hot")
            if block.point.get("lr") == 0.5
            else outcome(block.first, block.count, block.count // 2)
            for block in blocks
        ]


def outcome(first: int, n: int, k: int, rows: tuple[int, ...] = (0, 1, 1, 1)) -> Outcome:
    right = [(0, 1, 1, 0)] * k + [rows] * (n - k)
    return Outcome.judge(
        Task.xor(),
        seeds=np.arange(first, first + n),
        epochs=30,
        predictions=np.array(right, dtype=bool),
        finite=np.arange(n) != n - 2,
        solved_epoch=np.full(n, 9, dtype=np.int32),
        final_loss=np.linspace(0, 1, n, dtype=np.float32),
    )


SPACE = """name: small
epochs: 30
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: MSELoss
  optimizer: {choice: [Adam, SGD]}
  lr: {low: 0.01, high: 0.6, log: true}
  momentum: {low: 0.0, high: 0.9, when: {optimizer: SGD}}
  hidden_dim: {low: 2, high: 5}
search: {sampler: random, trials: 6}
seeds: {ladder: [4, 8], certify: 20}
"""


def base_runs(folder: Path) -> list[Path]:
    """A certified run of the built-in network, and one of somebody's own trainer."""
    made = []
    for name in ("network", "own", "front"):
        path = folder / name
        manifest: dict[str, Any] = {
            "name": name,
            "trainer": "own" if name == "own" else "network",
            "task": "xor",
            "task_fingerprint": Task.xor().fingerprint,
            "engine": "reference",
            "trials": 6,
            "ladder": [4, 8],
            "started": "2026-01-02T03:04:05+00:00",
            "space_file": str(folder / "small.yaml"),
            "command": ["xortune", "search", "small.yaml"],
            "versions": {"python": "3.12", "torch": "2.13.0"},
            "importance": {"lr": 0.7, "activation": 0.3},
            "complete": True,
            "stopped": "interrupted by the user",
            "proven": {"key": "0123456789abcdef", "rate": 0.99},
            "not_certified": {"why": "no time", "command": "xortune certify X", "seconds": 100.0},
        }
        if name == "front":
            rate = {"name": "success_rate", "direction": "maximize"}
            manifest["objectives"] = [rate, {"name": "hidden_dim", "direction": "minimize"}]
        create(path, space_text=SPACE, manifest=manifest)
        with Journal(path / JOURNAL) as journal:
            for line in evaluations(name):
                journal.append(line)
        if name != "own":
            xt.certify(path, top=2, seeds=20, trainer=Fake(), accept_versions=True, workers=0)
        xt.write_report(xt.load_run(path))
        made.append(path)
    return made


def evaluations(name: str) -> Iterator[Evaluation]:
    for number in range(6):
        values: dict[str, Any] = {
            "activation": ["Tanh", "ReLU", None][number % 3],
            "loss": "MSELoss",
            "optimizer": "Adam",
            "lr": 0.01 * 2**number,
            "hidden_dim": 2 + number % 3,
            "epochs": 30,
            "zero_grad": True,
        }
        if name == "own":
            values = {"kind": "ab"[number % 2], "on": number % 2 == 0, "depth": number, "k": 1.5}
        point = Point(values)
        first = Block(point, 0, 4)
        yield Evaluation(number, first, outcome(0, 4, number % 5), None, True, 0.5, "host:1")
        second = Block(point, 4, 4)
        if number == 2:
            yield Evaluation(number, second, None, "too hot", False, 0.1, "host:2")
            yield Evaluation(number, second, None, "too hot", True, 0.1, "host:2")
        elif number > 2:
            yield Evaluation(number, second, outcome(4, 4, 3), None, True, 0.5, "host:1")
