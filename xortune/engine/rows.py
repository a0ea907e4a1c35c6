"""torch.optim's steps with a learning rate and a momentum for each network of a stack.

torch.optim takes one lr for a whole tensor. So these are its ``_single_tensor_*`` functions once
more, which are the definition, operation for operation and in their order, but that a number which
depends on lr or momentum is a tensor of one number for each column: ``add_(x, alpha=a)`` becomes
``addcmul_(x, a)`` and ``addcdiv_(x, y, value=a)`` becomes ``addcdiv_(x * a, y)``, which torch's CPU
kernels round alike. All other numbers are torch's defaults. `is_torchs` tries whether the weights
are those of torch.optim to the last bit here.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xortune.config import Config
from xortune.engine.reference import LANES, one_thread, optimizer_of

__all__ = ["RowOptimizer", "is_torchs"]

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
        rows = _Rows(
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
class _Rows:
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


def _sgd(rows: _Rows, like: Tensor) -> Update:
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


def _adadelta(rows: _Rows, like: Tensor) -> Update:
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


def _adagrad(rows: _Rows, like: Tensor) -> Update:
    lr = rows.spread(-rows.lr)
    squares = torch.zeros_like(like)

    def update(weights: Tensor, gradient: Tensor) -> None:
        squares.addcmul_(gradient, gradient, value=1)
        weights.addcdiv_(gradient * lr, squares.sqrt().add_(1e-10))

    return update


def _adam(rows: _Rows, like: Tensor, *, decay: float = 0.0) -> Update:
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


def _adamax(rows: _Rows, like: Tensor) -> Update:
    first, largest = torch.zeros_like(like), torch.zeros_like(like)
    steps = itertools.count(1)

    def update(weights: Tensor, gradient: Tensor) -> None:
        first.lerp_(gradient, 1 - BETA1)
        torch.maximum(largest.mul_(BETA2), gradient.abs().add_(EPS), out=largest)
        sizes = rows.spread(-(rows.lr / (1 - BETA1 ** next(steps))))
        weights.addcdiv_(first * sizes, largest)

    return update


def _asgd(rows: _Rows, like: Tensor) -> Update:  # noqa: ARG001
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


def _nadam(rows: _Rows, like: Tensor) -> Update:
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


def _radam(rows: _Rows, like: Tensor) -> Update:
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


def _rmsprop(rows: _Rows, like: Tensor) -> Update:
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


def _rprop(rows: _Rows, like: Tensor) -> Update:
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


_UPDATES: dict[str, Callable[[_Rows, Tensor], Update]] = {
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
