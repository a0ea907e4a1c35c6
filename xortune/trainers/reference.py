"""The reference engine: the built-in network in torch, on the CPU or on a GPU.

All seeds of a configuration train as one stacked torch model. What it computes for seed s is what
the plain loop computes after ``torch.manual_seed(s)``: the same initial weights bit for bit, the
same loss, the same optimizer step. Activation, loss and optimizer are torch's own; the two linear
layers are written out, forward and backward, because autograd's bookkeeping would cost twice what
the arithmetic does.

The outcome of a seed does not depend, to the last bit, on which others train beside it: every
operation is elementwise in the seeds, sums are written out over the inputs (a BLAS may choose
another order of summation for another number of seeds), and seeds lie innermost in memory, padded
to whole vector registers (torch computes the last few elements of a tensor with scalar code that
rounds differently). So S is the last axis inside this module, and the first one in all that leaves
it.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from xortune.core.config import MOMENTUM_OPTIMIZERS, SOFTMAX_LIKE, Config
from xortune.core.outcome import Outcome
from xortune.core.task import Task
from xortune.trainers.limits import (
    LANES,
    Training,
    bytes_of,
    lanes_of,
    weights_of,
)

logger = logging.getLogger("xortune.trainers")

MAX_STACK = 2**15
"""Hidden activations (S x N x H) trained at once: they stay in cache, and below the size at which
torch splits an operation over threads. More seeds than that go one part after another."""


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

        `losses` come from the outputs of the last `forward`. The next call overwrites the result.
        """
        d_before, d_sums = torch.autograd.grad(losses, (self._before, self._sums), self._one)
        torch.sum(d_sums, dim=0, keepdim=True, out=self._d_b2)
        torch.sum(d_sums.unsqueeze(1) * self._hidden.detach(), dim=0, out=self._d_w2)
        torch.sum(d_before, dim=0, out=self._d_b1)
        for column, d_weight in zip(self._columns, self._d_w1.unbind(1), strict=True):
            torch.sum(d_before * column, dim=0, out=d_weight)
        return self._gradient


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


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The torch.nn loss of that name, of outputs and targets of shape (N, S).

    It returns shape (S,): each seed's mean over its own rows, as the module's default reduction
    gives it.
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
    # seed's NaN must neither stop the others nor be repaired: the end puts it back, so that its
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


def _step(
    network: StackedNetwork,
    optimizer: torch.optim.Optimizer,
    losses: Tensor,
    *,
    zero_grad: bool,
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
    config: Config, task: Task, seeds: NDArray[np.int64], checkpoints: Sequence[int] = ()
) -> Outcome:
    """Train one config on the CPU, as `train_seeds` does."""
    return train_seeds(Training(config, seeds, tuple(checkpoints)), task)


def width_of(config: Config, task: Task) -> int:
    """Number of seeds that train at once on the CPU, a multiple of `limits.lanes_of`."""
    rows: int = max(task.inputs.shape[0], task.judged_inputs.shape[0])
    lanes = lanes_of(config, task)
    return max(1, MAX_STACK // (rows * config.hidden_dim * lanes)) * lanes


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, unless OMP_NUM_THREADS sets the number.

    Threads would split a tensor at places that depend on how many seeds it holds; and a search
    gives each core a training of its own.
    """
    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Record: TypeAlias = dict[str, NDArray[Any]]
"""The state of S networks after an epoch, with M judged rows.

- predictions: bool, shape (S, M): output above 0.5.
- finite: bool, shape (S,): every weight and every output is finite.
- solved_epoch: int32, shape (S,): the epoch after the last one that was not solved.
- final_loss: float32, shape (S,).
"""


def run_epochs(
    config: Config,
    task: Task,
    weights: Tensor,
    optimizer: torch.optim.Optimizer,
    checkpoints: Sequence[int],
) -> Iterator[Record]:
    """Train weights (P, S); yield their state at each checkpoint and after the last epoch.

    Args:
        config: what to train.
        task: what to learn.
        weights: the initial weights; trained in place.
        optimizer: of the weights.
        checkpoints: earlier epochs to record.
    """
    device = weights.device
    activation = activation_of(config.activation)
    network = StackedNetwork(weights, task.dim, config.hidden_dim, activation)
    loss_function = loss_of(config.loss)
    inputs, targets = _on(device, task.inputs, task.targets)
    targets = targets.expand(-1, weights.shape[1]).contiguous()
    judge = _Judge(task, weights.shape[1], device)
    stops = {*checkpoints, config.epochs}
    for epoch in range(config.epochs + 1):  # the last pass only records the final weights
        if epoch and task.held_out_inputs is not None:
            judge.see(epoch, network.forward(judge.inputs))
        outputs = network.forward(inputs)
        if epoch and task.held_out_inputs is None:
            judge.see(epoch, outputs)
        losses = loss_function(outputs, targets)
        if epoch in stops:
            yield judge.record(network, losses.detach())
        if epoch < config.epochs:
            _step(network, optimizer, losses, zero_grad=config.zero_grad)


class _Judge:
    """Keeps the last outputs of each seed, and since when it has been solved."""

    def __init__(self, task: Task, count: int, device: torch.device) -> None:
        self._task = task
        self.inputs, targets = _on(device, task.judged_inputs, task.judged_targets)
        self._ones = targets > 0.5
        # The last epoch at which a seed was not solved.
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

    def record(self, network: StackedNetwork, losses: Tensor) -> Record:
        weights_finite = network.weights.isfinite().all(dim=0)
        found = {
            "predictions": (self._outputs > 0.5).T,
            "finite": self._outputs.isfinite().all(dim=0) & weights_finite,
            "solved_epoch": self._unsolved + 1,
            "final_loss": losses,
        }
        return {name: tensor.cpu().numpy() for name, tensor in found.items()}


def _on(
    device: torch.device, inputs: NDArray[np.float32], targets: NDArray[np.float32]
) -> tuple[Tensor, Tensor]:
    # Copies: torch does not take the task's read-only arrays.
    return torch.tensor(inputs, device=device), torch.tensor(targets, device=device)


# -------------------------------------------------------------------------------------------------
# The seeds of a configuration, in parts that fit into the cache or the memory of a GPU.

GPU_MEMORY_SHARE = 0.8
"""The fraction of a GPU's free memory that a stack may take."""

MOST_ELEMENTS = 2**31 - 1
"""Maximum size of a tensor: torch's kernels index larger ones with 64 bits, and are slower."""


def width_on(device: str, config: Config, task: Task, share: float = 1.0) -> int:
    """Number of networks that fit into a GPU's free memory, a multiple of `LANES`.

    Args:
        device: of CUDA.
        config: what is trained.
        task: what is learned.
        share: the fraction of the GPU that this process may use.
    """
    free, total = torch.cuda.mem_get_info(device)
    # torch keeps the memory of earlier trainings, and uses it again.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    memory = int(GPU_MEMORY_SHARE * min(free, share * total))
    rows: int = max(task.inputs.shape[0], task.judged_inputs.shape[0])
    most = MOST_ELEMENTS // max(rows * config.hidden_dim, weights_of(config, task))
    return max(1, min(memory // bytes_of(config, task), most) // LANES) * LANES


def train_seeds(
    training: Training,
    task: Task,
    *,
    device: str = "cpu",
    gpu_share: float = 1.0,
    width: int | None = None,
) -> Outcome:
    """Train the seeds of a configuration, as many at once as fit.

    Where a part does not fit into memory, half of it is trained instead, with a warning.

    Args:
        training: what to train.
        task: what to learn.
        device: where torch trains.
        gpu_share: the fraction of the GPU's memory that this process may use.
        width: number of networks to train at once; by default what fits.

    Raises:
        torch.OutOfMemoryError: not even `LANES` networks fit.
    """
    config, seeds = training.config, training.seeds
    lanes = lanes_of(config, task) if device == "cpu" else LANES
    if width is None:
        cpu = device == "cpu"
        width = width_of(config, task) if cpu else width_on(device, config, task, gpu_share)
    width = _padded(width, lanes)
    parts: list[list[Record]] = []
    start = 0
    with one_thread():
        while start < len(seeds):
            part = _train_part(training, task, seeds[start : start + width], lanes, device)
            if part is None:
                width = _halved(width, len(seeds) - start, device)
                continue
            parts.append(part)
            start += width
    outcomes: tuple[Outcome, ...] = ()
    for epochs, records in zip(_stops(training), zip(*parts, strict=True), strict=True):
        whole = {name: np.concatenate([one[name] for one in records]) for name in records[0]}
        earlier = outcomes if epochs == config.epochs else ()
        outcome = Outcome.judge(task, seeds=seeds, epochs=epochs, checkpoints=earlier, **whole)
        outcomes = (*outcomes, outcome)
    return outcomes[-1]


def _stops(training: Training) -> list[int]:
    """The epochs whose records are kept, ascending."""
    return sorted({*training.checkpoints, training.config.epochs})


def _train_part(
    training: Training, task: Task, seeds: NDArray[np.int64], lanes: int, device: str
) -> list[Record] | None:
    """The records of some of the seeds; None if memory runs out."""
    config = training.config
    padded = np.pad(seeds, (0, -len(seeds) % lanes), mode="edge")
    try:
        weights = stacked(initial_weights(task.dim, config.hidden_dim, padded)).to(device)
        optimizer = optimizer_of(config, weights)
        return [
            {name: array[: len(seeds)] for name, array in record.items()}  # without the padding
            for record in run_epochs(config, task, weights, optimizer, _stops(training))
        ]
    except torch.OutOfMemoryError:
        if len(seeds) <= LANES:
            raise
        return None  # the caller tries again after the error, which refers to the tensors, is gone


def _halved(width: int, left: int, device: str) -> int:
    """Warn, and halve the number of networks."""
    width = min(width, _padded(left, LANES))
    half = _padded(width // 2, LANES)
    logger.warning(
        "out of memory on %s with %d networks at once: trained again, %d at once from here on",
        device,
        width,
        half,
    )
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    return half


def _padded(count: int, lanes: int) -> int:
    return count + -count % lanes
