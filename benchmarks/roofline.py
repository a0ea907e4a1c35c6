"""What an epoch of a seed takes in floating-point operations, and what a core can do."""

from __future__ import annotations

import numpy as np
from machine import best_seconds
from numba import njit

from xortune.trainers.kernels.simd import LANES, QUAD, fold, load, load_quad, store

EXP = 18
"""Of e**x: 2 to shift, 1 + 2 to reduce, 8 + 3 for the polynomial, 2 to scale."""


def operations(rows: int, dim: int, hidden: int) -> int:
    """Operations of one epoch of one seed with ELU, MSELoss and SGD with momentum.

    Counted by hand in `trainers.kernels.training`: additions, subtractions, multiplications and
    the processor's estimate of a reciprocal; a fused multiply-add is two. Not counted, though they
    take a core's time too: comparisons, selections, shifts, changes of sign, loads and stores.

    Args:
        rows: N, a multiple of 4, as the engine fills rows up to.
        dim: D.
        hidden: H.
    """
    units = rows * hidden
    fold_four = 3  # additions that make one number of what four rows have summed
    elu = EXP + 3  # and e**x - 1
    forward = units * (2 * dim + elu + 1 + 2)  # a, the activation, its slope times w2, z
    sigmoid = EXP + 1 + 5  # 1 + e**-z, its reciprocal by an estimate and Newton's step
    squares = 2 + 3 + 1  # p (1 - p), 2 (p - y) q, times 1 / N
    loss = rows * (sigmoid + squares + 2) + 2 * fold_four  # sums: of deltas, of right rows
    d_w1 = 1 + 2 * dim if dim == 2 else 1 + 3 * dim  # d_a is computed again for each input
    backward = units * (d_w1 + 3) + fold_four * hidden * (dim + 2)  # 3: d_b1, d_w2
    step = 4 * (hidden * (dim + 2) + 1)
    return forward + loss + backward + step


@njit(error_model="numpy")
def _one_quad(numbers, count):
    a, b = load(numbers, 0), load(numbers, LANES)
    x = load_quad(numbers, QUAD)
    for _ in range(count):
        x = x * a + b
    store(numbers, QUAD, fold(x))


@njit(error_model="numpy")
def _three_quads(numbers, count):
    a, b = load(numbers, 0), load(numbers, LANES)
    x, y, z = load_quad(numbers, QUAD), load_quad(numbers, 2 * QUAD), load_quad(numbers, 3 * QUAD)
    for _ in range(count):
        x = x * a + b
        y = y * a + b
        z = z * a + b
    store(numbers, QUAD, fold(x + y + z))


def peak(count: int = 4_000_000) -> float:
    """GFLOP/s of this core in fused multiply-adds that do not wait for each other.

    Sixteen lanes each, 4 chains (what fits into 16 registers of 256 bits) or 12 (what hides the
    latency of two 512-bit units), whichever is faster here.
    """
    numbers = np.full(4 * QUAD, 0.5, np.float32)
    reached = []
    for chains, loop in ((4, _one_quad), (12, _three_quads)):
        loop(numbers, 1)
        seconds = best_seconds(lambda loop=loop: loop(numbers, count))
        reached.append(2 * LANES * chains * count / seconds / 1e9)
    return max(reached)
