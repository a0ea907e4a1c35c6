"""What posted scripts do and no `Config` says: stopping at a loss; two rules step beside step.

Stacked torch as in the reference engine, whose parts these are made of. S is the last axis inside,
and the first one in all that is returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xortune.config import Config
from xortune.engine.reference import (
    LANES,
    Loss,
    StackedNetwork,
    activation_of,
    initial_weights,
    loss_of,
    one_thread,
    optimizer_of,
    stacked,
    step,
)
from xortune.outcome import status_of
from xortune.task import Task

__all__ = ["Stopped", "same_weights", "train_until"]

STACK = 50 * LANES
"""Seeds trained at once: torch's dispatch costs little then, and they stay in the cache."""


@dataclass(frozen=True, eq=False)
class Stopped:
    """S seeds, each trained until its loss was small enough, or to the last epoch.

    Attributes:
        status: uint8, shape (S,): a `Status` for each seed.
        steps: int32, shape (S,): the steps that it took.
    """

    status: NDArray[np.uint8]
    steps: NDArray[np.int32]


def train_until(config: Config, task: Task, seeds: NDArray[np.int64], stop_loss: float) -> Stopped:
    """Train every seed for `config.epochs` epochs, or until the loss before a step is too small.

    Args:
        config: what to train.
        task: without held-out rows.
        seeds: int64, shape (S,), each in [0, 2**32) and once.
        stop_loss: the last step was taken if the loss of a seed is below this.
    """
    with one_thread():
        parts = [_train_until(config, task, part, stop_loss) for part in _parts(seeds)]
    return Stopped(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def same_weights(
    config: Config, other: Config, task: Task, seeds: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """bool, shape (S,): whether both configs have the same weights, bit by bit, after each step.

    Args:
        config: one way of training.
        other: another one, of the same hidden_dim and as many epochs.
        task: what to learn.
        seeds: int64, shape (S,), each in [0, 2**32) and once.
    """
    assert (config.hidden_dim, config.epochs) == (other.hidden_dim, other.epochs)
    with one_thread():
        return np.concatenate([_same_weights(config, other, task, p) for p in _parts(seeds)])


def _parts(seeds: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [seeds[first : first + STACK] for first in range(0, len(seeds), STACK)]


def _train_until(
    config: Config, task: Task, seeds: NDArray[np.int64], stop_loss: float
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    training = _Training.of(config, task, seeds)
    kept = torch.zeros(training.targets.shape)
    finite = torch.zeros(kept.shape[1], dtype=torch.bool)
    steps = torch.full(finite.shape, -1, dtype=torch.int32)
    for epoch in range(config.epochs + 1):
        outputs, losses = training.look()
        # Other seeds go on, and so do the weights of this one: what it had now is what counts.
        ends = losses.detach() < stop_loss if epoch < config.epochs else steps < 0
        ends &= steps < 0
        if ends.any():
            kept = torch.where(ends, outputs.detach(), kept)
            finite |= ends & outputs.isfinite().all(dim=0) & training.network.finite()
            steps.masked_fill_(ends, epoch)
        if epoch < config.epochs:
            training.step(losses)
    count = len(seeds)
    predictions = (kept > 0.5).T[:count].numpy()
    return status_of(task, predictions, finite[:count].numpy()), steps[:count].numpy()


def _same_weights(
    config: Config, other: Config, task: Task, seeds: NDArray[np.int64]
) -> NDArray[np.bool_]:
    pair = [_Training.of(one, task, seeds) for one in (config, other)]
    same = torch.ones(pair[0].network.weights.shape[1], dtype=torch.bool)
    for _ in range(config.epochs):
        for training in pair:
            training.step(training.look()[1])
        mine, theirs = (training.network.weights.detach() for training in pair)
        same &= (mine.view(torch.int32) == theirs.view(torch.int32)).all(dim=0)
        if not same.any():
            break
    return same[: len(seeds)].numpy()


@dataclass(frozen=True, eq=False)
class _Training:
    """S networks between two steps; inputs (N, D) and targets (N, S)."""

    network: StackedNetwork
    inputs: Tensor
    targets: Tensor
    loss: Loss
    step: Callable[[Tensor], None]

    @classmethod
    def of(cls, config: Config, task: Task, seeds: NDArray[np.int64]) -> _Training:
        padded = np.concatenate([seeds, np.full(-len(seeds) % LANES, seeds[-1])])
        weights = stacked(initial_weights(task.dim, config.hidden_dim, padded))
        activation = activation_of(config.activation)
        network = StackedNetwork(weights, task.dim, config.hidden_dim, activation)
        optimizer = optimizer_of(config, weights)

        def one_step(losses: Tensor) -> None:
            step(network, optimizer, losses, zero_grad=config.zero_grad)

        targets = torch.tensor(task.targets).expand(-1, weights.shape[1]).contiguous()
        return cls(network, torch.tensor(task.inputs), targets, loss_of(config.loss), one_step)

    def look(self) -> tuple[Tensor, Tensor]:
        """Outputs (N, S) and losses (S,) of the weights as they are."""
        outputs = self.network.forward(self.inputs)
        return outputs, self.loss(outputs, self.targets)
