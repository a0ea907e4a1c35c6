"""Rules: what computes some of torch's functions for all seeds at once within `torch.func.vmap`.

`vmap` maps a loss over the seeds of a stack and computes most functions well. A rule computes one
that it does not, in place of torch:

    def loss(weights, x, row):                    # of one seed; `row` is its number
        with Ruled(matrix_rules(row)):            # functional.linear is now computed by `linear`
            return functional.linear(x, weights).sum()

    losses = vmap(loss)(weights, x, torch.arange(seeds))

Within a rule `for_each` leaves `vmap`: it calls a function with the tensors of all seeds, whose
first axis is the seed. Each rule says what it is for. Those of random numbers are in `seed_draws`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import map_aggregate
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from xortune.trainers.kernels.images import BatchNorm, Convolution, is_exact

LOOP = "trained one seed at a time"


class CannotStack(Exception):
    """Why a training is not stacked, in a sentence."""


Rules = Mapping[Callable[..., Any], Callable[..., Any]]
"""By a function of torch, what computes it; it has the same arguments."""


class Ruled(TorchFunctionMode):
    """Within this context rules compute the functions of torch that they name.

    Rules do not hold for what rules and torch's own functions call. So attention, which calls
    `linear` and `dropout`, is computed by `FORMULAS`, for which they do.

    Args:
        rules: by the function.
        instead: by a tensor's id, the one that takes its place: a training may keep a list of its
            model's parameters.
    """

    def __init__(self, rules: Rules, instead: Mapping[int, Tensor] = {}) -> None:
        super().__init__()
        self._rules, self._instead = rules, instead

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute a function of torch."""
        if self._instead:
            args, kwargs = map_aggregate((args, kwargs or {}), self._own)
        if func in FORMULAS:
            with self:
                return FORMULAS[func](*args, **(kwargs or {}))
        return self._rules.get(func, func)(*args, **(kwargs or {}))

    def _own(self, value: Any) -> Any:
        return self._instead.get(id(value), value)


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
        info: Any, dims: tuple[int | None, ...], whole: Callable[..., Tensor], *tensors: Any
    ) -> tuple[Tensor, int]:
        def seeds_first(tensor: Tensor | None, dim: int | None) -> Tensor | None:
            if tensor is None:
                return None
            if dim is None:
                return tensor.expand(info.batch_size, *tensor.shape)
            return tensor.movedim(dim, 0)

        return whole(*map(seeds_first, tensors[:-1], dims[1:-1])), 0


def for_each(whole: Callable[..., Tensor], row: Tensor, *tensors: Any) -> Tensor:
    """Compute a function of a seed's tensors, within `vmap`, for all S seeds in one call.

    Args:
        whole: called with the tensors of all seeds, shape (S, ...); of one that all seeds share,
            the first stride is 0. Returns a tensor of shape (S, ...).
        row: the number of the seed. Because it differs between seeds, `vmap` also treats calls
            whose other tensors are the same for all.
        tensors: those of the seed, or None.
    """
    result: Tensor = _AtOnce.apply(whole, *tensors, row)  # type: ignore[no-untyped-call]
    return result


def in_type_of_autocast(*tensors: Tensor | None) -> list[Tensor | None]:
    """Convert tensors to the type of autocast: `vmap` would add a bias of another type."""
    device = next(one.device.type for one in tensors if one is not None)
    if not torch.is_autocast_enabled(device):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [None if one is None else one.to(dtype) for one in tensors]


def matrix_rules(row: Tensor) -> Rules:
    """Rules of functions of matrices.

    Args:
        row: the number of the seed, within `vmap`.
    """
    return {
        functional.linear: partial(linear, row),
        functional.softmax: partial(softmax, row),
        functional.cross_entropy: partial(cross_entropy, row),
        functional.embedding: embedding,
        torch.lstm_cell: lstm_cell,
    }


# -------------------------------------------------------------------------------------------------
# Linear layers.
#
# For the bits: torch's rule sums gradients in another order. It also takes 1.2 times as long.


def linear(row: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
    """`functional.linear`, rounded as for each seed alone."""
    return for_each(_linear, row, *in_type_of_autocast(input, weight, bias))


def _linear(inputs: Tensor, weights: Tensor, biases: Tensor | None) -> Tensor:
    rows = inputs if inputs.dim() == 3 else inputs.reshape(len(inputs), -1, inputs.shape[-1])
    result: Tensor = _Linear.apply(rows, weights, biases)  # type: ignore[no-untyped-call]
    return result if inputs.dim() == 3 else result.view(*inputs.shape[:-1], -1)


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


# -------------------------------------------------------------------------------------------------
# Softmax, losses and embeddings.

FEW = 32
"""With up to this many numbers in the last axis torch's softmax is slower than its formula."""


def softmax(row: Tensor, input: Tensor, dim: int | None = None, **options: Any) -> Tensor:  # noqa: A002
    """`functional.softmax` along a last axis of few numbers.

    For speed: a step of attention to 8 keys takes 1.3 times as long by torch's rule.
    """
    last = dim in {-1, input.dim() - 1} and input.size(-1) <= FEW
    if not last or options.get("dtype") is not None:
        return functional.softmax(input, dim, **options)
    return for_each(_FewSoftmax.apply, row, input)


class _FewSoftmax(torch.autograd.Function):
    """Softmax along a last axis of few numbers, in a fifth of torch's time."""

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


LANES = 16
"""With fewer numbers torch's log_softmax adds one after the other, along any axis."""


def cross_entropy(  # noqa: PLR0917  # torch's own arguments
    row: Tensor,
    input: Tensor,  # noqa: A002
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """`functional.cross_entropy` of fewer than `LANES` classes.

    For speed: a step of a small network takes 1.3 to 1.5 times as long by torch's rule. Equal to
    the bit.
    """
    few = input.dim() == 2 and target.dim() == 1 and input.size(1) < LANES
    if not few or weight is not None or label_smoothing or (size_average, reduce) != (None, None):
        options = (weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        return functional.cross_entropy(input, target, *options)

    def whole(inputs: Tensor, targets: Tensor) -> Tensor:
        # Along the middle axis it takes a fifth of the time.
        logs = torch.log_softmax(_padded(inputs.transpose(1, 2)), 1)[..., : targets.shape[1]]
        losses = functional.nll_loss(logs, targets, ignore_index=ignore_index, reduction="none")
        if reduction == "none":
            return losses
        total = losses.sum(1)
        return total / (targets != ignore_index).sum(1) if reduction == "mean" else total

    return for_each(whole, row, input, target)


def _padded(whole: Tensor) -> Tensor:
    """Pad the last axis with zeros to a multiple of LANES.

    Otherwise torch computes the exponentials of the last numbers by another function.
    """
    lacking = -whole.shape[-1] % LANES
    return functional.pad(whole, (0, lacking)) if lacking else whole


def embedding(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    padding_idx: int | None = None,
    *args: Any,
    **options: Any,
) -> Tensor:
    """`functional.embedding`.

    For correctness: by torch's rule the row of the padding gets a gradient.
    """
    rows: Tensor = functional.embedding(input, weight, None, *args, **options)
    if padding_idx is None:
        return rows
    is_padding = input == padding_idx % weight.size(0)
    return torch.where(is_padding.unsqueeze(-1), rows.detach(), rows)


def lstm_cell(  # noqa: PLR0917  # torch's own arguments
    input: Tensor,  # noqa: A002
    state: tuple[Tensor, Tensor],
    in_weight: Tensor,
    weight: Tensor,
    in_bias: Tensor | None = None,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`torch.lstm_cell`, of which torch has no rule."""
    gates = functional.linear(input, in_weight, in_bias)
    gates = gates + functional.linear(state[0], weight, bias)
    kept, forgotten, new, shown = gates.chunk(4, -1)
    cell = forgotten.sigmoid() * state[1] + kept.sigmoid() * new.tanh()
    return shown.sigmoid() * cell.tanh(), cell


# -------------------------------------------------------------------------------------------------
# Attention, by the formulas in torch's documentation.
#
# For dropout, which torch draws where no rule holds, and for speed: torch has no rule for its fused
# attention and calls it seed after seed.


def attention(  # noqa: PLR0917  # torch's own arguments
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """`functional.scaled_dot_product_attention`, without `enable_gqa`."""
    if is_causal:
        shape = (query.size(-2), key.size(-2))
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = _added(~attn_mask, query.dtype)
    return _weights(query, key, attn_mask, dropout_p, scale) @ value


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What a mask adds to scores: one of truths minus infinity where a key is hidden, else 0."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)


def _weights(
    query: Tensor, key: Tensor, added: Tensor | None, dropout_p: float, scale: float | None = None
) -> Tensor:
    """The weight of each key for each query, shape (..., queries, keys)."""
    scores = (query * (query.size(-1) ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    shares = functional.softmax(scores if added is None else scores + added, -1)
    return functional.dropout(shares, dropout_p)


def attention_layer(  # noqa: PLR0917  # torch's own arguments
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,  # noqa: ARG001
    heads: int,
    in_weight: Tensor,
    in_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_weight: Tensor,
    out_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,  # noqa: ARG001  # `attn_mask` says which
) -> tuple[Tensor, Tensor | None]:
    """`functional.multi_head_attention_forward`; inputs have shape (length, batch, features)."""
    more = (bias_k, bias_v, static_k, static_v)
    if query.dim() != 3 or add_zero_attn or any(one is not None for one in more):
        raise CannotStack(f"nn.MultiheadAttention adds keys, or has no batch: {LOOP}")
    projected: Sequence[Tensor]
    if query is key is value and not use_separate_proj_weight:
        projected = functional.linear(query, in_weight, in_bias).chunk(3, -1)
    else:
        own = (q_proj_weight, k_proj_weight, v_proj_weight)
        weights: Any = own if use_separate_proj_weight else in_weight.chunk(3)
        biases: Any = (None, None, None) if in_bias is None else in_bias.chunk(3)
        projected = [
            functional.linear(one, w, b)
            for one, w, b in zip((query, key, value), weights, biases, strict=True)
        ]
    # (batch, heads, length, features of a head)
    queries, keys, values = (
        one.view(*one.shape[:2], heads, -1).permute(1, 2, 0, 3) for one in projected
    )
    added: Any = None
    if attn_mask is not None:  # (queries, keys), or that of each head of each batch
        added = _added(attn_mask, query.dtype)
        added = added if added.dim() == 2 else added.unflatten(0, (-1, heads))
    if key_padding_mask is not None:  # (batch, keys)
        padding = _added(key_padding_mask, query.dtype)[:, None, None, :]
        added = padding if added is None else added + padding
    shares = _weights(queries, keys, added, dropout_p if training else 0.0)
    heard = (shares @ values).permute(2, 0, 1, 3).flatten(2)
    out = functional.linear(heard, out_weight, out_bias)
    if not need_weights:
        return out, None
    return out, shares.mean(1) if average_attn_weights else shares


FORMULAS: Rules = {
    functional.scaled_dot_product_attention: attention,
    functional.multi_head_attention_forward: attention_layer,
}


# -------------------------------------------------------------------------------------------------
# Functions of images: the channels of all seeds lie beside each other, as one image's.
#
# A seed's images have shape (N, C, H, W), those of all seeds (N, S * C, H, W). A convolution of all
# seeds is one with a group for each seed; BatchNorm, pooling and GELU do not know that there are
# seeds. Between these layers the images stay in one order in memory, `channels_last`, in which
# torch's own rules for `vmap` would not leave them.


def image_rules(row: Tensor) -> Rules:
    """Rules of functions of images.

    Args:
        row: the number of the seed, within `vmap`.
    """
    each: Sequence[Callable[..., Any]] = [
        *(functional.max_pool2d, functional.avg_pool2d, functional.adaptive_max_pool2d),
        *(functional.adaptive_avg_pool2d, functional.gelu),
    ]
    return {
        functional.conv2d: partial(conv2d, row),
        functional.batch_norm: partial(batch_norm, row),
        **{function: partial(channelwise, row, function) for function in each},
    }


# -------------------------------------------------------------------------------------------------
# Seeds as channels.


def _as_channels(images: Tensor) -> Tensor:
    """(S, N, C, ...) as (N, S * C, ...)."""
    return images.movedim(0, 1).flatten(1, 2)


def _as_seeds(images: Tensor, seeds: int) -> Tensor:
    """(N, S * C, ...) as (S, N, C, ...)."""
    apart: Tensor = images.unflatten(1, (seeds, -1))  # type: ignore[no-untyped-call]
    return apart.movedim(1, 0)


def _flat(tensor: Tensor | None) -> Tensor | None:
    """(S, C, ...) as (S * C, ...), a view where possible."""
    return None if tensor is None else tensor.flatten(0, 1)


def _is_last(images: Tensor) -> bool:
    return images.is_contiguous(memory_format=torch.channels_last)


def _is_plain(*tensors: Tensor | None) -> bool:
    """Whether the tensors are float32 on the CPU."""
    return all(one is None or (one.is_cpu and one.dtype == torch.float32) for one in tensors)


# -------------------------------------------------------------------------------------------------
# Convolutions.
#
# For the bits, see `kernels.images`, and for speed: a step takes 1.4 times as long by torch's rule.


def conv2d(  # noqa: PLR0917  # torch's own arguments
    row: Tensor,
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`functional.conv2d`, rounded as for each seed alone where `Convolution` computes it."""
    if input.dim() != 4:
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    strides, dilations = _pair(stride), _pair(dilation)
    around = _around(padding, strides, dilations, weight.shape[2:])

    def whole(images: Tensor, weights: Tensor, biases: Tensor | None) -> Tensor:
        seeds = len(images)
        shared = images.stride(0) == 0 and groups == 1  # one input for the channels of all seeds
        images = images[0] if shared else _as_channels(images)
        images = images.contiguous(memory_format=torch.channels_last)
        filters = weights.flatten(0, 1)
        if around is not None and groups == 1 and _is_plain(images, filters):
            geometry = (seeds, int(shared), *strides, *around, *dilations)
            result = Convolution.apply(images, filters, _flat(biases), geometry)  # type: ignore[no-untyped-call]
        else:
            parts = 1 if shared else seeds * groups
            options = (stride, padding, dilation, parts)
            result = functional.conv2d(images, filters, _flat(biases), *options)
        return _as_seeds(result, seeds)

    return for_each(whole, row, *in_type_of_autocast(input, weight, bias))


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


# -------------------------------------------------------------------------------------------------
# BatchNorm.
#
# For the bits, see `kernels.images`. A step takes 1.1 to 1.3 times as long by torch's rule.


def batch_norm(  # noqa: PLR0917  # torch's own arguments
    row: Tensor,
    input: Tensor,  # noqa: A002
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`functional.batch_norm`."""

    def whole(images: Tensor, *of_channels: Tensor | None) -> Tensor:
        seeds = len(images)
        images = _as_channels(images)
        # torch changes running statistics in place: `_flat` gives views.
        mean, var, weights, biases = map(_flat, of_channels)
        if training and _is_plain(images, mean, var, weights, biases) and _is_image(images, seeds):
            images = images.contiguous(memory_format=torch.channels_last)
            count = images.shape[1]
            w = images.new_ones(count) if weights is None else weights
            b = images.new_zeros(count) if biases is None else biases
            result = BatchNorm.apply(images, w, b, mean, var, momentum, eps)  # type: ignore[no-untyped-call]
        else:
            options = (training, momentum, eps)
            result = functional.batch_norm(images, mean, var, weights, biases, *options)
        return _as_seeds(result, seeds)

    return for_each(whole, row, input, running_mean, running_var, weight, bias)


def _is_image(images: Tensor, seeds: int) -> bool:
    """Whether BatchNorm of all seeds equals that of each to the bit, with channels innermost."""
    n, channels, *size = images.shape
    return len(size) == 2 and math.prod(size) > 1 and is_exact(n, channels // seeds, *size)


# -------------------------------------------------------------------------------------------------
# Pooling and GELU.
#
# Maxima and `avg_pool2d` for speed: a step takes 1.5 times as long where pooling does not keep the
# order in memory. `adaptive_avg_pool2d` and GELU for the bits.


def channelwise(
    row: Tensor,
    torchs: Callable[..., Tensor],
    input: Tensor,  # noqa: A002
    *args: Any,
    **options: Any,
) -> Tensor:
    """A function of torch that computes each channel by itself."""
    if input.dim() != 4 or options.get("return_indices") or options.get("inplace"):
        return torchs(input, *args, **options)

    def whole(images: Tensor) -> Tensor:
        seeds = len(images)
        images = _as_channels(images)
        if torchs is functional.adaptive_avg_pool2d and args in {(1,), ((1, 1),)}:
            result = _Mean.apply(images)  # type: ignore[no-untyped-call]
        elif torchs is functional.gelu and _is_last(images):
            # Contiguous, so that torch takes oneDNN's GELU, as for a single seed.
            result = torchs(images.permute(0, 2, 3, 1), *args, **options)
            result = _Ordered.apply(result.permute(0, 3, 1, 2))  # type: ignore[no-untyped-call]
        else:
            images = images.contiguous() if torchs is functional.adaptive_avg_pool2d else images
            result = _Ordered.apply(torchs(images, *args, **options))  # type: ignore[no-untyped-call]
        return _as_seeds(result, seeds)

    return for_each(whole, row, input)


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


class _Ordered(torch.autograd.Function):
    """The identity; it gives the gradient the memory order of the tensor, for speed."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.order = torch.channels_last if _is_last(inputs) else torch.contiguous_format
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=ctx.order)
