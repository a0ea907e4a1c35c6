"""The weights that torch draws for a seed, drawn by compiled code without torch."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numba import njit
from numpy.typing import NDArray

from xortune.trainers.kernels.cache import compiled, directory

# -------------------------------------------------------------------------------------------------
# torch's CPU generator, for many seeds at once: MT19937, and `Tensor.uniform_` on top of it.
#
# Source:
#     Matsumoto and Nishimura (1998), ACM Transactions on Modeling and Computer Simulation 8(1),
# 3-30;
#     seeding as in their ``init_genrand``. torch takes the low 24 bits of each 32-bit word for a
#     float32 in [0, 1) and maps it by ``x * (high - low) + low``.

WORDS, SHIFT = 624, 397
TOGETHER = 16  # seeds whose states are computed side by side


@njit(nogil=True, error_model="numpy")
def uniform(seeds, bounds, fused, values):
    """Fill values (count, S): draw i of seed s, uniform in [-bounds[i], bounds[i]).

    Args:
        seeds: uint32, shape (S,), S a multiple of 16.
        bounds: float32, shape (count,).
        fused: round once, after product and sum.
        values: float32, shape (count, S).
    """
    state = np.empty((WORDS, TOGETHER), np.uint32)
    count = bounds.shape[0]
    for first in range(0, seeds.shape[0], TOGETHER):
        for s in range(TOGETHER):
            state[0, s] = seeds[first + s]
        for i in range(1, WORDS):
            for s in range(TOGETHER):
                last = state[i - 1, s]
                mixed = np.uint32(1812433253) * (last ^ (last >> np.uint32(30)))
                state[i, s] = mixed + np.uint32(i)
        for draw in range(count):
            i = draw % WORDS
            if i == 0:
                for j in range(WORDS):
                    after, far = (j + 1) % WORDS, (j + SHIFT) % WORDS
                    for s in range(TOGETHER):
                        high = state[j, s] & np.uint32(0x80000000)
                        y = high | (state[after, s] & np.uint32(0x7FFFFFFF))
                        odd = np.uint32(0) - (y & np.uint32(1))
                        twisted = (y >> np.uint32(1)) ^ (odd & np.uint32(0x9908B0DF))
                        state[j, s] = state[far, s] ^ twisted
            low = -bounds[draw]
            width = bounds[draw] - low
            for s in range(TOGETHER):
                y = state[i, s]
                y ^= y >> np.uint32(11)
                y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
                y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
                y ^= y >> np.uint32(18)
                part = np.float32(y & np.uint32(0xFFFFFF)) * np.float32(2.0**-24)
                # In float64 product and sum are exact here, so that one rounding is left, as in a
                # fused multiply-add: what torch's compiler makes of it on most processors.
                once = np.float32(np.float64(part) * np.float64(width) + np.float64(low))
                values[draw, first + s] = once if fused else part * width + low


MAX_KEPT = 4096
"""Seeds whose initial weights are kept: a search trains the same ones again and again."""


def start_of(dim: int, hidden: int, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """`initial_weights`, which are kept for the next call."""
    if len(seeds) <= MAX_KEPT:
        return _kept_start(dim, hidden, seeds.tobytes())
    return initial_weights(dim, hidden, seeds)


@functools.lru_cache(maxsize=4)
def _kept_start(dim: int, hidden: int, seeds: bytes) -> NDArray[np.float32]:
    return initial_weights(dim, hidden, np.frombuffer(seeds, np.int64))


def initial_weights(dim: int, hidden_dim: int, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """The weights that torch draws after ``torch.manual_seed(s)``.

    Args:
        dim: inputs per row, D.
        hidden_dim: H.
        seeds: int64, shape (S,), each in [0, 2**32), S a multiple of 16.

    Returns:
        float32, shape (P, S), P = H * D + 2 * H + 1: each seed's weights in the order of
        ``nn.Sequential.parameters()``.
    """
    once = _rounded_once()
    if once is None:
        return _by_torch(dim, hidden_dim, seeds)
    return _drawn(dim, hidden_dim, seeds, once=once)


def _by_torch(dim: int, hidden_dim: int, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    from xortune.trainers import reference  # torch is slow to import

    return reference.stacked(reference.initial_weights(dim, hidden_dim, seeds)).numpy()


def _drawn(
    dim: int, hidden_dim: int, seeds: NDArray[np.int64], *, once: bool
) -> NDArray[np.float32]:
    bounds = np.array(
        [1 / math.sqrt(dim)] * (hidden_dim * dim + hidden_dim)
        + [1 / math.sqrt(hidden_dim)] * (hidden_dim + 1),
        dtype=np.float32,
    )
    weights = np.empty((len(bounds), len(seeds)), np.float32)
    compiled(uniform)(seeds.astype(np.uint32), bounds, once, weights)
    return weights


@functools.cache
def _rounded_once() -> bool | None:
    """How this torch rounds `Tensor.uniform_`; None if it draws in a way that is not ours.

    Asked of torch at the first use with its version on this processor, and noted beside the
    compiled code: to import torch takes longer than most trainings.
    """
    note = _note()
    with contextlib.suppress(OSError):
        if (known := note.read_text(encoding="ascii")) in ROUNDINGS:
            return known == ROUNDINGS[0]
    once = _found_out()
    if once is not None:
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            new = note.with_suffix(f".{os.getpid()}")
            new.write_text(ROUNDINGS[not once], encoding="ascii")
            new.replace(note)
    return once


ROUNDINGS = ("once", "twice")


def _note() -> Path:
    # torch chooses its code by the processor, unless it is told otherwise.
    asked = os.environ.get("ATEN_CPU_CAPABILITY", "")
    features = hashlib.sha256(f"{get_host_cpu_features().flatten()} {asked}".encode()).hexdigest()
    return directory() / f"uniform-torch-{version('torch')}-{features[:16]}.txt"


def _found_out() -> bool | None:
    seeds = np.array([0, 1, 2, 3, 5, 8, 13, 21, 99, 2**16, 2**30, 2**31, 2**32 - 1, 7, 11, 42])
    for once in (True, False):
        for dim, hidden_dim in ((2, 5), (3, 7), (8, 64)):
            theirs = _by_torch(dim, hidden_dim, seeds)
            ours = _drawn(dim, hidden_dim, seeds, once=once)
            if not np.array_equal(ours.view(np.int32), theirs.view(np.int32)):
                break
        else:
            return once
    return None
