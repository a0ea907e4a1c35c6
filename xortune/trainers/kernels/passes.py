"""The four passes of an epoch over a block of seeds: forward, loss, backward, step.

Each is made once for every activation, loss or optimizer, by Numba, from the same few lines: the
choice is outside the loops.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from xortune.trainers.kernels.functions import at_least, exp_and_expm1, log, sigmoid
from xortune.trainers.kernels.simd import (
    LANES,
    fold,
    load,
    load_quad,
    product,
    quad,
    reciprocal,
    select,
    splat,
    spread,
    store,
)

PASS = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "forceinline": True}

SOFTMAX, SOFTMIN, LOG_SOFTMAX = range(3)


def forward_of(activation: Any) -> Any:
    """The forward pass with an activation that acts on each hidden unit alone."""

    @njit(**PASS)
    def forward(block, inputs):
        work, hidden, dim, width = block.work, block.hidden, block.dim, block.width
        across = hidden * width
        b1 = dim * across
        w2 = b1 + across
        b2 = w2 + across
        for n in range(block.quads):
            x = n * dim * 4
            for g in range(0, width, LANES):
                z = quad(load(work, b2 + g))
                place = 4 * (n * across + g)
                for row in range(g, across, width):
                    a = quad(load(work, b1 + row))
                    w1 = (row - g) * dim + g
                    if dim == 2:  # the usual case: no loop
                        a = a + spread(inputs, x) * load(work, w1)
                        a = a + spread(inputs, x + 4) * load(work, w1 + width)
                    else:
                        for d in range(dim):
                            a = a + spread(inputs, x + 4 * d) * load(work, w1 + d * width)
                    y, slope = activation(a)
                    w = load(work, w2 + row)
                    store(work, block.ys + place, y)
                    store(work, block.slopes + place, slope * w)
                    # torch, too, rounds the products: two that overflow make NaN of each other.
                    z = z + product(y, w)
                    place += 4 * width
                store(work, block.sums + 4 * (n * width + g), z)

    return forward


@njit(**PASS)
def forward_softmax(block, inputs, kind):
    """The forward pass with Softmax, Softmin or LogSoftmax over the hidden units."""
    work, hidden, dim, width = block.work, block.hidden, block.dim, block.width
    ys, slopes, across = block.ys, block.slopes, hidden * width
    b1 = dim * across
    w2 = b1 + across
    b2 = w2 + across
    sign = np.float32(-1.0) if kind == SOFTMIN else np.float32(1.0)
    for n in range(block.quads):
        for g in range(0, width, LANES):
            first = 4 * (n * across + g)
            largest = quad(-math.inf)
            for h in range(hidden):
                a = quad(load(work, b1 + h * width + g))
                for d in range(dim):
                    x = spread(inputs, (n * dim + d) * 4)
                    a = a + x * load(work, (h * dim + d) * width + g)
                a = a * sign
                largest = select(a > largest, a, largest)
                store(work, ys + first + 4 * h * width, a)
            total, weighted, weights = quad(0.0), quad(0.0), splat(0.0)
            for h in range(hidden):
                place = first + 4 * h * width
                a = load_quad(work, ys + place) - largest
                e = exp_and_expm1(at_least(a, -88.0))[0]
                w = load(work, w2 + h * width + g)
                store(work, ys + place, a)
                store(work, slopes + place, e)
                total = total + e
                weights = weights + w
                weighted = weighted + e * w
            inverse = reciprocal(total)
            mean = weighted * inverse
            lost = log(total)
            z = quad(load(work, b2 + g))
            for h in range(hidden):
                place = first + 4 * h * width
                w = load(work, w2 + h * width + g)
                share = load_quad(work, slopes + place) * inverse
                if kind == LOG_SOFTMAX:
                    y = load_quad(work, ys + place) - lost
                    slope = w - share * weights
                else:
                    y = share
                    slope = (share * sign) * (w - mean)
                store(work, ys + place, y)
                store(work, slopes + place, slope)
                z = z + product(y, w)
            store(work, block.sums + 4 * (n * width + g), z)


def loss_of(slope: Any) -> Any:
    """The loss pass: dL/dz of every sample, its sum, and which seeds are not solved now."""

    @njit(**PASS)
    def loss_pass(block, rows, needed, epoch, scale):
        work, width = block.work, block.width
        d_b2 = block.gradient + block.size - width
        for g in range(0, width, LANES):
            right, total = quad(0.0), quad(0.0)
            for n in range(block.quads):
                place = 4 * (n * width + g)
                p = sigmoid(load_quad(work, block.sums + place))
                q = p * (1.0 - p) * scale
                delta = slope(p, q, spread(rows, n * 16), scale) * spread(rows, n * 16 + 4)
                store(work, block.deltas + place, delta)
                total = total + delta
                # Above 0 where p is on the right side of 0.5; NaN is on neither.
                side = p * spread(rows, n * 16 + 8) + spread(rows, n * 16 + 12)
                right = right + select(side > 0.0, 1.0, 0.0)
            store(work, d_b2 + g, fold(total))
            last = block.unsolved + g
            store(work, last, select(fold(right) >= needed, load(work, last), epoch))

    return loss_pass


@njit(**PASS)
def backward(block, inputs):
    """The gradient by every weight but the last bias, which the loss pass has summed."""
    work, hidden, dim, width = block.work, block.hidden, block.dim, block.width
    across = hidden * width
    b1 = block.gradient + dim * across
    w2 = b1 + across
    for g in range(0, width, LANES):
        for row in range(g, across, width):
            d_b1, d_w2 = quad(0.0), quad(0.0)
            w1 = block.gradient + (row - g) * dim + g
            if dim == 2:  # the usual case: everything in one go
                left, right = quad(0.0), quad(0.0)
                for n in range(block.quads):
                    place = 4 * (n * across + row)
                    delta = load_quad(work, block.deltas + 4 * (n * width + g))
                    d_a = delta * load_quad(work, block.slopes + place)
                    d_w2 = d_w2 + delta * load_quad(work, block.ys + place)
                    d_b1 = d_b1 + d_a
                    left = left + d_a * spread(inputs, n * 8)
                    right = right + d_a * spread(inputs, n * 8 + 4)
                store(work, w1, fold(left))
                store(work, w1 + width, fold(right))
            else:
                for n in range(block.quads):
                    place = 4 * (n * across + row)
                    delta = load_quad(work, block.deltas + 4 * (n * width + g))
                    d_w2 = d_w2 + delta * load_quad(work, block.ys + place)
                    d_b1 = d_b1 + delta * load_quad(work, block.slopes + place)
                for d in range(dim):
                    total = quad(0.0)
                    for n in range(block.quads):
                        delta = load_quad(work, block.deltas + 4 * (n * width + g))
                        d_a = delta * load_quad(work, block.slopes + 4 * (n * across + row))
                        total = total + d_a * spread(inputs, (n * dim + d) * 4)
                    store(work, w1 + d * width, fold(total))
            store(work, b1 + row, fold(d_b1))
            store(work, w2 + row, fold(d_w2))


def step_of(rule: Any, states: int) -> Any:
    """The step of an optimizer that keeps so many states; the gradient starts at `used`."""

    @njit(**PASS)
    def step(block, used):
        work, size, state, width = block.work, block.size, block.state, block.width
        for g in range(0, width, LANES):
            a = load(work, block.numbers + g)
            b = load(work, block.numbers + width + g)
            c = load(work, block.numbers + 2 * width + g)
            for i in range(g, size, width):
                w, grad = load(work, i), load(work, used + i)
                s, t = w, w
                if states > 0:
                    s = load(work, state + i)
                if states > 1:
                    t = load(work, state + size + i)
                w, s, t = rule(w, grad, s, t, a, b, c)
                store(work, i, w)
                if states > 0:
                    store(work, state + i, s)
                if states > 1:
                    store(work, state + size + i, t)

    return step
