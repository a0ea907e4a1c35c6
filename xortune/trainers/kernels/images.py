"""Convolutions and BatchNorm of many seeds in one call, rounded as torch rounds those of one seed.

For one seed torch takes oneDNN's convolution, which adds one product after another, each fused with
its sum, and its own BatchNorm of images whose channels lie one after another. Here the channels of
all seeds lie beside each other; the same numbers are added in the same order, sixteen channels at a
time. A comparison tells whether the results are equal to the bit on this processor for the shape at
hand; where they are not, torch computes.

It is here for the bits: with torch's grouped convolution, or its BatchNorm of all channels, a seed
of a stack is not the loop's. It is hardly quicker: a step of a small network with two of each takes
1.2 to 1.3 times as long without both (median, 8, 32 and 64 seeds; the quickest steps are equal).
`correlate` is the convolution, forward and to its inputs, `weigh` its gradient of weights,
`normalise` and `normalised` are BatchNorm, forward and back.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, library

from xortune.trainers.kernels.cache import compiled
from xortune.trainers.kernels.simd import LANES, load, repeat, splat, store
from xortune.trainers.kernels.steps import fma
from xortune.trainers.step_graph import unrecorded

TILE = 8
"""Pixels of the output that are computed together."""

TAPS = 9
"""Weights of a channel whose gradients are computed together."""

PIXELS_AT_ONCE = 128
"""Pixels whose gradients stay in the first-level cache."""


@njit(nogil=True, error_model="numpy")
def _pack(shape, x, seed, out):
    """Copy a seed's images into `out`, whose borders are zero."""
    images, height, width, channels, top, left, rows, columns = shape[:8]
    line = channels * (1 if shape[14] else shape[13])
    count = np.uint64(channels)  # LLVM vectorises: an unsigned index cannot count from the end
    for n in range(images):
        for h in range(height):
            at = np.uint64(((n * rows + top + h) * columns + left) * channels)
            of = np.uint64((n * height + h) * width * line + (0 if shape[14] else seed * channels))
            for _ in range(width):
                for c in range(count):
                    out[at + c] = x[of + c]
                at += count
                of += np.uint64(line)


@njit(nogil=True, error_model="numpy")
def _places(shape):
    """Return the start of each output pixel's window in packed images, its own start, their number.

    Both arrays repeat the last pixel up to a multiple of TILE.
    """
    images, channels, rows, columns = shape[0], shape[3], shape[6], shape[7]
    down, right, high, wide, count, seeds = shape[8:14]
    total, at = images * high * wide, 0
    windows = np.empty((total + TILE - 1) // TILE * TILE, np.int64)
    begins = np.empty(len(windows), np.int64)
    for n in range(images):
        for h in range(high):
            for w in range(wide):
                windows[at] = ((n * rows + h * down) * columns + w * right) * channels
                begins[at] = at * count * seeds
                at += 1
    windows[total:], begins[total:] = windows[total - 1], begins[total - 1]
    return windows, begins, total


@njit(nogil=True, error_model="numpy")
def correlate(shape, x, taps, weights, places, across, ends, after, bias, out):
    """Compute, for each seed, pixel and output channel, the sum over taps of weight times input.

    Args:
        shape: int64, shape (15,): see `_plan`.
        x: the images of all seeds, flat, channels innermost.
        taps: shape (T,): the offset of each tap from the start of a window.
        weights: of all seeds, flat.
        places: shape (T,): the place of the tap's weight for output channel 0 in a seed's weights.
        across: the distance to the weight for the next output channel.
        ends: the ends of the groups of taps, each summed separately.
        after: add a group's sum to the total; if not, continue the total with the group's products.
        bias: of all seeds.
        out: like `x`, to fill.
    """
    channels, rows, columns, count, seeds = shape[3], shape[6], shape[7], shape[12], shape[13]
    windows, begins, total = _places(shape)
    padded, line, each = (count + LANES - 1) // LANES * LANES, count * seeds, len(weights) // seeds
    xs = np.zeros(shape[0] * rows * columns * channels, np.float32)
    ws, bs = np.zeros(len(taps) * padded, np.float32), np.zeros(padded, np.float32)
    part, zeros, steps = np.empty(TILE * LANES, np.float32), splat(0.0), np.arange(TILE) * LANES
    for seed in range(seeds):
        if seed == 0 or not shape[14]:
            _pack(shape, x, seed, xs)
        for o in range(np.uint64(count)):
            bs[o] = bias[np.uint64(seed * count) + o]
            of = np.uint64(seed * each + o * across)
            for t in range(np.uint64(len(taps))):
                ws[t * np.uint64(padded) + o] = weights[of + np.uint64(places[t])]
        for v in range(0, count, LANES):
            # A vector that reaches into the next seed's channels is overwritten later.
            direct = seed * count + v + LANES <= line
            for first in range(0, total, TILE):
                b0, b1, b2, b3 = windows[first : first + 4]
                b4, b5, b6, b7 = windows[first + 4 : first + 8]
                to, its, own = part, steps, 0
                if direct:
                    to, its, own = out, begins[first : first + TILE], seed * count + v
                begin = 0
                for end in ends:
                    if begin == 0:
                        for j in range(TILE):
                            store(to, its[j] + own, load(bs, v))
                    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zeros
                    if not after:
                        a0, a1 = load(to, its[0] + own), load(to, its[1] + own)
                        a2, a3 = load(to, its[2] + own), load(to, its[3] + own)
                        a4, a5 = load(to, its[4] + own), load(to, its[5] + own)
                        a6, a7 = load(to, its[6] + own), load(to, its[7] + own)
                    for t in range(begin, end):
                        w, at = load(ws, t * padded + v), taps[t]
                        a0 = repeat(xs, b0 + at) * w + a0
                        a1 = repeat(xs, b1 + at) * w + a1
                        a2 = repeat(xs, b2 + at) * w + a2
                        a3 = repeat(xs, b3 + at) * w + a3
                        a4 = repeat(xs, b4 + at) * w + a4
                        a5 = repeat(xs, b5 + at) * w + a5
                        a6 = repeat(xs, b6 + at) * w + a6
                        a7 = repeat(xs, b7 + at) * w + a7
                    begin = end
                    if after:
                        a0, a1 = a0 + load(to, its[0] + own), a1 + load(to, its[1] + own)
                        a2, a3 = a2 + load(to, its[2] + own), a3 + load(to, its[3] + own)
                        a4, a5 = a4 + load(to, its[4] + own), a5 + load(to, its[5] + own)
                        a6, a7 = a6 + load(to, its[6] + own), a7 + load(to, its[7] + own)
                    store(to, its[0] + own, a0)
                    store(to, its[1] + own, a1)
                    store(to, its[2] + own, a2)
                    store(to, its[3] + own, a3)
                    store(to, its[4] + own, a4)
                    store(to, its[5] + own, a5)
                    store(to, its[6] + own, a6)
                    store(to, its[7] + own, a7)
                if not direct:
                    for j in range(TILE):
                        for o in range(min(LANES, count - v)):
                            out[begins[first + j] + seed * count + v + o] = part[j * LANES + o]


@njit(nogil=True, error_model="numpy")
def weigh(shape, x, taps, gradient, places, across, block, after, weights, bias):
    """Compute the gradients of a convolution's weights and biases.

    Args:
        shape: see `correlate`, as for `x`, `taps`, `places` and `across`.
        x: the images of all seeds.
        taps: offsets in a window.
        gradient: of the output, flat, channels innermost.
        places: of the weights.
        across: between output channels.
        block: the number of output pixels that are summed for one weight before the next weight.
        after: add a block's sum to the total; if not, continue the total with its products.
        weights: to fill.
        bias: to fill.
    """
    channels, rows, columns, count, seeds = shape[3], shape[6], shape[7], shape[12], shape[13]
    windows, _, total = _places(shape)
    line, each, many = count * seeds, len(weights) // seeds, len(taps)
    xs = np.zeros(shape[0] * rows * columns * channels, np.float32)
    around = np.full((many + TAPS - 1) // TAPS * TAPS, taps[many - 1])
    around[:many] = taps
    gs, part = np.zeros(block * LANES, np.float32), np.empty(len(around) * LANES, np.float32)
    for seed in range(seeds):
        if seed == 0 or not shape[14]:
            _pack(shape, x, seed, xs)
        for v in range(0, count, LANES):
            own, few, sums = seed * count + v, min(LANES, count - v), splat(0.0)
            part[:] = 0
            for begin in range(0, total, block):
                size = min(block, total - begin)
                for p in range(size):
                    at = (begin + p) * line + own
                    if own + LANES <= line:
                        store(gs, p * LANES, load(gradient, at))
                    else:
                        for o in range(few):
                            gs[p * LANES + o] = gradient[at + o]
                    sums = sums + load(gs, p * LANES)
                for first in range(0, many, TAPS):
                    to = first * LANES
                    t0, t1, t2 = around[first], around[first + 1], around[first + 2]
                    t3, t4, t5 = around[first + 3], around[first + 4], around[first + 5]
                    t6, t7, t8 = around[first + 6], around[first + 7], around[first + 8]
                    b0, b1, b2 = load(part, to), load(part, to + LANES), load(part, to + 2 * LANES)
                    b3, b4 = load(part, to + 3 * LANES), load(part, to + 4 * LANES)
                    b5, b6 = load(part, to + 5 * LANES), load(part, to + 6 * LANES)
                    b7, b8 = load(part, to + 7 * LANES), load(part, to + 8 * LANES)
                    a0, a1, a2, a3, a4, a5, a6, a7, a8 = b0, b1, b2, b3, b4, b5, b6, b7, b8
                    if after:
                        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = splat(0.0)
                    for p in range(size):
                        g, at = load(gs, p * LANES), windows[begin + p]
                        a0 = repeat(xs, at + t0) * g + a0
                        a1 = repeat(xs, at + t1) * g + a1
                        a2 = repeat(xs, at + t2) * g + a2
                        a3 = repeat(xs, at + t3) * g + a3
                        a4 = repeat(xs, at + t4) * g + a4
                        a5 = repeat(xs, at + t5) * g + a5
                        a6 = repeat(xs, at + t6) * g + a6
                        a7 = repeat(xs, at + t7) * g + a7
                        a8 = repeat(xs, at + t8) * g + a8
                    if after:
                        a0, a1, a2, a3, a4 = a0 + b0, a1 + b1, a2 + b2, a3 + b3, a4 + b4
                        a5, a6, a7, a8 = a5 + b5, a6 + b6, a7 + b7, a8 + b8
                    store(part, to, a0)
                    store(part, to + LANES, a1)
                    store(part, to + 2 * LANES, a2)
                    store(part, to + 3 * LANES, a3)
                    store(part, to + 4 * LANES, a4)
                    store(part, to + 5 * LANES, a5)
                    store(part, to + 6 * LANES, a6)
                    store(part, to + 7 * LANES, a7)
                    store(part, to + 8 * LANES, a8)
            for t in range(np.uint64(many)):
                at = np.uint64(seed * each + v * across + places[t])
                for o in range(np.uint64(few)):
                    weights[at + o * np.uint64(across)] = part[t * np.uint64(LANES) + o]
            store(part, 0, sums)
            bias[own : own + few] = part[:few]


CHANNELS_AT_ONCE = 256
"""Channels that are normalised together: their sums stay in the cache."""


@njit(nogil=True, error_model="numpy")
def normalise(images, x, weight, bias, mean, var, momentum, eps, out, means, inverses):
    """Normalise each channel by its mean and standard deviation, as BatchNorm in training.

    Args:
        images: their number; each has the same number of rows (pixels).
        x: shape (rows, channels).
        weight: shape (channels,).
        bias: shape (channels,).
        mean: running mean, shape (channels,), or (0,) for none; updated.
        var: running variance, likewise.
        momentum: float32: of the running statistics.
        eps: float64: added to variances.
        out: like `x`, to fill.
        means: shape (channels,), to fill.
        inverses: shape (channels,), to fill: 1 over the standard deviations.
    """
    rows, channels = x.shape
    sums, alpha = np.empty(CHANNELS_AT_ONCE, np.float64), np.empty(CHANNELS_AT_ONCE, np.float32)
    beta, of = np.empty(CHANNELS_AT_ONCE, np.float32), np.empty(CHANNELS_AT_ONCE, np.float32)
    one, count = np.float32(1), np.float32(rows)
    for first in range(0, channels, CHANNELS_AT_ONCE):
        n = np.uint64(min(CHANNELS_AT_ONCE, channels - first))
        sums[:] = 0
        for r in range(rows):
            row = x[r, first:]
            for c in range(n):
                sums[c] += row[c]
        for c in range(n):
            of[c] = sums[c] / rows
        sums[:] = 0
        for r in range(rows):
            row = x[r, first:]
            for c in range(n):
                d = row[c] - of[c]
                sums[c] += np.float64(d * d)
        for c in range(n):
            at, total = first + c, np.float32(sums[c])
            inverse = np.float32(1 / np.sqrt(np.float64(total / count) + eps))
            means[at], inverses[at] = of[c], inverse
            alpha[c] = inverse * weight[at]
            beta[c] = fma(-of[c], alpha[c], bias[at])
            if len(mean):
                mean[at] = momentum * of[c] + (one - momentum) * mean[at]
                unbiased = total / (count - one)
                var[at] = fma(momentum, unbiased, (one - momentum) * var[at])
        for r in range(rows):
            row, to = x[r, first:], out[r, first:]
            for c in range(n):
                to[c] = fma(row[c], alpha[c], beta[c])


LANE = 8
"""Partial sums of an image that torch adds up side by side."""


@njit(nogil=True, error_model="numpy")
def normalised(images, x, weight, means, inverses, gradient, of_x, of_weight, of_bias):
    """Fill `of_x`, `of_weight` and `of_bias` with the gradients of `normalise`."""
    rows, channels = x.shape
    each, count = rows // images, np.float32(rows)
    ones, twos = (
        np.empty((LANE, CHANNELS_AT_ONCE), np.float32),
        np.empty((LANE, CHANNELS_AT_ONCE), np.float32),
    )
    sums, dots = np.empty(CHANNELS_AT_ONCE, np.float64), np.empty(CHANNELS_AT_ONCE, np.float64)
    mean, inverse = np.empty(CHANNELS_AT_ONCE, np.float32), np.empty(CHANNELS_AT_ONCE, np.float32)
    scale, middle = np.empty(CHANNELS_AT_ONCE, np.float32), np.empty(CHANNELS_AT_ONCE, np.float32)
    w = np.empty(CHANNELS_AT_ONCE, np.float32)
    for first in range(0, channels, CHANNELS_AT_ONCE):
        n = np.uint64(min(CHANNELS_AT_ONCE, channels - first))
        for c in range(n):
            mean[c], inverse[c], w[c] = means[first + c], inverses[first + c], weight[first + c]
        sums[:], dots[:] = 0, 0
        for image in range(images):
            lanes = LANE if each >= LANE else 1
            whole = each // LANE * LANE if each >= LANE else each
            for i in range(each):
                row, g = x[image * each + i, first:], gradient[image * each + i, first:]
                a, b = ones[i % lanes], twos[i % lanes]
                if i < lanes:
                    for c in range(n):
                        a[c], b[c] = g[c], (row[c] - mean[c]) * g[c]
                elif i < whole:
                    for c in range(n):
                        a[c] += g[c]
                        b[c] += (row[c] - mean[c]) * g[c]
                else:
                    for c in range(n):
                        a[c] += g[c]
                        b[c] = fma(row[c] - mean[c], g[c], b[c])
            while lanes > 1:
                lanes //= 2
                for k in range(lanes):
                    for c in range(n):
                        ones[k, c] += ones[k + lanes, c]
                        twos[k, c] += twos[k + lanes, c]
            for c in range(n):
                sums[c] += ones[0, c]
                dots[c] += twos[0, c]
        for c in range(n):
            scale[c] = np.float32(dots[c]) * inverse[c] * inverse[c] / count
            middle[c] = sums[c] / rows
            of_weight[first + c] = dots[c] * inverse[c]
            of_bias[first + c] = sums[c]
        for r in range(rows):
            row, g, to = x[r, first:], gradient[r, first:], of_x[r, first:]
            for c in range(n):
                to[c] = fma(mean[c] - row[c], scale[c], g[c] - middle[c]) * inverse[c] * w[c]


# -------------------------------------------------------------------------------------------------
# As operations of torch.

Geometry = tuple[int, ...]
"""A convolution: number of seeds, whether all share the inputs, then the strides, paddings and
dilations along both axes."""


@functools.cache
def _plan(x: tuple[int, ...], w: tuple[int, ...], geometry: Geometry, *, back: bool) -> Any:
    """Return the arguments shape, taps, places, across, ends, after of `correlate` and `weigh`.

    `shape` is images, height, width, channels, padding above, padding left, padded height, padded
    width, strides, output height, output width, output channels, seeds, shared.

    Args:
        x: the shape of all seeds' inputs.
        w: the shape of all seeds' weights.
        geometry: of the convolution.
        back: for the gradient of the inputs, which is a convolution of the outputs' gradient.
    """
    seeds, shared, down, right, top, left, *dilation = geometry
    (images, _, height, width), (outputs, inputs, high, wide) = x, w
    ends = (dilation[0] * (high - 1), dilation[1] * (wide - 1))  # of a window
    rows, columns = height + 2 * top, width + 2 * left
    out = (rows - ends[0] - 1) // down + 1, (columns - ends[1] - 1) // right + 1
    outputs, size = outputs // seeds, high * wide
    if back:
        to, (height, width), out = (inputs, size), out, (height, width)
        top, left = ends[0] - top, ends[1] - left
        rows, columns = height + 2 * top, width + 2 * left
        channels, across = outputs, inputs * size
    else:
        to, channels, across = (outputs, inputs * size), inputs, size
    taps, places, groups = [], [], []
    for first in range(0, channels, LANES):
        for a in range(high):
            for b in range(wide):
                y, z = (dilation[0] * a, dilation[1] * b)
                y, z = (ends[0] - y, ends[1] - z) if back else (y, z)
                for i in range(first, min(first + LANES, channels)):
                    taps.append((y * columns + z) * channels + i)
                    places.append(i * across + a * wide + b)
        groups.append(len(taps))
    sizes = [images, height, width, channels, top, left, rows, columns, down, right, *out]
    shape = np.array([*sizes, to[0], seeds, shared])
    # oneDNN continues from the bias where a window is a single pixel, and adds image after image.
    return shape, np.array(taps), np.array(places), to[1], np.array(groups), size > 1


def _flat_images(images: Tensor) -> NDArray[np.float32]:
    """Return the numbers of images as they lie in memory, channels innermost."""
    return _flat(images.permute(0, 2, 3, 1))


def _flat(tensor: Tensor) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = tensor.detach().reshape(-1).numpy()
    return numbers


def _correlated(
    x_shape: tuple[int, ...],
    source: Tensor,
    w: Tensor,
    bias: Tensor,
    geometry: Geometry,
    *,
    back: bool,
) -> Tensor:
    shape, taps, places, across, ends, after = _plan(x_shape, w.shape, tuple(geometry), back=back)
    out = source.new_empty(x_shape[0], shape[10], shape[11], len(bias))
    compiled(correlate)(
        *(shape, _flat_images(source), taps, _flat(w), places, across, ends, after),
        *(_flat(bias), out.view(-1).numpy()),
    )
    return out.permute(0, 3, 1, 2)


def _convolved(x: Tensor, w: Tensor, bias: Tensor, geometry: Geometry) -> Tensor:
    return _correlated(x.shape, x, w, bias, geometry, back=False)


def _of_inputs(x: Tensor, w: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return _correlated(x.shape, gradient, w, w.new_zeros(x.shape[1]), geometry, back=True)


def _of_weights(
    x: Tensor, w: Tensor, gradient: Tensor, geometry: Geometry
) -> tuple[Tensor, Tensor]:
    shape, taps, places, across, _, wide = _plan(x.shape, w.shape, tuple(geometry), back=False)
    weights, bias = torch.empty_like(w, memory_format=torch.contiguous_format), w.new_empty(len(w))
    block = PIXELS_AT_ONCE if wide else int(shape[10] * shape[11])
    compiled(weigh)(
        *(shape, _flat_images(x), taps, _flat_images(gradient), places, across, block, not wide),
        *(weights.view(-1).numpy(), bias.numpy()),
    )
    return weights, bias


def _normalised(
    x: Tensor, w: Tensor, b: Tensor, mean: Tensor | None, var: Tensor | None, *options: float
) -> tuple[Tensor, ...]:
    n, channels, height, width = x.shape
    out, momentum, eps = x.new_empty(n, height, width, channels), *options
    none = w.new_empty(0)
    means, inverses = torch.empty_like(w), torch.empty_like(w)
    compiled(normalise)(
        *(n, _flat_images(x).reshape(-1, channels), _flat(w), _flat(b)),
        *(_flat(none if one is None else one) for one in (mean, var)),
        *(np.float32(momentum), eps, out.view(-1, channels).numpy()),
        *(means.numpy(), inverses.numpy()),
    )
    return out.permute(0, 3, 1, 2), means, inverses


def _of_normalised(
    x: Tensor, w: Tensor, means: Tensor, inverses: Tensor, gradient: Tensor
) -> tuple[Tensor, ...]:
    n, channels, height, width = x.shape
    out = x.new_empty(n, height, width, channels)
    of_w, of_b = torch.empty_like(w), torch.empty_like(w)
    compiled(normalised)(
        *(n, _flat_images(x).reshape(-1, channels), _flat(w), means.numpy(), inverses.numpy()),
        *(_flat_images(gradient).reshape(-1, channels), out.view(-1, channels).numpy()),
        *(of_w.numpy(), of_b.numpy()),
    )
    return out.permute(0, 3, 1, 2), of_w, of_b


_operators = library.Library("xortune", "DEF")
for _schema, _function in (
    ("convolved(Tensor x, Tensor w, Tensor bias, int[] geometry) -> Tensor", _convolved),
    ("of_inputs(Tensor x, Tensor w, Tensor gradient, int[] geometry) -> Tensor", _of_inputs),
    (
        "of_weights(Tensor x, Tensor w, Tensor gradient, int[] geometry) -> (Tensor, Tensor)",
        _of_weights,
    ),
    (
        "normalised(Tensor x, Tensor w, Tensor b, Tensor(a!)? mean, Tensor(b!)? var,"
        " float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        _normalised,
    ),
    (
        "of_normalised(Tensor x, Tensor w, Tensor means, Tensor inverses, Tensor gradient)"
        " -> (Tensor, Tensor, Tensor)",
        _of_normalised,
    ),
):
    _operators.define(_schema)
    _operators.impl(_schema.partition("(")[0], _function, "CPU")
_ops: Any = torch.ops.xortune


class Convolution(torch.autograd.Function):
    """A convolution of S seeds: inputs (N, S * C, H, W), `channels_last`, weights (S * O, C, ...).

    All seeds may share inputs (N, C, H, W). Each seed's numbers are those of its own convolution to
    the bit: from torch's grouped convolution with a group for each seed where that is exact, else
    from this module.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        """Return the outputs, shape (N, S * O, ...)."""
        ctx.save_for_backward(x, w)
        ctx.geometry = geometry
        ctx.ours = _ours(x.shape, w.shape, geometry, torch.get_num_threads())
        if not ctx.ours[0]:
            return _by_groups(x, w, bias, geometry)
        out: Tensor = _ops.convolved.default(
            x, w, w.new_zeros(len(w)) if bias is None else bias, geometry
        )
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of inputs, weights and biases."""
        (x, w), needed, (_, inputs, weights) = ctx.saved_tensors, ctx.needs_input_grad, ctx.ours
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        mask = [needed[0] and not inputs, needed[1] and not weights, needed[2] and not weights]
        gradients: list[Tensor | None] = [None] * 4
        if any(mask):
            gradients[:3] = _back_by_groups(x, w, gradient, ctx.geometry, mask)
        if needed[0] and inputs:
            gradients[0] = _ops.of_inputs.default(x, w, gradient, ctx.geometry)
        if weights and (needed[1] or needed[2]):
            of_weights, of_bias = _ops.of_weights.default(x, w, gradient, ctx.geometry)
            gradients[1:3] = of_weights, of_bias if needed[2] else None
        return tuple(gradients)


def _torch_options(geometry: Geometry) -> tuple[Any, ...]:
    """Return torch's arguments for a convolution."""
    seeds, shared, *numbers = geometry
    return (numbers[:2], numbers[2:4], numbers[4:], False, [0, 0], 1 if shared else seeds)


def _by_groups(x: Tensor, w: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    out: Tensor = torch.ops.aten.convolution.default(x, w, bias, *_torch_options(geometry))
    return out


def _back_by_groups(
    x: Tensor, w: Tensor, gradient: Tensor, geometry: Geometry, mask: Sequence[bool]
) -> Sequence[Tensor]:
    gradients: Sequence[Tensor] = torch.ops.aten.convolution_backward.default(
        gradient, x, w, [len(w)], *_torch_options(geometry), mask
    )
    return gradients


@functools.cache
def _ours(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], geometry: Geometry, _threads: int
) -> tuple[bool, bool, bool]:
    """Return whether to compute here: the output, the inputs' gradient, the weights' gradients.

    True where the results for two of the seeds equal those of the seed alone to the bit and torch's
    grouped convolution's do not. The order of torch's sums depends on the number of threads.
    """
    seeds, shared, *numbers = geometry
    outputs, inputs = w_shape[0] // seeds, w_shape[1]
    fits = [numbers[2 + i] <= numbers[4 + i] * (w_shape[2 + i] - 1) for i in range(2)]
    back = not shared and numbers[:2] == [1, 1] and all(fits)
    mask, draw, last = [not shared, True, True], torch.Generator(), torch.channels_last
    draw.manual_seed(0)
    with unrecorded(), torch.no_grad():
        x = torch.randn(x_shape, generator=draw).contiguous(memory_format=last)
        w, b = torch.randn(w_shape, generator=draw), torch.randn(w_shape[:1], generator=draw)
        out = _by_groups(x, w, b, geometry)
        g = torch.randn(out.shape, generator=draw).contiguous(memory_format=last)
        torchs = [out, *_back_by_groups(x, w, g, geometry, mask)]
        ours = [_convolved(x, w, b, geometry), _of_inputs(x, w, g, geometry) if back else None]
        ours += _of_weights(x, w, g, geometry)
        ours_is_exact, torchs_is_exact = [True] * 4, [True] * 4
        for seed in (0, seeds - 1):
            to = slice(seed * outputs, (seed + 1) * outputs)
            of = slice(None) if shared else slice(seed * inputs, (seed + 1) * inputs)
            alone, own = (1, 1, *numbers), (x[:, of].contiguous(), w[to])
            expected = [_by_groups(*own, b[to], alone)]
            expected += _back_by_groups(*own, g[:, to].contiguous(), alone, mask)
            places: Any = ((slice(None), to), (slice(None), of), to, to)
            for part, (place, exact) in enumerate(zip(places, expected, strict=True)):
                if exact is not None:
                    one, other = ours[part], torchs[part]
                    ours_is_exact[part] &= one is not None and torch.equal(one[place], exact)
                    torchs_is_exact[part] &= torch.equal(other[place], exact)
    gains = [one and not other for one, other in zip(ours_is_exact, torchs_is_exact, strict=True)]
    return gains[0], gains[1], ours_is_exact[2] and (gains[2] or gains[3])


class BatchNorm(torch.autograd.Function):
    """BatchNorm in training of images (N, S * C, H, W), `channels_last`; see `is_exact`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, *others: Any) -> Tensor:
        """Normalise; `others` are biases, running means and variances, momentum, eps."""
        out, means, inverses = _ops.normalised.default(x, w, *others)
        ctx.save_for_backward(x, w, means, inverses)
        return out  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of images, weights and biases."""
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return (*_ops.of_normalised.default(*ctx.saved_tensors, gradient), *[None] * 4)


@functools.cache
def is_exact(images: int, channels: int, height: int, width: int) -> bool:
    """Return whether `BatchNorm` equals torch's of a seed's images alone, to the bit."""
    draw, last = torch.Generator().manual_seed(0), torch.channels_last
    options: tuple[Any, ...] = (True, 0.1, 1e-5)
    with unrecorded(), torch.no_grad():
        x, g = (torch.randn(images, channels, height, width, generator=draw) for _ in range(2))
        w, b, mean, var = torch.rand(4, channels, generator=draw).unbind(0)
        running = mean.clone(), var.clone()
        out, *of = torch.native_batch_norm(x, w, b, mean, var, *options)
        torchs = torch.ops.aten.native_batch_norm_backward.default(
            g, x, w, mean, var, *of, True, options[2], [True] * 3
        )
        x, g = (one.contiguous(memory_format=last) for one in (x, g))
        ours, means, inverses = _normalised(x, w, b, *running, *options[1:])
        back = _of_normalised(x, w, means, inverses, g)
        return all(map(torch.equal, (ours, *running, *back), (out, mean, var, *torchs)))
