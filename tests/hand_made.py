"""Hand-made runs for the tests of the run directory and the reports."""

from functools import cache

import numpy as np

from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal
from xortune.runs.run import Run, create, load_run
from xortune.runs.store import JOURNAL

XOR = Task.xor()
RIGHT, WRONG, ZERO, ONE = (0, 1, 1, 0), (0, 1, 1, 1), (0, 0, 0, 0), (1, 1, 1, 1)

CONFIG = {
    "activation": "Tanh",
    "loss": "MSELoss",
    "optimizer": "Adam",
    "lr": 0.03,
    "hidden_dim": 5,
    "epochs": 1000,
    "zero_grad": True,
}

TINY_SPACE = """
name: tiny
epochs: 30
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: MSELoss
  optimizer: Adam
  lr: {low: 0.01, high: 0.1, log: true}
  hidden_dim: 3
search: {sampler: random, trials: 3}
seeds: {ladder: [4]}
"""


def outcome(first, rows, *, diverged=(), epoch=300, epochs=1000):
    """An XOR outcome: one prediction row for each seed; `diverged` lists positions."""
    count = len(rows)
    finite = np.ones(count, dtype=bool)
    finite[list(diverged)] = False
    return Outcome.judge(
        XOR,
        seeds=np.arange(first, first + count),
        epochs=epochs,
        predictions=np.array(rows, dtype=bool),
        finite=finite,
        solved_epoch=np.full(count, epoch, dtype=np.int32),
        final_loss=np.linspace(0, 1, count, dtype=np.float32),
    )


@cache
def solved(first, k, n, **more):
    """The first k of n seeds solved, the others with the wrong pattern 0111. It is read-only."""
    return outcome(first, [RIGHT] * k + [WRONG] * (n - k), **more)


def done(proposal, point, result):
    block = Block(Point(point), int(result.seeds[0]), result.n)
    return Evaluation(proposal, block, result, None, True, 0.5, "host:1")


def failed(proposal, point, first, count, *, error="it broke", final=True):
    block = Block(Point(point), first, count)
    return Evaluation(proposal, block, None, error, final, 0.25, "host:2")


def append(path, *evaluations):
    with Journal(path / JOURNAL) as journal:
        for evaluation in evaluations:
            journal.append(evaluation)


def write_run(path, evaluations, *, space_text="name: test\n", **manifest) -> Run:
    create(path, space_text=space_text, manifest=manifest)
    append(path, *evaluations)
    return load_run(path)


def tiny_run(path, outcomes=(), *, lines=None, **manifest) -> Run:
    """A finished run of `TINY_SPACE`: a line for each outcome, or the lines given."""
    point = {**CONFIG, "hidden_dim": 3, "epochs": 30}
    points = [{**point, "lr": lr} for lr in (0.02, 0.05, 0.09)]
    given = {"trainer": "network", "task": "xor", "task_fingerprint": XOR.fingerprint}
    given |= {"name": "tiny", "sampler": "random", "seed": 0, "trials": 3, "ladder": [4]}
    given |= {"window": None, "complete": True}
    lines = lines or [done(i, points[i], outcome) for i, outcome in enumerate(outcomes)]
    return write_run(path, lines, space_text=TINY_SPACE, **given | manifest)
