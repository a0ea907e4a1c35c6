"""Many configs of one structure as one training: (configs x seeds) is the axis of networks."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xortune.core.config import Config
from xortune.core.outcome import Outcome
from xortune.core.task import Task
from xortune.trainers.limits import LANES, Training, bytes_of, structure_of, weights_of
from xortune.trainers.reference import (
    Look,
    initial_weights,
    looks,
    one_thread,
    optimizer_of,
    stacked,
    width_of,
)

# -------------------------------------------------------------------------------------------------
# torch.optim's steps with a learning rate and a momentum for each network of a stack.
#
# torch.optim takes one lr for a whole tensor. So these are its ``_single_tensor_*`` functions once
# more, which are the definition, operation for operation and in their order, but that a number
# which depends on lr or momentum is a tensor of one number for each column: ``add_(x, alpha=a)``
# becomes ``addcmul_(x, a)`` and ``addcdiv_(x, y, value=a)`` becomes ``addcdiv_(x * a, y)``, which
# torch's CPU kernels round alike. All other numbers are torch's defaults. `is_torchs` tries
# whether the weights are those of torch.optim to the last bit here.

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

Update = Callable[[Tensor, Tensor], None]
"""Changes weights (P, S) by their gradient (P, S)."""


class RowOptimizer:
    """Steps weights (P, S), each column as the optimizer of its own config does."""

    def __init__(
        self, configs: Sequence[Config], which: NDArray[np.int64], weights: Tensor
    ) -> None:
        """Begin at the first step.

        Args:
            configs: they differ in lr and momentum only; with momentum 0 all or none.
            which: int64, shape (S,): the index of each column's config.
            weights: shape (P, S).
        """
        assert len({(c.optimizer, c.momentum > 0) for c in configs}) == 1
        rows = _SteppedRows(
            lr=np.array([config.lr for config in configs]),
            momentum=np.array([config.momentum for config in configs]),
            which=torch.from_numpy(which).to(weights.device),
        )
        self._weights = weights
        self._update = _UPDATES[configs[0].optimizer](rows, weights)

    def step(self) -> None:
        """One step from the gradient in ``weights.grad``."""
        gradient = self._weights.grad
        assert gradient is not None
        self._update(self._weights, gradient)


@dataclass(frozen=True, eq=False)
class _SteppedRows:
    """The numbers of C configs, and which of them each of S columns takes.

    Attributes:
        lr: float64, shape (C,).
        momentum: float64, shape (C,).
        which: int64, shape (S,), where the weights are.
    """

    lr: NDArray[np.float64]
    momentum: NDArray[np.float64]
    which: Tensor

    def spread(self, values: NDArray[np.float64]) -> Tensor:
        """float32, shape (S,): each column's number of those of the configs, shape (C,)."""
        rounded = torch.from_numpy(values.astype(np.float32))
        return rounded.to(self.which.device).index_select(0, self.which)


def _sgd(rows: _SteppedRows, like: Tensor) -> Update:
    lr, momentum = rows.spread(-rows.lr), rows.spread(rows.momentum)
    buffer = torch.zeros_like(like) if rows.momentum[0] else None
    steps = itertools.count()

    def update(weights: Tensor, gradient: Tensor) -> None:
        if buffer is None:
            weights.addcmul_(gradient, lr)
            return
        if next(steps):
            buffer.mul_(momentum).add_(gradient)
        else:
            buffer.copy_(gradient)
        weights.addcmul_(buffer, lr)

    return update


def _adadelta(rows: _SteppedRows, like: Tensor) -> Update:
    rho, eps = 0.9, 1e-6
    lr = rows.spread(-rows.lr)
    squares, deltas = torch.zeros_like(like), torch.zeros_like(like)

    def update(weights: Tensor, gradient: Tensor) -> None:
        squares.mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
        deviation = squares.add(eps).sqrt_()
        delta = deltas.add(eps).sqrt_().div_(deviation).mul_(gradient)
        deltas.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        weights.addcmul_(delta, lr)

    return update


def _adagrad(rows: _SteppedRows, like: Tensor) -> Update:
    lr = rows.spread(-rows.lr)
    squares = torch.zeros_like(like)

    def update(weights: Tensor, gradient: Tensor) -> None:
        squares.addcmul_(gradient, gradient, value=1)
        weights.addcdiv_(gradient * lr, squares.sqrt().add_(1e-10))

    return update


def _adam(rows: _SteppedRows, like: Tensor, *, decay: float = 0.0) -> Update:
    shrink = rows.spread(1 - rows.lr * decay)
    first, second = torch.zeros_like(like), torch.zeros_like(like)
    steps = itertools.count(1)

    def update(weights: Tensor, gradient: Tensor) -> None:
        step = next(steps)
        if decay:
            weights.mul_(shrink)
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        sizes = rows.spread(-(rows.lr / (1 - BETA1**step)))
        root = (second.sqrt() / (1 - BETA2**step) ** 0.5).add_(EPS)
        weights.addcdiv_(first * sizes, root)

    return update


def _adamax(rows: _SteppedRows, like: Tensor) -> Update:
    first, largest = torch.zeros_like(like), torch.zeros_like(like)
    steps = itertools.count(1)

    def update(weights: Tensor, gradient: Tensor) -> None:
        first.lerp_(gradient, 1 - BETA1)
        torch.maximum(largest.mul_(BETA2), gradient.abs().add_(EPS), out=largest)
        sizes = rows.spread(-(rows.lr / (1 - BETA1 ** next(steps))))
        weights.addcdiv_(first * sizes, largest)

    return update


def _asgd(rows: _SteppedRows, like: Tensor) -> Update:  # noqa: ARG001
    shrink, power = 1e-4, 0.75
    steps = itertools.count()
    rates = rows.lr.tolist()

    def update(weights: Tensor, gradient: Tensor) -> None:
        # The averaged weights that it keeps besides are nobody's outputs.
        step = next(steps)
        sizes = [lr / ((1 + shrink * lr * step) ** power) for lr in rates] if step else rates
        # torch keeps them as float32 tensors.
        eta = np.array(sizes).astype(np.float32).astype(np.float64)
        weights.mul_(rows.spread(1 - shrink * eta))
        weights.addcmul_(gradient, rows.spread(-eta))

    return update


def _nadam(rows: _SteppedRows, like: Tensor) -> Update:
    first, second = torch.zeros_like(like), torch.zeros_like(like)
    steps = itertools.count(1)
    product = np.float32(1)  # as torch keeps it

    def update(weights: Tensor, gradient: Tensor) -> None:
        nonlocal product
        step = next(steps)
        mu = BETA1 * (1.0 - 0.5 * (0.96 ** (step * 4e-3)))
        after = BETA1 * (1.0 - 0.5 * (0.96 ** ((step + 1) * 4e-3)))
        product *= np.float32(mu)
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = second.div(1 - BETA2**step).sqrt().add_(EPS)
        now = rows.spread(-rows.lr * (1.0 - mu) / (1.0 - float(product)))
        then = rows.spread((-rows.lr * after) / (1.0 - float(product) * after))
        weights.addcdiv_(gradient * now, root)
        weights.addcdiv_(first * then, root)

    return update


def _radam(rows: _SteppedRows, like: Tensor) -> Update:
    lr = rows.spread(rows.lr)
    first, second = torch.zeros_like(like), torch.zeros_like(like)
    steps = itertools.count(1)
    longest = 2 / (1 - BETA2) - 1

    def update(weights: Tensor, gradient: Tensor) -> None:
        step = next(steps)
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        correction = 1 - BETA2**step
        change = first / (1 - BETA1**step) * lr
        length = longest - 2 * step * (BETA2**step) / correction
        if length > 5.0:
            rectified = (length - 4) * (length - 2) * longest
            rectified = (rectified / ((longest - 4) * (longest - 2) * length)) ** 0.5
            change = change * ((correction**0.5) / second.sqrt().add_(EPS)) * rectified
        weights.add_(change, alpha=-1.0)

    return update


def _rmsprop(rows: _SteppedRows, like: Tensor) -> Update:
    alpha = 0.99
    lr, momentum = rows.spread(-rows.lr), rows.spread(rows.momentum)
    squares = torch.zeros_like(like)
    buffer = torch.zeros_like(like) if rows.momentum[0] else None

    def update(weights: Tensor, gradient: Tensor) -> None:
        squares.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        root = squares.sqrt().add_(EPS)
        if buffer is not None:
            buffer.mul_(momentum).addcdiv_(gradient, root)
            weights.addcmul_(buffer, lr)
        else:
            weights.addcdiv_(gradient * lr, root)

    return update


def _rprop(rows: _SteppedRows, like: Tensor) -> Update:
    down, up, least, most = 0.5, 1.2, 1e-6, 50
    before = torch.zeros_like(like)
    sizes = rows.spread(rows.lr).expand_as(like).contiguous()

    def update(weights: Tensor, gradient: Tensor) -> None:
        sign = gradient.mul(before).sign()
        sign.masked_fill_(sign.gt(0), up).masked_fill_(sign.lt(0), down)
        sign.masked_fill_(sign.eq(0), 1)
        sizes.mul_(sign).clamp_(least, most)
        before.copy_(gradient).masked_fill_(sign.eq(down), 0)
        weights.addcmul_(before.sign(), sizes, value=-1)

    return update


_UPDATES: dict[str, Callable[[_SteppedRows, Tensor], Update]] = {
    "ASGD": _asgd,
    "Adadelta": _adadelta,
    "Adagrad": _adagrad,
    "Adam": _adam,
    "AdamW": functools.partial(_adam, decay=1e-2),
    "Adamax": _adamax,
    "NAdam": _nadam,
    "RAdam": _radam,
    "RMSprop": _rmsprop,
    "Rprop": _rprop,
    "SGD": _sgd,
}


@functools.cache
def is_torchs(optimizer: str, *, heavy: bool) -> bool:
    """Whether the weights are torch.optim's to the last bit, on this processor with this torch.

    Tried once in a process, in some milliseconds: no documentation says how an operation rounds.

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
    rows = RowOptimizer(pair, np.repeat(np.arange(2), LANES), together)
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
# Where a config has few seeds, as in the first rung of a race, the reference engine spends its
# time on starting operations, on a CPU and much more so on a GPU. Configs that differ in lr and
# momentum only are the same operations on other numbers; see `trainers.stacked`. What comes out is
# what each config comes to by itself: on the CPU to the last bit.

logger = logging.getLogger("xortune.trainers")

SHARE = 0.8
"""Of the memory that is free on a GPU, how much a stack is meant to take."""

MOST_ELEMENTS = 2**31 - 1
"""Of one tensor: torch's kernels index with 32 bits up to that, and are slower beyond."""


def together(trainings: Sequence[Training], task: Task, *, device: str = "cpu") -> list[list[int]]:
    """Which trainings should be one stack: their indices, each once, in order of the first.

    On a GPU all of a structure. On the CPU those that by themselves would leave most of a stack
    empty, and only where the steps are torch.optim's own to the last bit: what a config comes to
    must not depend on what is trained beside it.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, training in enumerate(trainings):
        config = training.config
        structure = structure_of(config)
        if structure is not None and device == "cpu":
            few = 2 * len(training.seeds) <= width_of(config, task)
            if not few or not is_torchs(config.optimizer, heavy=config.momentum > 0):
                structure = None
        groups.setdefault(index if structure is None else structure, []).append(index)
    return list(groups.values())


def width_on(device: str, config: Config, task: Task, share: float = 1.0) -> int:
    """How many networks a GPU has the memory for now: a multiple of `LANES`.

    Args:
        device: of CUDA.
        config: what is trained.
        task: what is learned.
        share: how much of the GPU is this process's; others may come to want theirs.
    """
    free, total = torch.cuda.mem_get_info(device)
    # What torch keeps from earlier trainings, to use it again.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return _width(int(SHARE * min(free, share * total)), config, task)


def _width(memory: int, config: Config, task: Task) -> int:
    rows: int = max(task.inputs.shape[0], task.judged_inputs.shape[0])
    most = MOST_ELEMENTS // max(rows * config.hidden_dim, weights_of(config, task))
    return max(1, min(memory // bytes_of(config, task), most) // LANES) * LANES


def train(
    trainings: Sequence[Training],
    task: Task,
    *,
    device: str = "cpu",
    gpu_share: float = 1.0,
    width: int | None = None,
) -> list[Outcome]:
    """The outcome of each training, all of one structure (see `together`).

    Where the device has not the memory for a part of the stack, the part is halved and trained
    again, and the log says so.

    Args:
        trainings: at least one.
        task: what to learn.
        device: where torch trains.
        gpu_share: how much of the GPU's memory is this process's.
        width: networks to train at once, instead of what fits.

    Raises:
        torch.OutOfMemoryError: not even `LANES` networks fit.
    """
    first = trainings[0].config
    which = np.repeat(np.arange(len(trainings)), [len(training.seeds) for training in trainings])
    seeds = np.concatenate([training.seeds for training in trainings])
    stops = sorted({*(c for training in trainings for c in training.checkpoints), first.epochs})
    configs = [training.config for training in trainings]
    if width is None:
        cpu = device == "cpu"
        width = width_of(first, task) if cpu else width_on(device, first, task, gpu_share)
    width = _padded(width)
    parts: list[list[Look]] = []
    start = 0
    with one_thread():
        while start < len(seeds):
            at = slice(start, start + width)
            part = _part(configs, task, which[at], seeds[at], stops=stops, device=device)
            if part is None:
                width = _halved(width, len(seeds) - start, device)
                continue
            parts.append(part)
            start += width
    whole = [_joined(looks_at) for looks_at in zip(*parts, strict=True)]
    ends = np.cumsum([len(training.seeds) for training in trainings]).tolist()
    return [
        _outcome(training, task, whole, end - len(training.seeds))
        for training, end in zip(trainings, ends, strict=True)
    ]


def _part(
    configs: Sequence[Config],
    task: Task,
    which: NDArray[np.int64],
    seeds: NDArray[np.int64],
    *,
    stops: Sequence[int],
    device: str,
) -> list[Look] | None:
    """Looks at so many networks; None if the memory is not enough."""
    padding = -len(seeds) % LANES
    first, last = int(which[0]), int(which[-1])
    config, which = configs[first], which - first
    # Different configs mostly have the same seeds: each is drawn once.
    different, drawn = np.unique(seeds, return_inverse=True)
    columns = torch.from_numpy(np.pad(drawn, (0, padding), mode="edge"))
    try:
        start = stacked(initial_weights(task.dim, config.hidden_dim, different))
        weights = start.index_select(1, columns).to(device)
        rows = RowOptimizer(
            configs[first : last + 1], np.pad(which, (0, padding), mode="edge"), weights
        )
        return [look.first(len(seeds)) for look in looks(config, task, weights, rows, stops)]
    except torch.OutOfMemoryError:
        if len(seeds) <= LANES:
            raise
        return None  # not from in here: the error holds on to the tensors


def _halved(width: int, left: int, device: str) -> int:
    """Half as many networks, after a word about it."""
    width = min(width, _padded(left))
    half = _padded(width // 2)
    logger.warning(
        "out of memory on %s with %d networks at once: trained again, %d at once from here on",
        device,
        width,
        half,
    )
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    return half


def _padded(count: int) -> int:
    return count + -count % LANES


def _joined(parts: Sequence[Look]) -> Look:
    names = ("predictions", "finite", "solved_epoch", "final_loss")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Look(parts[0].epochs, **arrays)


def _outcome(training: Training, task: Task, whole: Sequence[Look], first: int) -> Outcome:
    outcomes: tuple[Outcome, ...] = ()
    for look in whole:
        last = look.epochs == training.config.epochs
        if last or look.epochs in training.checkpoints:
            earlier = outcomes if last else ()
            outcomes = (*outcomes, look.outcome(task, training.seeds, first, earlier))
    return outcomes[-1]
