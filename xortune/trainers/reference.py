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

`train_stack` trains one configuration, or several that differ in lr and momentum only as one model,
which saves starting operations: on a GPU, and where each has few seeds.
"""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
    structure_of,
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
    optimizer: torch.optim.Optimizer | ColumnOptimizer,
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
    """Train one config on the CPU, as `train_stack` does."""
    return train_stack([Training(config, seeds, tuple(checkpoints))], task)[0]


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
    optimizer: torch.optim.Optimizer | ColumnOptimizer,
    checkpoints: Sequence[int],
) -> Iterator[Record]:
    """Train weights (P, S); yield their state at each checkpoint and after the last epoch.

    Args:
        config: what to train; only the optimizer reads its lr and momentum.
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
# torch.optim's steps with a learning rate and a momentum for each network of a stack.
#
# torch.optim takes one lr for a whole tensor. These functions repeat its ``_single_tensor_*``
# functions, operation for operation and in their order, except that a number which depends on lr
# or momentum is a tensor with one number for each column: ``add_(x, alpha=a)`` becomes
# ``addcmul_(x, a)`` and ``addcdiv_(x, y, value=a)`` becomes ``addcdiv_(x * a, y)``, which torch's
# CPU kernels round alike. All other numbers are torch's defaults. `matches_torch` tests whether
# the weights are those of torch.optim to the last bit on this machine.

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class ColumnOptimizer:
    """Steps weights (P, S), each column as the optimizer of its own config does.

    Args:
        configs: they differ in lr and momentum only; with momentum 0 all or none.
        which: int64, shape (S,): the index of each column's config.
        weights: shape (P, S).

    Attributes:
        steps: so far, with the current one.
        lr: float64, shape (C,): of each config.
        minus_lr, momentum: float32, shape (S,): of each column.
        product: of NAdam's momenta so far, which torch keeps as float32.
    """

    def __init__(
        self, configs: Sequence[Config], which: NDArray[np.int64], weights: Tensor
    ) -> None:
        assert len({(c.optimizer, c.momentum > 0) for c in configs}) == 1
        self._weights, self._which = weights, torch.from_numpy(which).to(weights.device)
        self._update = _UPDATES[configs[0].optimizer]
        self.steps, self.product = 0, np.float32(1)
        self.is_heavy = configs[0].momentum > 0
        self.lr = np.array([config.lr for config in configs])
        self.minus_lr = self.spread(-self.lr)
        self.momentum = self.spread(np.array([config.momentum for config in configs]))

    @functools.cached_property
    def first(self) -> Tensor:
        """The first state, shape (P, S); zeros before the first step."""
        return torch.zeros_like(self._weights)

    @functools.cached_property
    def second(self) -> Tensor:
        """The second state."""
        return torch.zeros_like(self._weights)

    @functools.cached_property
    def shrink(self) -> Tensor:
        """The factor by which AdamW decays the weights."""
        return self.spread(1 - self.lr * 1e-2)

    def spread(self, values: NDArray[np.float64]) -> Tensor:
        """float32, shape (S,), of one number for each config, shape (C,)."""
        rounded = torch.from_numpy(values.astype(np.float32))
        return rounded.to(self._which.device).index_select(0, self._which)

    def step(self) -> None:
        """Step once, by ``weights.grad``."""
        gradient = self._weights.grad
        assert gradient is not None
        self.steps += 1
        self._update(self, self._weights, gradient)


def _sgd(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    if not own.is_heavy:
        weights.addcmul_(gradient, own.minus_lr)
        return
    if own.steps > 1:
        own.first.mul_(own.momentum).add_(gradient)
    else:
        own.first.copy_(gradient)
    weights.addcmul_(own.first, own.minus_lr)


def _adadelta(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    rho, eps = 0.9, 1e-6
    squares, deltas = own.first, own.second
    squares.mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
    deviation = squares.add(eps).sqrt_()
    delta = deltas.add(eps).sqrt_().div_(deviation).mul_(gradient)
    deltas.mul_(rho).addcmul_(delta, delta, value=1 - rho)
    weights.addcmul_(delta, own.minus_lr)


def _adagrad(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    own.first.addcmul_(gradient, gradient, value=1)
    weights.addcdiv_(gradient * own.minus_lr, own.first.sqrt().add_(1e-10))


def _adam(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    step = own.steps
    own.first.lerp_(gradient, 1 - BETA1)
    own.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    sizes = own.spread(-(own.lr / (1 - BETA1**step)))
    root = (own.second.sqrt() / (1 - BETA2**step) ** 0.5).add_(EPS)
    weights.addcdiv_(own.first * sizes, root)


def _adamw(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    weights.mul_(own.shrink)
    _adam(own, weights, gradient)


def _adamax(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    own.first.lerp_(gradient, 1 - BETA1)
    torch.maximum(own.second.mul_(BETA2), gradient.abs().add_(EPS), out=own.second)
    sizes = own.spread(-(own.lr / (1 - BETA1**own.steps)))
    weights.addcdiv_(own.first * sizes, own.second)


def _asgd(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    # torch also keeps averaged weights, which no output depends on.
    shrink, power, step = 1e-4, 0.75, own.steps - 1
    sizes = [lr / ((1 + shrink * lr * step) ** power) for lr in own.lr.tolist()]
    # torch keeps them as float32 tensors.
    eta = np.array(sizes).astype(np.float32).astype(np.float64)
    weights.mul_(own.spread(1 - shrink * eta))
    weights.addcmul_(gradient, own.spread(-eta))


def _nadam(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    step = own.steps
    mu = BETA1 * (1.0 - 0.5 * (0.96 ** (step * 4e-3)))
    after = BETA1 * (1.0 - 0.5 * (0.96 ** ((step + 1) * 4e-3)))
    own.product *= np.float32(mu)
    product = float(own.product)
    own.first.lerp_(gradient, 1 - BETA1)
    own.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    root = own.second.div(1 - BETA2**step).sqrt().add_(EPS)
    weights.addcdiv_(gradient * own.spread(-own.lr * (1.0 - mu) / (1.0 - product)), root)
    weights.addcdiv_(own.first * own.spread((-own.lr * after) / (1.0 - product * after)), root)


def _radam(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    step, longest = own.steps, 2 / (1 - BETA2) - 1
    own.first.lerp_(gradient, 1 - BETA1)
    own.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    correction = 1 - BETA2**step
    change = own.first / (1 - BETA1**step) * own.minus_lr
    length = longest - 2 * step * (BETA2**step) / correction
    if length > 5.0:
        rectified = (length - 4) * (length - 2) * longest
        rectified = (rectified / ((longest - 4) * (longest - 2) * length)) ** 0.5
        change = change * ((correction**0.5) / own.second.sqrt().add_(EPS)) * rectified
    weights.add_(change)


def _rmsprop(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    alpha, squares = 0.99, own.second
    squares.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
    root = squares.sqrt().add_(EPS)
    if own.is_heavy:
        own.first.mul_(own.momentum).addcdiv_(gradient, root)
        weights.addcmul_(own.first, own.minus_lr)
    else:
        weights.addcdiv_(gradient * own.minus_lr, root)


def _rprop(own: ColumnOptimizer, weights: Tensor, gradient: Tensor) -> None:
    down, up, least, most = 0.5, 1.2, 1e-6, 50
    before, sizes = own.first, own.second
    if own.steps == 1:
        sizes.copy_(own.spread(own.lr))
    sign = gradient.mul(before).sign()
    sign.masked_fill_(sign.gt(0), up).masked_fill_(sign.lt(0), down)
    sign.masked_fill_(sign.eq(0), 1)
    sizes.mul_(sign).clamp_(least, most)
    before.copy_(gradient).masked_fill_(sign.eq(down), 0)
    weights.addcmul_(before.sign(), sizes, value=-1)


_UPDATES: dict[str, Callable[[ColumnOptimizer, Tensor, Tensor], None]] = {
    "ASGD": _asgd,
    "Adadelta": _adadelta,
    "Adagrad": _adagrad,
    "Adam": _adam,
    "AdamW": _adamw,
    "Adamax": _adamax,
    "NAdam": _nadam,
    "RAdam": _radam,
    "RMSprop": _rmsprop,
    "Rprop": _rprop,
    "SGD": _sgd,
}


@functools.cache
def matches_torch(optimizer: str, *, heavy: bool) -> bool:
    """Whether `ColumnOptimizer` gives torch.optim's weights to the last bit on this machine.

    It takes some steps, in some milliseconds: no documentation says how an operation rounds.

    Args:
        optimizer: the class name.
        heavy: with momentum.
    """
    base = Config(
        activation=None, loss="MSELoss", optimizer=optimizer, lr=0.3, hidden_dim=1, epochs=1,
        momentum=0.7 if heavy else 0.0,
    )  # fmt: skip
    other = replace(base, lr=0.0013, momentum=1.1 if heavy else 0.0)
    pair = (base, other)
    draw = torch.Generator().manual_seed(1)
    together = torch.randn(3, 2 * LANES, generator=draw)
    alone = [together[:, :LANES].clone(), together[:, LANES:].clone()]
    rows = ColumnOptimizer(pair, np.repeat(np.arange(2), LANES), together)
    torchs = [optimizer_of(c, weights) for c, weights in zip(pair, alone, strict=True)]
    sizes = torch.logspace(-6, 3, 2 * LANES)[torch.randperm(2 * LANES, generator=draw)]
    with one_thread():
        for _ in range(12):
            together.grad = torch.randn(together.shape, generator=draw) * sizes
            for weights, part in zip(alone, together.grad.chunk(2, dim=1), strict=True):
                weights.grad = part.contiguous()
            rows.step()
            for steps in torchs:
                steps.step()
    return torch.equal(together.view(torch.int32), torch.cat(alone, dim=1).view(torch.int32))


# -------------------------------------------------------------------------------------------------
# Many configs of one structure as one training: (configs x seeds) is the axis of networks.
#
# Where a config has few seeds, as in the first rung of a race, the engine spends its time on
# starting operations, on a CPU and much more so on a GPU. Configs that differ in lr and momentum
# only are the same operations on other numbers. Each gets the outcome that it gets by itself: on
# the CPU to the last bit.

GPU_MEMORY_SHARE = 0.8
"""The fraction of a GPU's free memory that a stack may take."""

MOST_ELEMENTS = 2**31 - 1
"""Maximum size of a tensor: torch's kernels index larger ones with 64 bits, and are slower."""


def stacks(trainings: Sequence[Training], task: Task, *, device: str = "cpu") -> list[list[int]]:
    """Group trainings into stacks: lists of indices, in the order of their first ones.

    On a GPU a stack has all trainings of a structure. On the CPU it has those that by themselves
    would leave most of it empty, and only where `matches_torch` holds: the outcome of a config must
    not depend on what trains beside it.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, training in enumerate(trainings):
        config = training.config
        structure = structure_of(config)
        if structure is not None and device == "cpu":
            few = 2 * len(training.seeds) <= width_of(config, task)
            if not few or not matches_torch(config.optimizer, heavy=config.momentum > 0):
                structure = None
        groups.setdefault(index if structure is None else structure, []).append(index)
    return list(groups.values())


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


def train_stack(
    trainings: Sequence[Training],
    task: Task,
    *,
    device: str = "cpu",
    gpu_share: float = 1.0,
    width: int | None = None,
) -> list[Outcome]:
    """Train configs that differ in lr and momentum only (see `limits.structure_of`) as one model.

    A single config on the CPU is stepped by torch.optim. Where a part of the stack does not fit
    into memory, half of it is trained instead, with a warning.

    Args:
        trainings: at least one.
        task: what to learn.
        device: where torch trains.
        gpu_share: the fraction of the GPU's memory that this process may use.
        width: number of networks to train at once; by default what fits.

    Raises:
        torch.OutOfMemoryError: not even `LANES` networks fit.
    """
    first = trainings[0].config
    lanes = lanes_of(first, task) if device == "cpu" else LANES
    which = np.repeat(np.arange(len(trainings)), [len(training.seeds) for training in trainings])
    seeds = np.concatenate([training.seeds for training in trainings])
    stops = sorted({*(c for training in trainings for c in training.checkpoints), first.epochs})
    configs = [training.config for training in trainings]
    if width is None:
        cpu = device == "cpu"
        width = width_of(first, task) if cpu else width_on(device, first, task, gpu_share)
    width = _padded(width, lanes)
    parts: list[list[Record]] = []
    start = 0
    with one_thread():
        while start < len(seeds):
            at = slice(start, start + width)
            part = _train_columns(
                configs, task, which[at], seeds[at], stops=stops, lanes=lanes, device=device
            )
            if part is None:
                width = _halved(width, len(seeds) - start, device)
                continue
            parts.append(part)
            start += width
    whole = [
        {name: np.concatenate([record[name] for record in records]) for name in records[0]}
        for records in zip(*parts, strict=True)
    ]
    ends = np.cumsum([len(training.seeds) for training in trainings]).tolist()
    return [
        _outcome(training, task, zip(stops, whole, strict=True), end - len(training.seeds))
        for training, end in zip(trainings, ends, strict=True)
    ]


def _train_columns(
    configs: Sequence[Config],
    task: Task,
    which: NDArray[np.int64],
    seeds: NDArray[np.int64],
    *,
    stops: Sequence[int],
    lanes: int,
    device: str,
) -> list[Record] | None:
    """Train one network for each of the seeds, under its config; None if memory runs out."""
    padding = -len(seeds) % lanes
    first, last = int(which[0]), int(which[-1])
    config, which = configs[first], which - first
    # Configs mostly have the same seeds: the initial weights of each are drawn once.
    different, drawn = np.unique(seeds, return_inverse=True)
    columns = torch.from_numpy(np.pad(drawn, (0, padding), mode="edge"))
    try:
        start = stacked(initial_weights(task.dim, config.hidden_dim, different))
        weights = start.index_select(1, columns).to(device)
        del start  # a network may be large
        optimizer: torch.optim.Optimizer | ColumnOptimizer
        if first == last and device == "cpu":
            optimizer = optimizer_of(config, weights)
        else:
            padded = np.pad(which, (0, padding), mode="edge")
            optimizer = ColumnOptimizer(configs[first : last + 1], padded, weights)
        return [
            {name: array[: len(seeds)] for name, array in record.items()}  # without the padding
            for record in run_epochs(config, task, weights, optimizer, stops)
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


def _outcome(
    training: Training, task: Task, records: Iterable[tuple[int, Record]], first: int
) -> Outcome:
    """The outcome of a training, of epochs and records in which its networks begin at `first`."""
    outcomes: tuple[Outcome, ...] = ()
    own = slice(first, first + len(training.seeds))
    for epochs, record in records:
        is_last = epochs == training.config.epochs
        if is_last or epochs in training.checkpoints:
            arrays = {name: array[own] for name, array in record.items()}
            earlier = outcomes if is_last else ()
            outcome = Outcome.judge(
                task, seeds=training.seeds, epochs=epochs, checkpoints=earlier, **arrays
            )
            outcomes = (*outcomes, outcome)
    return outcomes[-1]
