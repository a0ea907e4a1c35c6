"""Steps of Adam, AdamW, RMSprop and SGD for many models in one call, as torch computes them.

torch goes over a parameter some ten times for a step, an operation each, once more for each
configuration; its fused optimizers do so once and round otherwise. Here each number is rounded as
torch's operations round it: `are_plain` tries whether it is so on this processor.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from xortune.trainers.kernels.cache import compiled

BLOCK = 2**16
"""Numbers of some models that stay in the cache with their gradients and states."""


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """The sum of a product and a number, rounded once."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), lowered


@intrinsic
def _floats(typingctx: Any, address: Any, index: Any) -> Any:
    """A pointer to the float32 numbers from an index on behind an address."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.FloatType().as_pointer())
        return builder.gep(pointer, [args[1]])

    return types.CPointer(types.float32)(types.int64, types.int64), lowered


AVERAGES, ADAM, SGD, SQUARES, RMSPROP = range(5)
"""Parts of a step: Adam's running averages of the gradient and of its square, Adam's step by them
and by the roots of those of squares, the step of SGD with its buffers; RMSprop's running average of
the gradient's square, and its step by the root and its buffers."""


@njit(nogil=True, error_model="numpy")
def stepped(part, weights, gradients, sizes, table, which, first, last, ones, twos):
    """Do a part of a step for the parameters of the models first to last."""
    # `weights` and `gradients` are addresses (a gradient's is 0 where there is none), `sizes` how
    # many numbers a model has in each, `table` the numbers of a configuration, `which` the
    # configuration of a model. States have a row of a model's numbers, parameter after parameter:
    # `ones` and `twos` are addresses of the first model's. Arrays would take as long to compile
    # again.
    at = 0
    for row in range(first, last):
        for k in range(len(sizes)):
            n = sizes[k]
            if gradients[k]:
                t = table[k, which[row]]
                w, g = _floats(weights[k], row * n), _floats(gradients[k], row * n)
                a, b = _floats(ones, at), _floats(twos, at)
                if part == AVERAGES:
                    decay, lerp, base, beta, share = t[0], t[1], t[2], t[3], t[4]
                    for i in range(n):
                        d = g[i]
                        if decay != 0:
                            d = fma(w[i], decay, d)
                        a[i] = fma(lerp, d - a[i], d if base else a[i])
                        b[i] = fma(share * d, d, b[i] * beta)
                elif part == ADAM:
                    kept, correction, eps, step = t[5], t[6], t[7], t[8]
                    for i in range(n):
                        w[i] = w[i] * kept + (step * a[i]) / (b[i] / correction + eps)
                elif part == SQUARES:
                    decay, beta, share = t[0], t[1], t[2]
                    for i in range(n):
                        d = g[i]
                        if decay != 0:
                            d = fma(w[i], decay, d)
                        b[i] = fma(share * d, d, b[i] * beta)
                elif part == RMSPROP:
                    decay, eps, momentum, step = t[0], t[3], t[4], t[5]
                    for i in range(n):
                        d = g[i]
                        if decay != 0:
                            d = fma(w[i], decay, d)
                        if momentum != 0:
                            a[i] = a[i] * momentum + d / (b[i] + eps)
                            w[i] = fma(a[i], step, w[i])
                        else:
                            w[i] = w[i] + (step * d) / (b[i] + eps)
                else:
                    decay, momentum, nesterov, step = t[0], t[1], t[2], t[3]
                    for i in range(n):
                        d = g[i]
                        if decay != 0:
                            d = fma(w[i], decay, d)
                        if momentum != 0:
                            a[i] = a[i] * momentum + d
                            d = fma(a[i], momentum, d) if nesterov else a[i]
                        w[i] = fma(d, step, w[i])
            at += n


class StackOptimizer:
    """The optimizers of some configurations, which step the stacked parameters of all their models.

    Args:
        optimizers: one a configuration, of one class and not begun; what they are told is read at
            each step, and their own parameters are not touched.
        weights: the stacked parameters by name, float32, contiguous, of shape (S, ...).
        groups: for each configuration, in which of its optimizer's groups a parameter is.
        models: how many each configuration has; S in all.
    """

    def __init__(
        self,
        optimizers: Sequence[Any],
        weights: Mapping[str, Tensor],
        groups: Sequence[Mapping[str, Any]],
        models: Sequence[int] | NDArray[np.int64],
    ) -> None:
        self._optimizers, self._weights = optimizers, weights
        self._which = np.repeat(np.arange(len(models)), models)
        self._numbers, self._step = _KINDS[type(optimizers[0])]
        self._groups = [tuple(one[name] for one in groups) for name in weights]
        self._done = [0] * len(weights)
        self._addresses = np.array([one.data_ptr() for one in weights.values()])
        self._sizes = np.array([one[0].numel() for one in weights.values()])
        self._states = [torch.zeros(len(self._which), int(self._sizes.sum())) for _ in range(2)]

    def step(self, gradients: Mapping[str, Tensor | None]) -> None:
        """One step by gradients that are contiguous; a parameter without one is not touched."""
        of = (gradients[name] for name in self._weights)
        addresses = np.array([0 if one is None else one.data_ptr() for one in of])
        tables: dict[Any, NDArray[np.float32]] = {}
        for place, groups in enumerate(self._groups):
            self._done[place] += bool(addresses[place])
            done = max(self._done[place], 1)
            if (groups, done) not in tables:
                told = zip(self._optimizers, groups, strict=True)
                numbers = [self._numbers(done, one.param_groups[group]) for one, group in told]
                tables[groups, done] = np.array(numbers, np.float32)
        places = zip(self._groups, self._done, strict=True)
        table = np.stack([tables[groups, max(done, 1)] for groups, done in places])
        args = self._addresses, addresses, self._sizes, table, self._which
        rows = max(1, BLOCK // self._states[0].shape[1])
        for first in range(0, len(self._which), rows):
            last = min(first + rows, len(self._which))
            self._step((*args, first, last), *(one[first:last] for one in self._states))
        for optimizer in self._optimizers:
            optimizer._opt_called = True  # or a scheduler warns


def _adam_numbers(step: int, told: Mapping[str, Any], *, apart: bool) -> tuple[float, ...]:
    (beta1, beta2), lr, decay = told["betas"], told["lr"], told["weight_decay"]
    apart = told.get("decoupled_weight_decay", apart)
    lerp, small = 1 - beta1, np.float32(1 - beta1) < 0.5
    return (
        *(0.0 if apart else decay, lerp if small else lerp - 1, not small, beta2, 1 - beta2),
        *(1 - lr * decay if apart else 1.0, (1 - beta2**step) ** 0.5, told["eps"]),
        -lr / (1 - beta1**step),
    )


def _adam(args: tuple[Any, ...], means: Tensor, squares: Tensor) -> None:
    compiled(stepped)(AVERAGES, *args, means.data_ptr(), squares.data_ptr())
    roots = squares.sqrt()  # some builds of torch round it otherwise than a processor does
    compiled(stepped)(ADAM, *args, means.data_ptr(), roots.data_ptr())


def _sgd_numbers(_: int, told: Mapping[str, Any]) -> tuple[float, ...]:
    return told["weight_decay"], told["momentum"], told["nesterov"], -told["lr"]


def _sgd(args: tuple[Any, ...], buffers: Tensor, _: Tensor) -> None:
    compiled(stepped)(SGD, *args, buffers.data_ptr(), 0)


def _rmsprop_numbers(_: int, told: Mapping[str, Any]) -> tuple[float, ...]:
    alpha = told["alpha"]
    return told["weight_decay"], alpha, 1 - alpha, told["eps"], told["momentum"], -told["lr"]


def _rmsprop(args: tuple[Any, ...], buffers: Tensor, squares: Tensor) -> None:
    compiled(stepped)(SQUARES, *args, buffers.data_ptr(), squares.data_ptr())
    roots = squares.sqrt()  # as in `_adam`
    compiled(stepped)(RMSPROP, *args, buffers.data_ptr(), roots.data_ptr())


_KINDS: Mapping[type, tuple[Any, Any]] = {
    torch.optim.Adam: (functools.partial(_adam_numbers, apart=False), _adam),
    torch.optim.AdamW: (functools.partial(_adam_numbers, apart=True), _adam),
    torch.optim.RMSprop: (_rmsprop_numbers, _rmsprop),
    torch.optim.SGD: (_sgd_numbers, _sgd),
}


def are_plain(optimizers: Sequence[torch.optim.Optimizer]) -> bool:
    """Whether `StackOptimizer` does all that these optimizers do, to the bit."""
    kind: Any = type(optimizers[0])
    alike = all(type(one) is kind and _is_plain(one) for one in optimizers)
    return alike and _is_torchs(kind)


def _is_plain(optimizer: Any) -> bool:
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    return not (optimizer.state or hooks or "step" in vars(optimizer)) and all(
        np.isscalar(one) if name in _NUMBERS else not value
        for group in optimizer.param_groups
        for name, value in group.items()
        if name not in _FREE
        for one in (value if isinstance(value, tuple) else [value])
    )


_NUMBERS = {"lr", "betas", "alpha", "eps", "weight_decay", "momentum"}
_FREE = {"params", "nesterov", "decoupled_weight_decay"}


@functools.cache
def _is_torchs(kind: Any) -> bool:
    """Whether this build of torch rounds as `StackOptimizer` does."""
    if kind not in _KINDS:
        return False
    draw = torch.Generator().manual_seed(0)
    weights = {f"{n}": torch.randn(2, n, generator=draw) for n in (51, 64)}
    alone = [[one[row].clone() for one in weights.values()] for row in range(2)]
    more: dict[str, Any] = {} if "betas" in kind([torch.zeros(1)]).defaults else {"momentum": 0.9}
    if kind is torch.optim.SGD:
        more["nesterov"] = True
    optimizers = [kind(alone[0], 0.1), kind(alone[1], 0.01, weight_decay=0.1, **more)]
    steps = StackOptimizer(optimizers, weights, [dict.fromkeys(weights, 0)] * 2, [1, 1])
    for size in (1.0, 1e-3, 30.0):
        gradients = {n: size * torch.randn(2, int(n), generator=draw) for n in weights}
        steps.step(gradients)
        for row, optimizer in enumerate(optimizers):
            for one, gradient in zip(alone[row], gradients.values(), strict=True):
                one.grad = gradient[row]
            optimizer.step()
    return all(map(torch.equal, weights.values(), map(torch.stack, zip(*alone, strict=True))))
