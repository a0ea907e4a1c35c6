"""A block of seeds in memory: what a pass of the training reads and writes, and where it lies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xortune.engine.kernels.functions import INLINE

__all__ = ["Block", "block_of", "work_size"]


class Block(NamedTuple):
    """Some seeds that train side by side, a multiple of 16.

    A row holds one float32 of each seed. All rows lie one after another in `work`, which is small
    enough for the first-level cache; the other attributes say where.

    Attributes:
        work: float32, flat.
        width: seeds, and so the length of a row.
        hidden: H, units of the hidden layer.
        dim: D, inputs of a sample.
        quads: samples, by fours.
        size: numbers in all weights, P x width with P = H * D + 2 * H + 1; the weights themselves
            are the first ones in `work`, in torch's order.
        gradient: start of the gradient, as large as the weights.
        summed: start of the sum of all gradients, for a training that never sets them to zero.
        state: start of the optimizer's two states, each as large as the weights.
        ys: start of the outputs of the hidden units: for each four samples and each unit, 16 seeds
            by 16 seeds, the four samples' values one after another.
        slopes: start of dz/da, how the sum z before the sigmoid follows a hidden unit's input a;
            ordered as `ys`.
        sums: start of z, for each four samples in the same order.
        deltas: start of dL/dz, ordered as `sums`.
        unsolved: start of a row: the last epoch at which the seed was not solved.
    """

    work: NDArray[np.float32]
    width: int
    hidden: int
    dim: int
    quads: int
    size: int
    gradient: int
    summed: int
    state: int
    ys: int
    slopes: int
    sums: int
    deltas: int
    unsolved: int


@njit(**INLINE)
def block_of(work, width, hidden, dim, quads):
    """The layout of a block in `work`, which has room for `work_size` numbers."""
    size = (hidden * (dim + 2) + 1) * width
    ys = 5 * size
    slopes = ys + 4 * quads * hidden * width
    sums = slopes + 4 * quads * hidden * width
    deltas = sums + 4 * quads * width
    unsolved = deltas + 4 * quads * width
    return Block(
        work,
        width,
        hidden,
        dim,
        quads,
        size,
        size,
        2 * size,
        3 * size,
        ys,
        slopes,
        sums,
        deltas,
        unsolved,
    )


def work_size(width: int, hidden: int, dim: int, quads: int) -> int:
    """How many numbers a block takes."""
    return (5 * (hidden * (dim + 2) + 1) + 8 * quads * (hidden + 1) + 1) * width
