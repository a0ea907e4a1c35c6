"""Rules of functions of images: the channels of all seeds lie beside each other, as one image's.

A seed's images have shape (N, C, H, W), those of all seeds (N, S * C, H, W). A convolution of all
seeds is one with a group for each seed; BatchNorm, pooling and GELU do not know that there are
seeds. Between these layers the images stay in one order in memory, `channels_last`, in which
torch's own rules for `vmap` would not leave them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from xortune.trainers.batching_rules import Rules, for_each, in_type_of_autocast
from xortune.trainers.kernels.images import BatchNorm, Convolution, is_exact


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
