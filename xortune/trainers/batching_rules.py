"""Batching rules: what torch's functions do for many seeds at once within `torch.func.vmap`.

Three kinds of functions are replaced while a stack trains: those that draw random numbers, because
each seed has its own generator, an embedding with padding, whose gradient `vmap` gets wrong, and
those for which `vmap` is slow. For these, seeds become
channels of a convolution, or the first axis of a matrix product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xortune.trainers.kernels.draws import bernoulli
from xortune.trainers.kernels.images import BatchNorm, Convolution, is_exact

LOOP = "trained one seed at a time"

LANES = 16
"""With fewer numbers torch's log_softmax adds one after the other, along any axis."""

FEW = 32
"""With up to this many numbers in the last axis torch's softmax is slower than its formula."""


class CannotStack(Exception):
    """Why a training is not stacked, in a sentence."""


Rules = Sequence[tuple[Any, str, Callable[..., Any]]]
"""A module, the name of a function, and its replacement."""


@contextmanager
def replaced(rules: Rules) -> Iterator[None]:
    """Within this context the replacements are called."""
    before = [getattr(module, name) for module, name, _ in rules]
    try:
        for module, name, ours in rules:
            setattr(module, name, ours)
        yield
    finally:
        for (module, name, _), torchs in zip(rules, before, strict=True):
            setattr(module, name, torchs)


# -------------------------------------------------------------------------------------------------
# Random numbers, which each seed draws with its own generator.


@dataclass(frozen=True)
class SeedDraw:
    """Random numbers that a seed draws in one call of torch.

    Attributes:
        kind: bernoulli, normal, uniform, randperm or randint.
        shape: of the draw of one seed.
        order: its axes in the order of memory, the outermost first: torch draws in this order.
        dtype: its type.
        options: for bernoulli the probability p of a 1 (the draw is divided by p); for randint its
            bounds.
    """

    kind: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: torch.dtype
    options: tuple[float, ...] = ()

    def make(self, states: Tensor) -> Tensor:
        """The draws of S seeds, shape (S, ...).

        Args:
            states: uint8, shape (S, bytes): the states of their generators, which are advanced.
        """
        shape = tuple(self.shape[axis] for axis in self.order)
        if self.kind == "bernoulli":
            [keep] = self.options
            one = _inverse(keep, self.dtype)
            # `bernoulli` gives float32, which has too few digits for a float64.
            exact = self.dtype != torch.float64
            draws = bernoulli(states, keep, math.prod(shape), one if exact else 1.0)
            whole = draws.to(self.dtype).view(-1, *shape)
            if not exact:
                whole.div_(keep)
        else:
            whole, generator = torch.empty(len(states), *shape, dtype=self.dtype), torch.Generator()
            for row, state in zip(whole.unbind(0), states, strict=True):
                generator.set_state(state.clone())  # of a view torch reads the whole tensor's start
                if self.kind == "normal":
                    row.normal_(generator=generator)
                elif self.kind == "uniform":
                    row.uniform_(generator=generator)
                elif self.kind == "randperm":
                    torch.randperm(len(row), generator=generator, dtype=self.dtype, out=row)
                else:
                    row.random_(*self.options, generator=generator)
                state.copy_(generator.get_state())
        return whole.permute(0, *(1 + self.order.index(axis) for axis in range(len(self.order))))


@cache
def _inverse(keep: float, dtype: torch.dtype) -> float:
    """The value of a kept number of a dropout mask, rounded as by torch."""
    return torch.ones((), dtype=dtype).div_(keep).item()


def draws_by(take: Callable[[SeedDraw, Tensor | None], Tensor]) -> Rules:
    """Replacements of torch's functions that draw random numbers.

    Args:
        take: returns a draw; its second argument is the tensor whose shape the draw has, if any.
    """

    def drawn(kind: str, shape: Sequence[int], dtype: torch.dtype, *options: float) -> Tensor:
        shape = tuple(shape)
        return take(SeedDraw(kind, shape, tuple(range(len(shape))), dtype, options), None)

    def alike(kind: str, like: Tensor, shape: Sequence[int], *options: float) -> Tensor:
        if like.device.type != "cpu":
            raise CannotStack(f"draws random numbers on a {like.device.type} device: {LOOP}")
        shape, order = tuple(shape), tuple(range(len(shape)))
        if shape == like.shape:
            strides = like.stride()
            order = tuple(sorted(order, key=lambda axis: -strides[axis]))
        return take(SeedDraw(kind, shape, order, like.dtype, options), like)

    def sized(kind: str, torchs: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def draw(*size: Any, **options: Any) -> Tensor:
            if options:
                return torchs(*size, **options)
            shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
            return drawn(kind, shape, torch.get_default_dtype())

        return draw

    def randperm(n: int, **options: Any) -> Tensor:
        return torchs_randperm(n, **options) if options else drawn("randperm", (n,), torch.int64)

    def randint(*args: Any, **options: Any) -> Tensor:
        if options or len(args) not in {2, 3}:
            return torchs_randint(*args, **options)
        *ends, size = args
        low, high = ends if len(ends) == 2 else (0, ends[0])
        return drawn("randint", size, torch.int64, low, high)

    def dropout(
        input: Tensor,  # noqa: A002  # torch's own name
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
        *,
        channels: bool = False,
    ) -> Tensor:
        if not training or p == 0:
            return input
        shape = (*input.shape[:2], *(1 for _ in input.shape[2:])) if channels else input.shape
        noise = torch.zeros(()) if p == 1 else alike("bernoulli", input, shape, 1 - p)
        return input.mul_(noise) if inplace else input * noise

    def attention(  # noqa: PLR0917  # torch's own arguments
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        # By the formula in torch's documentation.
        if enable_gqa:
            raise CannotStack(
                f"scaled_dot_product_attention with enable_gqa is not stacked: {LOOP}"
            )
        factor = 1 / math.sqrt(query.size(-1)) if scale is None else scale
        weights = (query * factor) @ key.transpose(-2, -1)
        if is_causal:
            shape = (query.size(-2), key.size(-2))
            hidden = torch.ones(shape, dtype=torch.bool, device=query.device).triu(1)
            weights = weights.masked_fill(hidden, -math.inf)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            weights = weights.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            weights = weights + attn_mask
        return dropout(functional.softmax(weights, -1), dropout_p) @ value

    torchs_randperm, torchs_randint = torch.randperm, torch.randint
    return [
        (functional, "dropout", dropout),
        *((functional, f"dropout{d}d", partial(dropout, channels=True)) for d in (1, 2, 3)),
        (functional, "scaled_dot_product_attention", attention),
        (torch, "rand", sized("uniform", torch.rand)),
        (torch, "randn", sized("normal", torch.randn)),
        (torch, "rand_like", lambda like: alike("uniform", like, like.shape)),
        (torch, "randn_like", lambda like: alike("normal", like, like.shape)),
        (torch, "randperm", randperm),
        (torch, "randint", randint),
    ]


class Draws:
    """The draws of a loss: noted with one seed, then made for all seeds before each step.

    Attributes:
        wanted: the draws, in their order.
    """

    def __init__(self) -> None:
        self.wanted: list[SeedDraw] = []
        self._drawn: Sequence[Tensor] = ()
        self._next = 0

    def noting(self) -> Rules:
        """Replacements that note the draws while the loss of one seed is computed."""

        def note(draw: SeedDraw, _: Tensor | None) -> Tensor:
            self.wanted.append(draw)
            shape = [draw.shape[axis] for axis in draw.order]
            return torch.ones(shape, dtype=draw.dtype).permute(
                *(draw.order.index(axis) for axis in range(len(shape)))
            )

        return draws_by(note)

    def begin(self, drawn: Sequence[Tensor]) -> None:
        """Begin a loss of the stack, within `vmap`, with the draws of a seed."""
        self._drawn, self._next = drawn, 0

    def taking(self) -> Rules:
        """Replacements that return the draws while the losses of a stack are computed."""

        def take(draw: SeedDraw, _: Tensor | None) -> Tensor:
            number, self._next = self._next, self._next + 1
            # The order of axes in a stack's memory may differ; it draws in that of a seed alone.
            if number < len(self.wanted) and draw == replace(self.wanted[number], order=draw.order):
                return self._drawn[number]
            raise CannotStack(f"draws other random numbers from step to step: {LOOP}")

        return draws_by(take)


# -------------------------------------------------------------------------------------------------
# Faster rules.


class _AtOnce(torch.autograd.Function):
    """Calls a function with the tensors of all seeds in place of those of a seed."""

    @staticmethod
    def forward(*_: Any) -> Tensor:
        raise CannotStack(f"a function that is computed for all seeds is in another one: {LOOP}")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing: the functions that are called have gradients of their own."""

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], whole: Callable[..., Any], *tensors: Any
    ) -> tuple[Tensor, int]:
        found: tuple[Tensor, int] = whole(info.batch_size, dims[1:], *tensors)
        return found


def _padded(whole: Tensor) -> Tensor:
    """Pad the last axis with zeros to a multiple of LANES.

    Otherwise torch computes the exponentials of the last numbers by another function.
    """
    lacking = -whole.shape[-1] % LANES
    return functional.pad(whole, (0, lacking)) if lacking else whole.contiguous()


class _Linear(torch.autograd.Function):
    """The linear layers of S seeds; gradients have the memory order of the weights.

    Inputs have shape (S, N, in), weights (S, out, in), biases (S, out).
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weights: Tensor, biases: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weights)
        return _products(inputs, weights.transpose(1, 2), biases)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (inputs, weights), needed = ctx.saved_tensors, ctx.needs_input_grad
        gradient = gradient.contiguous()  # in another memory order sums round differently
        return (
            _products(gradient, weights) if needed[0] else None,
            _products(gradient.transpose(1, 2), inputs) if needed[1] else None,
            gradient.sum(1) if needed[2] else None,
        )


def _products(ones: Tensor, twos: Tensor, biases: Tensor | None = None) -> Tensor:
    """S products of matrices (m, k) and (k, n), plus a bias (n,), rounded as for a single seed."""
    if ones.is_cpu and 1 in {ones.shape[1], twos.shape[2]} and ones.shape[2] > 1:
        # A batched product of matrices and vectors sums in another order.
        if biases is None:
            return torch.stack(list(map(torch.mm, ones.unbind(), twos.unbind())))
        return torch.stack(list(map(torch.addmm, biases.unbind(), ones.unbind(), twos.unbind())))
    if biases is None:
        return ones @ twos
    return torch.baddbmm(biases.unsqueeze(1), ones, twos)


def for_each(whole: Callable[..., tuple[Tensor, int]], *tensors: Any) -> Tensor:
    """Call a function with the tensors of all seeds.

    Args:
        whole: called with the number of seeds, the axis of the seeds in each tensor (None: all
            seeds have the same), and the tensors; returns a tensor and the axis of its seeds.
        tensors: those of a seed within `vmap`; at least one differs between seeds.
    """
    result: Tensor = _AtOnce.apply(whole, *tensors)  # type: ignore[no-untyped-call]
    return result


class _FewSoftmax(torch.autograd.Function):
    """softmax along a last axis of few numbers, in a fifth of torch's time."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        powers = (inputs - inputs.amax(-1, keepdim=True)).exp_()
        found = powers.div_(powers.sum(-1, keepdim=True))
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        found: Tensor = ctx.saved_tensors[0]
        product = gradient * found
        return product - found * product.sum(-1, keepdim=True)


class _Ordered(torch.autograd.Function):
    """The identity; it gives the gradient the memory order of the tensor.

    torch computes the gradient of an activation ten times as fast if both have the same order.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.order = torch.channels_last if _is_last(inputs) else torch.contiguous_format
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=ctx.order)


class _Mean(torch.autograd.Function):
    """The mean of each image of (N, C, H, W); the gradient has the memory order of the inputs.

    It sums in the order of a contiguous image, as for a single seed.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.size = inputs.shape[2:]
        return inputs.contiguous().mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        each: Tensor = (gradient / math.prod(ctx.size)).permute(0, 2, 3, 1)
        return each.expand(-1, *ctx.size, -1).contiguous().permute(0, 3, 1, 2)


def _is_last(inputs: Tensor) -> bool:
    return inputs.is_contiguous(memory_format=torch.channels_last)


def _channels(tensor: Tensor, dim: int | None, seeds: int) -> Tensor:
    """Shape (N, S * C, ...) of a tensor whose seeds are at `dim`."""
    if dim is None:
        whole = tensor.unsqueeze(1).expand(-1, seeds, *tensor.shape[1:])
    else:
        whole = tensor.movedim(dim, 1)
    return whole.flatten(1, 2)


def _flat(tensor: Tensor | None, dim: int | None, seeds: int) -> Tensor | None:
    """Shape (S * C, ...) of a tensor of shape (C, ...) of each seed."""
    if tensor is None:
        return None
    return _first(tensor, dim, seeds).flatten(0, 1)


def _first(tensor: Tensor, dim: int | None, seeds: int) -> Tensor:
    """Shape (S, ...) of a tensor whose seeds are at `dim`."""
    return tensor.expand(seeds, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _seeds_of(whole: Tensor, seeds: int) -> tuple[Tensor, int]:
    return whole.unflatten(1, (seeds, -1)), 1  # type: ignore[no-untyped-call]


def _is_plain(*tensors: Tensor | None) -> bool:
    """Whether the tensors are float32 on the CPU."""
    return all(one is None or (one.is_cpu and one.dtype == torch.float32) for one in tensors)


def _is_image(inputs: Tensor, seeds: int) -> bool:
    """Whether BatchNorm of all seeds equals that of each to the bit, with channels innermost."""
    n, channels, *size = inputs.shape
    return len(size) == 2 and math.prod(size) > 1 and is_exact(n, channels // seeds, *size)


def _pair(value: Any) -> tuple[int, int]:
    one, other = (value, value) if isinstance(value, int) else (*value, *value)[:2]
    return one, other


def _around(
    padding: Any, strides: tuple[int, int], dilations: tuple[int, int], window: Sequence[int]
) -> tuple[int, int] | None:
    """The padding of an image on each side along both axes; None if its sides differ."""
    if padding == "valid":
        return 0, 0
    if padding != "same":
        return _pair(padding)
    both = [step * (size - 1) for step, size in zip(dilations, window, strict=True)]
    even = strides == (1, 1) and not any(zeros % 2 for zeros in both)
    return (both[0] // 2, both[1] // 2) if even else None


def _autocast(*tensors: Tensor | None) -> list[Tensor | None]:
    """Convert tensors to the type of autocast: `vmap` would add a bias of another type."""
    device = next(one.device.type for one in tensors if one is not None)
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [None if one is None else one.to(dtype) for one in tensors]


def fast_rules(row: Callable[[], Tensor]) -> Rules:
    """Replacements of torch's functions for which `vmap` is slow.

    Args:
        row: returns, within `vmap`, a number that differs between seeds. As an argument it makes
            `vmap` also treat calls whose other tensors are the same for all seeds.
    """
    torchs: Mapping[str, Callable[..., Any]] = {
        name: getattr(functional, name) for name in ("conv2d", "batch_norm", *CHANNELWISE)
    }

    def conv2d(  # noqa: PLR0917  # torch's own arguments
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if input.dim() != 4:
            return torchs["conv2d"](input, weight, bias, stride, padding, dilation, groups)  # type: ignore[no-any-return]

        strides, dilations = _pair(stride), _pair(dilation)
        around = _around(padding, strides, dilations, weight.shape[2:])

        def whole(seeds: int, dims: Sequence[int | None], *tensors: Any) -> tuple[Tensor, int]:
            inputs, weights, biases, _ = tensors
            shared = dims[0] is None and groups == 1  # one input for the channels of all seeds
            inputs = inputs if shared else _channels(inputs, dims[0], seeds)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            weights = _flat(weights, dims[1], seeds)
            biases = _flat(biases, dims[2], seeds)
            if around is not None and groups == 1 and _is_plain(inputs, weights):
                geometry = (seeds, int(shared), *strides, *around, *dilations)
                result = Convolution.apply(inputs, weights, biases, geometry)  # type: ignore[no-untyped-call]
            else:
                parts = 1 if shared else seeds * groups
                result = torchs["conv2d"](inputs, weights, biases, stride, padding, dilation, parts)
            return _seeds_of(result, seeds)

        return for_each(whole, *_autocast(input, weight, bias), row())

    def batch_norm(  # noqa: PLR0917  # torch's own arguments
        input: Tensor,  # noqa: A002
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        def whole(seeds: int, dims: Sequence[int | None], *tensors: Any) -> tuple[Tensor, int]:
            inputs = _channels(tensors[0], dims[0], seeds)
            # torch changes running statistics in place: `_flat` gives views.
            mean, var, *own = map(_flat, tensors[1:5], dims[1:5], itertools.repeat(seeds))
            if training and _is_plain(inputs, mean, var, *own) and _is_image(inputs, seeds):
                inputs = inputs.contiguous(memory_format=torch.channels_last)
                count = inputs.shape[1]
                w = inputs.new_ones(count) if own[0] is None else own[0]
                b = inputs.new_zeros(count) if own[1] is None else own[1]
                result = BatchNorm.apply(inputs, w, b, mean, var, momentum, eps)  # type: ignore[no-untyped-call]
            else:
                result = torchs["batch_norm"](inputs, mean, var, *own, training, momentum, eps)
            return _seeds_of(result, seeds)

        return for_each(whole, input, running_mean, running_var, weight, bias, row())

    def channelwise(name: str) -> Callable[..., Tensor]:
        def pool(input: Tensor, *args: Any, **options: Any) -> Tensor:  # noqa: A002
            if input.dim() != 4 or options.get("return_indices") or options.get("inplace"):
                return torchs[name](input, *args, **options)  # type: ignore[no-any-return]

            def whole(seeds: int, dims: Sequence[int | None], *tensors: Any) -> tuple[Tensor, int]:
                inputs = _channels(tensors[0], dims[0], seeds)
                if name == "adaptive_avg_pool2d" and args in {(1,), ((1, 1),)}:
                    result = _Mean.apply(inputs)  # type: ignore[no-untyped-call]
                elif name in ACTIVATIONS and _is_last(inputs):
                    # Contiguous, so that torch takes oneDNN's GELU, as for a single seed.
                    result = torchs[name](inputs.permute(0, 2, 3, 1), *args, **options)
                    result = _Ordered.apply(result.permute(0, 3, 1, 2))  # type: ignore[no-untyped-call]
                else:
                    inputs = inputs.contiguous() if name == "adaptive_avg_pool2d" else inputs
                    result = _Ordered.apply(torchs[name](inputs, *args, **options))  # type: ignore[no-untyped-call]
                return _seeds_of(result, seeds)

            return for_each(whole, input, row())

        return pool

    return [
        (functional, "conv2d", conv2d),
        (functional, "batch_norm", batch_norm),
        *((functional, name, channelwise(name)) for name in CHANNELWISE),
        *_matrix_rules(row),
    ]


def _matrix_rules(row: Callable[[], Tensor]) -> Rules:
    """Replacements of functions of matrices, with the seeds as the first axis."""
    names = ("linear", "softmax", "log_softmax", "cross_entropy", "embedding")
    torchs: Mapping[str, Callable[..., Any]] = {name: getattr(functional, name) for name in names}

    def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
        def whole(seeds: int, dims: Sequence[int | None], *tensors: Any) -> tuple[Tensor, int]:
            inputs, weights = map(_first, tensors[:2], dims[:2], (seeds, seeds))
            biases = None if tensors[2] is None else _first(tensors[2], dims[2], seeds)
            rows = inputs if inputs.dim() == 3 else inputs.reshape(seeds, -1, inputs.shape[-1])
            result = _Linear.apply(rows, weights, biases)  # type: ignore[no-untyped-call]
            return result if inputs.dim() == 3 else result.view(*inputs.shape[:-1], -1), 0

        return for_each(whole, *_autocast(input, weight, bias), row())

    def softmax(input: Tensor, dim: int | None = None, *args: Any, **options: Any) -> Tensor:  # noqa: A002
        if args or options or dim not in {-1, input.dim() - 1} or input.size(-1) > FEW:
            return torchs["softmax"](input, dim, *args, **options)  # type: ignore[no-any-return]

        def whole(seeds: int, dims: Sequence[int | None], *tensors: Any) -> tuple[Tensor, int]:
            return _FewSoftmax.apply(_first(tensors[0], dims[0], seeds)), 0  # type: ignore[no-untyped-call]

        return for_each(whole, input, row())

    def log_softmax(input: Tensor, dim: int | None = None, *args: Any, **options: Any) -> Tensor:  # noqa: A002
        classes = input.dim() == 2 and dim in {-1, 1} and input.size(-1) < LANES
        if args or options or not classes:
            return torchs["log_softmax"](input, dim, *args, **options)  # type: ignore[no-any-return]

        def whole(seeds: int, dims: Sequence[int | None], *tensors: Any) -> tuple[Tensor, int]:
            # Along the middle axis it takes a fifth of the time, and is the same to the bit; so is
            # the gradient, in the memory order of a single seed's.
            inputs = _Ordered.apply(_first(tensors[0], dims[0], seeds))  # type: ignore[no-untyped-call]
            logs = torch.log_softmax(_padded(inputs.transpose(1, 2)), 1)
            return logs[..., : inputs.shape[1]].transpose(1, 2).contiguous(), 0

        return for_each(whole, input, row())

    def cross_entropy(input: Tensor, target: Tensor, *args: Any, **options: Any) -> Tensor:  # noqa: A002
        classes = input.dim() == 2 and target.dim() == 1
        if args or not classes or options.keys() - {"ignore_index", "reduction"}:
            return torchs["cross_entropy"](input, target, *args, **options)  # type: ignore[no-any-return]
        reduction, ignored = options.get("reduction", "mean"), options.get("ignore_index", -100)

        def whole(seeds: int, dims: Sequence[int | None], *tensors: Any) -> tuple[Tensor, int]:
            inputs, targets, _ = map(_first, tensors, dims, itertools.repeat(seeds))
            if inputs.shape[2] >= LANES:
                logs = torch.log_softmax(inputs.reshape(-1, inputs.shape[2]), 1)
                flat = targets.reshape(-1)
            else:  # see `log_softmax`
                logs = torch.log_softmax(_padded(inputs.transpose(1, 2)), 1)
                logs, flat = logs[..., : targets.shape[1]], targets
            losses = functional.nll_loss(logs, flat, ignore_index=ignored, reduction="none")
            losses = losses.view(targets.shape)
            if reduction == "none":
                return losses, 0
            total = losses.sum(1)
            return (total / (targets != ignored).sum(1) if reduction == "mean" else total), 0

        return for_each(whole, input, target, row())

    def embedding(
        input: Tensor,  # noqa: A002
        weight: Tensor,
        padding_idx: int | None = None,
        *args: Any,
        **options: Any,
    ) -> Tensor:
        rows: Tensor = torchs["embedding"](input, weight, None, *args, **options)
        if padding_idx is None:
            return rows
        # In `vmap` torch gives the row of the padding a gradient.
        is_padding = input == padding_idx % weight.size(0)
        return torch.where(is_padding.unsqueeze(-1), rows.detach(), rows)

    ours: Sequence[Callable[..., Any]] = (linear, softmax, log_softmax, cross_entropy, embedding)
    return [(functional, name, function) for name, function in zip(names, ours, strict=True)]


ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu")

CHANNELWISE = (
    *("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
    *ACTIVATIONS,
)
"""Functions that compute each channel by itself."""
