"""The reference engine: all seeds of a configuration train as one stacked torch model.

What it computes for seed s is what the plain loop computes after ``torch.manual_seed(s)``: the same
initial weights bit for bit, the same loss, the same optimizer step. Activation, loss and optimizer
are torch's own; the two linear layers are written out, forward and
backward, because autograd's bookkeeping would cost twice what the arithmetic does.

No seed influences another, and the outcome of a seed does not depend, to the last bit, on which
others train beside it: every operation is elementwise in the seeds, sums are written out over the
inputs (a BLAS may choose another order of summation for another number of seeds), and seeds lie
innermost in memory, padded to whole vector registers (torch computes the last few elements of a
tensor with scalar code that rounds differently). So S is the last axis inside this module, and the
first one in all that leaves it.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from xortune.core.config import MOMENTUM_OPTIMIZERS, SOFTMAX_LIKE, Config
from xortune.core.outcome import Outcome
from xortune.core.task import Task
from xortune.trainers.limits import lanes_of

MAX_STACK = 2**15
"""Hidden activations (S x N x H) trained at once: they stay in cache, and below the size at which
torch splits an operation over threads. More seeds than that go one part after another."""

Loss = Callable[[Tensor, Tensor], Tensor]


class StackedNetwork:
    """Linear(D, H), activation, Linear(H, 1), Sigmoid, S times.

    Attributes:
        weights: shape (P, S), P = H * D + 2 * H + 1: each seed's weights, flattened in the order of
            ``nn.Sequential.parameters()``. One tensor, so that an optimizer's step is one set of
            operations and not four.
    """

    def __init__(
        self, weights: Tensor, dim: int, hidden_dim: int, activation: Callable[[Tensor], Tensor]
    ) -> None:
        self.weights, self._activation = weights, activation
        self._gradient = torch.empty_like(weights)
        self._one = torch.ones_like(weights[0])
        self._w1, self._b1, self._w2, self._b2 = _layers(weights, dim, hidden_dim)
        self._d_w1, self._d_b1, self._d_w2, self._d_b2 = _layers(self._gradient, dim, hidden_dim)

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs in [0, 1], shape (N, S), of inputs of shape (N, D)."""
        columns = inputs[:, :, None, None].unbind(1)
        before = self._b1
        for column, weight in zip(columns, self._w1.unbind(1), strict=True):
            before = torch.addcmul(before, column, weight)
        # The graph that autograd sees begins here.
        hidden = self._activation(before.requires_grad_())
        sums = (hidden * self._w2).sum(dim=1) + self._b2
        self._columns, self._before, self._hidden, self._sums = columns, before, hidden, sums
        return torch.sigmoid(sums)

    def gradient(self, losses: Tensor) -> Tensor:
        """The gradient of losses (S,) by the weights, shape (P, S): each seed's by its own.

        It stands in a buffer that the next call fills again.

        Args:
            losses: computed from the outputs of the last `forward`.
        """
        d_before, d_sums = torch.autograd.grad(losses, (self._before, self._sums), self._one)
        torch.sum(d_sums, dim=0, keepdim=True, out=self._d_b2)
        torch.sum(d_sums.unsqueeze(1) * self._hidden.detach(), dim=0, out=self._d_w2)
        torch.sum(d_before, dim=0, out=self._d_b1)
        for column, d_weight in zip(self._columns, self._d_w1.unbind(1), strict=True):
            torch.sum(d_before * column, dim=0, out=d_weight)
        return self._gradient

    def finite(self) -> Tensor:
        """bool, shape (S,): every weight is finite."""
        return self.weights.isfinite().all(dim=0)


def _layers(flat: Tensor, dim: int, hidden_dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views of (P, S): w1 (H, D, S), b1 (H, S), w2 (H, S), b2 (1, S)."""
    sizes = [hidden_dim * dim, hidden_dim, hidden_dim, 1]
    w1, b1, w2, b2 = torch.split(flat.detach(), sizes)
    return w1.view(hidden_dim, dim, -1), b1, w2, b2


def stacked(layers: Sequence[Tensor]) -> Tensor:
    """The layers of S networks, each of shape (S, ...), as `StackedNetwork.weights`."""
    return torch.cat([layer.flatten(1) for layer in layers], dim=1).T.contiguous()


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
    """The torch.nn activation of that name, acting on (N, H, S); None is the identity."""
    if name is None:
        return nn.Identity()
    kind: type[nn.Module] = getattr(nn, name)
    # Over the hidden axis, as nn.Softmax() chooses for the (N, H) of the plain network.
    return kind(dim=1) if name in SOFTMAX_LIKE else kind()


def loss_of(name: str) -> Loss:
    """The torch.nn loss of that name: outputs (N, S) and targets (N, S) to a loss (S,) per seed.

    Each seed's loss is the mean over its own rows, as the module's default reduction gives it.
    """
    each = _binary_cross_entropy if name == "BCELoss" else getattr(nn, name)(reduction="none")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if name == "MultiLabelSoftMarginLoss":  # it averages over the network's one output, too
            outputs, targets = outputs.unsqueeze(2), targets.unsqueeze(2)
        values: Tensor = each(outputs, targets)
        return values.mean(dim=0)

    return loss


def _binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    # torch raises for the whole tensor if one element is NaN (on CUDA it ends the process). One
    # seed's NaN must not stop the others, nor be repaired: it is put back afterwards, so that its
    # gradients are NaN too.
    if outputs.device.type == "cpu":
        try:
            return F.binary_cross_entropy(outputs, targets, reduction="none")
        except RuntimeError:
            pass
    nan = outputs.isnan()
    safe = F.binary_cross_entropy(outputs.masked_fill(nan, 0.5), targets, reduction="none")
    return torch.where(nan, outputs, safe)


def optimizer_of(config: Config, weights: Tensor) -> torch.optim.Optimizer:
    """The torch.optim optimizer of the config, with torch's defaults but lr and momentum."""
    kind: Callable[..., torch.optim.Optimizer] = getattr(torch.optim, config.optimizer)
    if config.optimizer in MOMENTUM_OPTIMIZERS:
        return kind([weights], lr=config.lr, momentum=config.momentum, foreach=False)
    return kind([weights], lr=config.lr, foreach=False)


class OptimizerSteps(Protocol):
    """What takes a step from ``weights.grad``, as the optimizers of torch.optim do."""

    def step(self) -> object:
        """Take it."""
        ...


def step(
    network: StackedNetwork, optimizer: OptimizerSteps, losses: Tensor, *, zero_grad: bool
) -> None:
    """One optimizer step from losses (S,) of the last `forward` of `network`."""
    gradient, weights = network.gradient(losses), network.weights
    if zero_grad:
        weights.grad = gradient
    elif weights.grad is None:
        weights.grad = gradient.clone()
    else:
        weights.grad.add_(gradient)
    optimizer.step()


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
    size = width_of(config, task)
    with one_thread():
        parts = [
            _train_stack(config, task, seeds[start : start + size], checkpoints, device)
            for start in range(0, len(seeds), size)
        ]
    return functools.reduce(Outcome.merge, parts)


def width_of(config: Config, task: Task) -> int:
    """How many seeds are trained at once on the CPU: a multiple of `limits.lanes_of`."""
    rows: int = max(task.inputs.shape[0], task.judged_inputs.shape[0])
    lanes = lanes_of(config, task)
    return max(1, MAX_STACK // (rows * config.hidden_dim * lanes)) * lanes


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread, unless OMP_NUM_THREADS says how many."""
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
    padding = np.full(-len(seeds) % lanes_of(config, task), seeds[-1])
    start = initial_weights(task.dim, config.hidden_dim, np.concatenate([seeds, padding]))
    weights = stacked(start).to(device)
    optimizer = optimizer_of(config, weights)
    outcomes: tuple[Outcome, ...] = ()
    for look in looks(config, task, weights, optimizer, checkpoints):
        earlier = outcomes if look.epochs == config.epochs else ()
        outcomes = (*outcomes, look.outcome(task, seeds, 0, earlier))  # what follows is padding
    return outcomes[-1]


@dataclass(frozen=True, eq=False)
class Look:
    """What S networks are at one epoch, with M judged rows.

    Attributes:
        epochs: trained so far.
        predictions: bool, shape (S, M): output above 0.5.
        finite: bool, shape (S,): every weight and every output is finite.
        solved_epoch: int32, shape (S,): the one after the last that was not solved.
        final_loss: float32, shape (S,).
    """

    epochs: int
    predictions: NDArray[np.bool_]
    finite: NDArray[np.bool_]
    solved_epoch: NDArray[np.int32]
    final_loss: NDArray[np.float32]

    def first(self, count: int) -> Look:
        """Of the first networks, without what is padding."""
        return Look(
            self.epochs,
            self.predictions[:count],
            self.finite[:count],
            self.solved_epoch[:count],
            self.final_loss[:count],
        )

    def outcome(
        self, task: Task, seeds: NDArray[np.int64], first: int, earlier: tuple[Outcome, ...]
    ) -> Outcome:
        """Of as many networks from `first` on as there are seeds."""
        mine = slice(first, first + len(seeds))
        return Outcome.judge(
            task,
            seeds=seeds,
            epochs=self.epochs,
            predictions=self.predictions[mine],
            finite=self.finite[mine],
            solved_epoch=self.solved_epoch[mine],
            final_loss=self.final_loss[mine],
            checkpoints=earlier,
        )


def looks(
    config: Config,
    task: Task,
    weights: Tensor,
    optimizer: OptimizerSteps,
    checkpoints: Sequence[int],
) -> Iterator[Look]:
    """Train weights (P, S) and look at them at each checkpoint and after the last epoch.

    Args:
        config: all of it but lr and momentum, which are the optimizer's affair.
        task: what to learn.
        weights: the networks' before the first step; trained in place.
        optimizer: steps from ``weights.grad``.
        checkpoints: earlier epochs to look at.
    """
    device = weights.device
    activation = activation_of(config.activation)
    network = StackedNetwork(weights, task.dim, config.hidden_dim, activation)
    loss_function = loss_of(config.loss)
    inputs, targets = _on(device, task.inputs, task.targets)
    targets = targets.expand(-1, weights.shape[1]).contiguous()
    judge = _Judge(task, weights.shape[1], device)
    stops = {*checkpoints, config.epochs}
    for epoch in range(config.epochs + 1):  # the last pass only looks at the final weights
        if epoch and task.held_out_inputs is not None:
            judge.see(epoch, network.forward(judge.inputs))
        outputs = network.forward(inputs)
        if epoch and task.held_out_inputs is None:
            judge.see(epoch, outputs)
        losses = loss_function(outputs, targets)
        if epoch in stops:
            yield judge.look(epoch, network, losses.detach())
        if epoch < config.epochs:
            step(network, optimizer, losses, zero_grad=config.zero_grad)


class _Judge:
    """Watches a training: since when each seed has been solved, and what it says now."""

    def __init__(self, task: Task, count: int, device: torch.device) -> None:
        self._task = task
        self.inputs, targets = _on(device, task.judged_inputs, task.judged_targets)
        self._ones = targets > 0.5
        # One number for each seed is kept from epoch to epoch: the last one that was not solved.
        self._unsolved = torch.zeros(count, dtype=torch.int32, device=device)

    def see(self, epoch: int, outputs: Tensor) -> None:
        self._outputs = outputs.detach()
        # An output that is NaN is on neither side, and so never right.
        right = torch.where(self._ones, self._outputs > 0.5, self._outputs <= 0.5)
        if self._task.rows_needed == right.shape[0]:
            solved = right.all(dim=0)
        else:
            solved = right.sum(dim=0) >= self._task.rows_needed
        self._unsolved.masked_fill_(~solved, epoch)

    def look(self, epoch: int, network: StackedNetwork, losses: Tensor) -> Look:
        finite = self._outputs.isfinite().all(dim=0) & network.finite()
        return Look(
            epoch,
            predictions=(self._outputs > 0.5).T.cpu().numpy(),
            finite=finite.cpu().numpy(),
            solved_epoch=(self._unsolved + 1).cpu().numpy(),
            final_loss=losses.cpu().numpy(),
        )


def _on(
    device: torch.device, inputs: NDArray[np.float32], targets: NDArray[np.float32]
) -> tuple[Tensor, Tensor]:
    # Copies: torch does not take the task's read-only arrays.
    return torch.tensor(inputs, device=device), torch.tensor(targets, device=device)
