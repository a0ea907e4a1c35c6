"""The reference engine: all seeds of a configuration train as one stacked torch model.

What it computes for seed s is what the plain loop computes after ``torch.manual_seed(s)``: the same
initial weights bit for bit, the same loss, the same optimizer step. Every tensor leads with the
seed axis S and every operation is elementwise in it, so that no seed can influence another and the
outcome of a seed does not depend, to the last bit, on which others train beside it. For that reason
the two layers are sums of products written out over the (few) inputs (a BLAS may choose another
order of summation for another number of seeds), and seeds are padded to whole vector registers
(torch computes the last few elements of a tensor with scalar code that rounds differently).
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from xortune.config import MOMENTUM_OPTIMIZERS, SOFTMAX_LIKE, Config
from xortune.outcome import Outcome
from xortune.task import Task

__all__ = ["StackedNetwork", "initial_weights", "train"]

MAX_STACK = 2**15
"""Hidden activations (S x N x H) trained at once: they stay in cache, and below the size at which
torch splits an operation over threads. More seeds than that go one part after another."""

LANES = 64
"""Seeds are padded to a multiple of this: two AVX-512 registers of float32, twice."""

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StackedNetwork:
    """Linear(D, H), activation, Linear(H, 1), Sigmoid, S times.

    Attributes:
        w1: shape (S, H, D); b1: shape (S, H); w2: shape (S, 1, H); b2: shape (S, 1): the weights
            and biases of the two layers, each seed's as torch.nn.Linear holds them.
        activation: maps (S, N, H) to the same shape.
    """

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    activation: Callable[[Tensor], Tensor]

    @property
    def parameters(self) -> list[Tensor]:
        """The four tensors, in the order of ``nn.Sequential.parameters()``."""
        return [self.w1, self.b1, self.w2, self.b2]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs in [0, 1], shape (S, N), of inputs of shape (N, D)."""
        hidden = self.b1[:, None, :]
        for d in range(inputs.shape[1]):
            hidden = hidden + inputs[None, :, d, None] * self.w1[:, None, :, d]
        return torch.sigmoid((self.activation(hidden) * self.w2).sum(dim=2) + self.b2)

    def finite(self) -> Tensor:
        """bool, shape (S,): every weight is finite."""
        each = [
            parameter.detach().isfinite().flatten(1).all(dim=1) for parameter in self.parameters
        ]
        return torch.stack(each).all(dim=0)


def initial_weights(
    dim: int, hidden_dim: int, seeds: NDArray[np.int64]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights that ``nn.Linear`` draws after ``torch.manual_seed(s)``, for each seed.

    Returns:
        w1 (S, H, D), b1 (S, H), w2 (S, 1, H), b2 (S, 1), float32 on the CPU. torch's default
        generator is left untouched.

    Source: ``torch.nn.Linear.reset_parameters`` (uniform in +-1/sqrt(fan_in), weight before bias).
    """
    count = len(seeds)
    w1, b1 = torch.empty(count, hidden_dim, dim), torch.empty(count, hidden_dim)
    w2, b2 = torch.empty(count, 1, hidden_dim), torch.empty(count, 1)
    generator = torch.Generator()
    for index, seed in enumerate(seeds.tolist()):
        generator.manual_seed(seed)
        for weight, bias in ((w1[index], b1[index]), (w2[index], b2[index])):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
            bound = 1 / math.sqrt(weight.shape[1])
            nn.init.uniform_(bias, -bound, bound, generator=generator)
    return w1, b1, w2, b2


def activation_of(name: str | None) -> Callable[[Tensor], Tensor]:
    """The torch.nn activation of that name, acting on (S, N, H); None is the identity."""
    if name is None:
        return nn.Identity()
    kind: type[nn.Module] = getattr(nn, name)
    # Over the hidden axis, as nn.Softmax() chooses for the (N, H) of the plain network.
    return kind(dim=-1) if name in SOFTMAX_LIKE else kind()


def loss_of(name: str) -> Loss:
    """The torch.nn loss of that name: outputs (S, N) and targets (S, N) to a loss (S,) per seed.

    Each seed's loss is the mean over its own rows, as the module's default reduction gives it.
    """
    # The trailing axis is the network's one output: MultiLabelSoftMarginLoss averages over it.
    each = _binary_cross_entropy if name == "BCELoss" else getattr(nn, name)(reduction="none")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        values: Tensor = each(outputs.unsqueeze(2), targets.unsqueeze(2))
        return values.flatten(1).mean(dim=1)

    return loss


def _binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    # torch raises for the whole tensor if one element is NaN. One seed's NaN must not stop the
    # others, nor be repaired: it is put back afterwards, so that its gradients are NaN too.
    nan = outputs.isnan()
    safe = F.binary_cross_entropy(outputs.masked_fill(nan, 0.5), targets, reduction="none")
    return torch.where(nan, outputs, safe)


def optimizer_of(config: Config, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """The torch.optim optimizer of the config, with torch's defaults but lr and momentum."""
    kind: Callable[..., torch.optim.Optimizer] = getattr(torch.optim, config.optimizer)
    if config.optimizer in MOMENTUM_OPTIMIZERS:
        return kind(parameters, lr=config.lr, momentum=config.momentum)
    return kind(parameters, lr=config.lr)


def train(
    config: Config,
    task: Task,
    seeds: NDArray[np.int64],
    checkpoints: Sequence[int] = (),
    *,
    device: str = "cpu",
) -> Outcome:
    """Train every seed for `config.epochs` epochs.

    Args:
        config: what to train.
        task: what to learn.
        seeds: int64, shape (S,), each in [0, 2**32) and once.
        checkpoints: earlier epochs at which to record an outcome too.
        device: where torch trains; the initial weights are the CPU's in any case.
    """
    rows = max(task.inputs.shape[0], task.judged_inputs.shape[0])
    size = max(1, MAX_STACK // (rows * config.hidden_dim * LANES)) * LANES
    with _one_thread():
        parts = [
            _train_stack(config, task, seeds[start : start + size], checkpoints, device)
            for start in range(0, len(seeds), size)
        ]
    return functools.reduce(Outcome.merge, parts)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Threads would split a tensor at places that depend on how many seeds it holds; and a search
    # gives each core a training of its own. Whoever sets OMP_NUM_THREADS has the last word.
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_stack(
    config: Config, task: Task, seeds: NDArray[np.int64], checkpoints: Sequence[int], device: str
) -> Outcome:
    padding = np.full(-len(seeds) % LANES, seeds[-1])
    start = initial_weights(task.dim, config.hidden_dim, np.concatenate([seeds, padding]))
    w1, b1, w2, b2 = (weight.to(device).requires_grad_() for weight in start)
    network = StackedNetwork(w1, b1, w2, b2, activation_of(config.activation))
    optimizer = optimizer_of(config, network.parameters)
    loss_function = loss_of(config.loss)
    inputs, targets = _on(device, task.inputs, task.targets)
    targets = targets.expand(len(w1), -1)
    judge = _Judge(task, seeds, device)
    outcomes: list[Outcome] = []
    stops = {*checkpoints, config.epochs}
    for epoch in range(config.epochs + 1):  # the last pass only looks at the final weights
        outputs = network(inputs)
        losses = loss_function(outputs, targets)
        if epoch:
            judge.see(epoch, network, outputs.detach())
        if epoch in stops:
            outcomes.append(judge.outcome(epoch, network, losses.detach(), tuple(outcomes)))
        if epoch < config.epochs:
            if config.zero_grad:
                optimizer.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return outcomes[-1]


class _Judge:
    """Watches a training: since when each seed has been solved, and what it says now."""

    def __init__(self, task: Task, seeds: NDArray[np.int64], device: str) -> None:
        self._task, self._seeds = task, seeds
        self._inputs, self._targets = _on(device, task.judged_inputs, task.judged_targets > 0.5)
        self._start = torch.zeros(1, dtype=torch.int32, device=device)

    def see(self, epoch: int, network: StackedNetwork, outputs: Tensor) -> None:
        if self._task.held_out_inputs is not None:
            with torch.no_grad():
                outputs = network(self._inputs)
        self._above, self._finite = outputs > 0.5, outputs.isfinite().all(dim=1)
        right = (self._above == self._targets).sum(dim=1) >= self._task.rows_needed
        began = self._start.masked_fill(self._start == 0, epoch)
        self._start = began.masked_fill(~(right & self._finite), 0)

    def outcome(
        self, epoch: int, network: StackedNetwork, losses: Tensor, earlier: tuple[Outcome, ...]
    ) -> Outcome:
        count = len(self._seeds)  # what follows them is padding
        return Outcome.judge(
            self._task,
            seeds=self._seeds,
            epochs=epoch,
            predictions=self._above[:count].cpu().numpy(),
            finite=(self._finite & network.finite())[:count].cpu().numpy(),
            solved_epoch=self._start[:count].cpu().numpy(),
            final_loss=losses[:count].cpu().numpy(),
            checkpoints=earlier,
        )


def _on(
    device: str, inputs: NDArray[np.float32], targets: NDArray[np.generic]
) -> tuple[Tensor, Tensor]:
    # Copies: torch does not take the task's read-only arrays.
    return (
        torch.tensor(inputs, device=device),
        torch.tensor(targets[:, 0], device=device),
    )
