"""Steps of Adam, AdamW, RMSprop and SGD for many models in one call, as torch computes them.

For a step torch reads a parameter some ten times, once for each operation, and again for each
configuration; its fused optimizers read it once but round differently. This module reads it once
and rounds each number as torch's separate operations do; `are_plain` compares the two on this
processor.
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
from xortune.trainers.kernels.formulas import INLINE

NUMBERS_AT_ONCE = 2**16
"""Numbers of the models that are stepped together: they and their states stay in the cache."""


@intrinsic
def fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x * y + z, rounded once."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), lowered


@intrinsic
def floats_at(typingctx: Any, address: Any, index: Any) -> Any:
    """Return a pointer to the float32 numbers from an index on, counted from an address."""

    def lowered(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.FloatType().as_pointer())
        return builder.gep(pointer, [args[1]])

    return types.CPointer(types.float32)(types.int64, types.int64), lowered


AVERAGES, ADAM, SGD, SQUARES, RMSPROP = range(5)
"""Parts of a step: Adam's running averages of the gradient and its square; Adam's step by the first
and the root of the second; SGD's step with its buffers; RMSprop's running average of the squared
gradient; RMSprop's step by its root, with buffers."""


@njit(**INLINE)
def _decayed(gradient, weight, decay):
    return fma(weight, decay, gradient) if decay != 0 else gradient


@njit(nogil=True, error_model="numpy")
def stepped(part, weights, gradients, sizes, table, which, first, last, ones, twos):
    """Do a part of a step for the models from `first` to before `last`.

    Addresses take the place of arrays, which would double the time of compiling.

    Args:
        part: one of `AVERAGES` and the others.
        weights: int64, shape (K,): the address of each stacked parameter.
        gradients: int64, shape (K,): the address of its gradient; 0 if it has none.
        sizes: int64, shape (K,): the numbers of one model in each parameter.
        table: float32, shape (K, configurations, ...): the numbers of each configuration.
        which: int64: the configuration of each model.
        first: the first model.
        last: the model behind the last one.
        ones: address of the first state of the model `first`; a row of a state holds the numbers of
            a model, parameter after parameter.
        twos: address of its second state.
    """
    at = 0
    for row in range(first, last):
        for k in range(len(sizes)):
            n = sizes[k]
            if gradients[k]:
                t = table[k, which[row]]
                w, g = floats_at(weights[k], row * n), floats_at(gradients[k], row * n)
                a, b = floats_at(ones, at), floats_at(twos, at)
                if part == AVERAGES:
                    decay, lerp, base, beta, share = t[0], t[1], t[2], t[3], t[4]
                    for i in range(n):
                        d = _decayed(g[i], w[i], decay)
                        a[i] = fma(lerp, d - a[i], d if base else a[i])
                        b[i] = fma(share * d, d, b[i] * beta)
                elif part == ADAM:
                    kept, correction, eps, step = t[5], t[6], t[7], t[8]
                    for i in range(n):
                        w[i] = w[i] * kept + (step * a[i]) / (b[i] / correction + eps)
                elif part == SQUARES:
                    decay, beta, share = t[0], t[1], t[2]
                    for i in range(n):
                        d = _decayed(g[i], w[i], decay)
                        b[i] = fma(share * d, d, b[i] * beta)
                elif part == RMSPROP:
                    decay, eps, momentum, step = t[0], t[3], t[4], t[5]
                    for i in range(n):
                        d = _decayed(g[i], w[i], decay)
                        if momentum != 0:
                            a[i] = a[i] * momentum + d / (b[i] + eps)
                            w[i] = fma(a[i], step, w[i])
                        else:
                            w[i] = w[i] + (step * d) / (b[i] + eps)
                else:
                    decay, momentum, nesterov, step = t[0], t[1], t[2], t[3]
                    for i in range(n):
                        d = _decayed(g[i], w[i], decay)
                        if momentum != 0:
                            a[i] = a[i] * momentum + d
                            d = fma(a[i], momentum, d) if nesterov else a[i]
                        w[i] = fma(d, step, w[i])
            at += n


class StackOptimizer:
    """The optimizers of several configurations, applied to the stacked parameters of all models.

    Args:
        optimizers: one for each configuration, of one class, without state. Their options are read
            at each step; their own parameters are not touched.
        weights: the stacked parameters by name, float32, contiguous, of shape (S, ...).
        groups: for each configuration, the place of each parameter's group in its optimizer.
        models: the number of models of each configuration; S in all.
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
        self._groups = [tuple(places[name] for places in groups) for name in weights]
        self._done = [0] * len(weights)  # steps of each parameter
        self._begun = False
        self._addresses = _addresses_of(weights)
        self._sizes = np.array([weight[0].numel() for weight in weights.values()])
        self._states = [torch.zeros(len(self._which), int(self._sizes.sum())) for _ in range(2)]

    def keep(self, rows: Sequence[int], parameters: Mapping[str, Tensor]) -> None:
        """Go on with some models.

        Args:
            rows: their indices, ascending.
            parameters: their stacked parameters by name, the trained ones and others.
        """
        self._weights = {name: parameters[name] for name in self._weights}
        self._addresses = _addresses_of(self._weights)
        self._which = self._which[rows]
        self._states = [state[rows] for state in self._states]

    def step(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Do one step. Gradients are contiguous; a parameter without one is not touched."""
        ordered = (gradients[name] for name in self._weights)
        addresses = np.array([0 if one is None else one.data_ptr() for one in ordered])
        tables: dict[Any, NDArray[np.float32]] = {}
        for place, groups in enumerate(self._groups):
            self._done[place] += bool(addresses[place])
            done = max(self._done[place], 1)
            if (groups, done) not in tables:
                pairs = zip(self._optimizers, groups, strict=True)
                numbers = [self._numbers(done, one.param_groups[group]) for one, group in pairs]
                tables[groups, done] = np.array(numbers, np.float32)
        places = zip(self._groups, self._done, strict=True)
        table = np.stack([tables[groups, max(done, 1)] for groups, done in places])
        args = self._addresses, addresses, self._sizes, table, self._which
        rows = max(1, NUMBERS_AT_ONCE // self._states[0].shape[1])
        for first in range(0, len(self._which), rows):
            last = min(first + rows, len(self._which))
            self._step((*args, first, last), *(one[first:last] for one in self._states))
        if not self._begun:  # a scheduler warns if its optimizer has not done a step
            for optimizer in self._optimizers:
                optimizer.step()  # of parameters without a gradient
            self._begun = True


def _addresses_of(weights: Mapping[str, Tensor]) -> NDArray[np.int64]:
    return np.array([weight.data_ptr() for weight in weights.values()])


def _adam_numbers(step: int, options: Mapping[str, Any], *, decoupled: bool) -> tuple[float, ...]:
    (beta1, beta2), lr, decay = options["betas"], options["lr"], options["weight_decay"]
    decoupled = options.get("decoupled_weight_decay", decoupled)
    # torch's `lerp` starts from the nearer one of its two ends.
    lerp, small = 1 - beta1, np.float32(1 - beta1) < 0.5
    return (
        *(0.0 if decoupled else decay, lerp if small else lerp - 1, not small, beta2, 1 - beta2),
        *(1 - lr * decay if decoupled else 1.0, (1 - beta2**step) ** 0.5, options["eps"]),
        -lr / (1 - beta1**step),
    )


def _adam(args: tuple[Any, ...], means: Tensor, squares: Tensor) -> None:
    compiled(stepped)(AVERAGES, *args, means.data_ptr(), squares.data_ptr())
    roots = squares.sqrt()  # some builds of torch round it differently from the processor
    compiled(stepped)(ADAM, *args, means.data_ptr(), roots.data_ptr())


def _sgd_numbers(_: int, options: Mapping[str, Any]) -> tuple[float, ...]:
    return options["weight_decay"], options["momentum"], options["nesterov"], -options["lr"]


def _sgd(args: tuple[Any, ...], buffers: Tensor, _: Tensor) -> None:
    compiled(stepped)(SGD, *args, buffers.data_ptr(), 0)


def _rmsprop_numbers(_: int, options: Mapping[str, Any]) -> tuple[float, ...]:
    decay, alpha, momentum = options["weight_decay"], options["alpha"], options["momentum"]
    return decay, alpha, 1 - alpha, options["eps"], momentum, -options["lr"]


def _rmsprop(args: tuple[Any, ...], buffers: Tensor, squares: Tensor) -> None:
    compiled(stepped)(SQUARES, *args, buffers.data_ptr(), squares.data_ptr())
    roots = squares.sqrt()  # as in `_adam`
    compiled(stepped)(RMSPROP, *args, buffers.data_ptr(), roots.data_ptr())


_KINDS: Mapping[type, tuple[Any, Any]] = {
    torch.optim.Adam: (functools.partial(_adam_numbers, decoupled=False), _adam),
    torch.optim.AdamW: (functools.partial(_adam_numbers, decoupled=True), _adam),
    torch.optim.RMSprop: (_rmsprop_numbers, _rmsprop),
    torch.optim.SGD: (_sgd_numbers, _sgd),
}


def are_plain(optimizers: Sequence[torch.optim.Optimizer]) -> bool:
    """Return whether `StackOptimizer` does all that these optimizers do, to the bit."""
    kind: Any = type(optimizers[0])
    alike = all(type(one) is kind and _is_plain(one) for one in optimizers)
    return alike and _rounds_as_torch(kind)


def _is_plain(optimizer: Any) -> bool:
    return not (optimizer.state or "step" in vars(optimizer)) and all(
        np.isscalar(one) if name in _NUMBERS else not value
        for group in optimizer.param_groups
        for name, value in group.items()
        if name not in _FREE
        for one in (value if isinstance(value, tuple) else [value])
    )


_NUMBERS = {"lr", "betas", "alpha", "eps", "weight_decay", "momentum"}
_FREE = {"params", "nesterov", "decoupled_weight_decay"}


@functools.cache
def _rounds_as_torch(kind: Any) -> bool:
    """Return whether `StackOptimizer` rounds as this build of torch does."""
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
