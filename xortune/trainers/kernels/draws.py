"""torch's CPU generator for many seeds in one call: initial weights and Bernoulli masks.

The generator is MT19937. Its 32-bit words become numbers as in torch: `Tensor.uniform_` takes the
low 24 bits of one word, `Tensor.bernoulli_` the low 53 bits of two. Both are compared with this
build of torch at the first use, and torch draws where they differ.

Source:
    Matsumoto and Nishimura (1998), ACM Transactions on Modeling and Computer Simulation 8(1), 3-30;
    seeding as in their ``init_genrand``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numba import njit
from numpy.typing import NDArray

from xortune.trainers.kernels.cache import compiled, directory
from xortune.trainers.kernels.formulas import INLINE

if TYPE_CHECKING:
    from torch import Tensor  # the fused engine trains without torch, which is slow to import

WORDS, SHIFT = 624, 397


@njit(**INLINE)
def _twisted(high, low):
    y = (high & np.uint32(0x80000000)) | (low & np.uint32(0x7FFFFFFF))
    odd = np.uint32(0) - (y & np.uint32(1))
    return (y >> np.uint32(1)) ^ (odd & np.uint32(0x9908B0DF))


@njit(**INLINE)
def _tempered(y):
    y ^= y >> np.uint32(11)
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    return y ^ (y >> np.uint32(18))


# -------------------------------------------------------------------------------------------------
# Initial weights.

TOGETHER = 16  # seeds whose generators are computed side by side


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
                        state[j, s] = state[far, s] ^ _twisted(state[j, s], state[after, s])
            low = -bounds[draw]
            width = bounds[draw] - low
            for s in range(TOGETHER):
                y = _tempered(state[i, s])
                share = np.float32(y & np.uint32(0xFFFFFF)) * np.float32(2.0**-24)
                # Product and sum are exact in float64, so this rounds once, like the fused
                # multiply-add that torch's compiler makes of it on most processors.
                once = np.float32(np.float64(share) * np.float64(width) + np.float64(low))
                values[draw, first + s] = once if fused else share * width + low


MAX_KEPT = 4096
"""The most seeds whose initial weights are cached: a search trains the same seeds repeatedly."""


def start_of(dim: int, hidden_dim: int, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """`initial_weights`, cached."""
    if len(seeds) <= MAX_KEPT:
        return _cached_weights(dim, hidden_dim, seeds.tobytes())
    return initial_weights(dim, hidden_dim, seeds)


@functools.lru_cache(maxsize=4)
def _cached_weights(dim: int, hidden_dim: int, seeds: bytes) -> NDArray[np.float32]:
    return initial_weights(dim, hidden_dim, np.frombuffer(seeds, np.int64))


def initial_weights(dim: int, hidden_dim: int, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the weights that torch draws after ``torch.manual_seed(s)``.

    Args:
        dim: inputs per row, D.
        hidden_dim: H.
        seeds: int64, shape (S,), each in [0, 2**32), S a multiple of 16.

    Returns:
        float32, shape (P, S), P = H * D + 2 * H + 1: each seed's weights in the order of
        ``nn.Sequential.parameters()``.
    """
    once = _rounds_once()
    if once is None:
        return _torch_weights(dim, hidden_dim, seeds)
    return _own_weights(dim, hidden_dim, seeds, once=once)


def _torch_weights(dim: int, hidden_dim: int, seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    from xortune.trainers import reference  # torch is slow to import

    return reference.stacked(reference.initial_weights(dim, hidden_dim, seeds)).numpy()


def _own_weights(
    dim: int, hidden_dim: int, seeds: NDArray[np.int64], *, once: bool
) -> NDArray[np.float32]:
    bounds = np.full(hidden_dim * (dim + 2) + 1, 1 / math.sqrt(dim), np.float32)
    bounds[hidden_dim * (dim + 1) :] = 1 / math.sqrt(hidden_dim)
    weights = np.empty((len(bounds), len(seeds)), np.float32)
    compiled(uniform)(seeds.astype(np.uint32), bounds, once, weights)
    return weights


ROUNDINGS = ("once", "twice")


@functools.cache
def _rounds_once() -> bool | None:
    """Return whether this torch rounds `Tensor.uniform_` once; None if it draws in another way.

    The answer is found by a comparison with torch and written beside the compiled code, for this
    version and processor: importing torch takes longer than most trainings.
    """
    note = _note()
    with contextlib.suppress(OSError):
        if (known := note.read_text(encoding="ascii")) in ROUNDINGS:
            return known == ROUNDINGS[0]
    once = _compare_with_torch()
    if once is not None:
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            new = note.with_suffix(f".{os.getpid()}")
            new.write_text(ROUNDINGS[not once], encoding="ascii")
            new.replace(note)
    return once


def _note() -> Path:
    # torch chooses its code by the processor unless this variable chooses it.
    capability = os.environ.get("ATEN_CPU_CAPABILITY", "")
    processor = f"{get_host_cpu_features().flatten()} {capability}"
    digest = hashlib.sha256(processor.encode()).hexdigest()[:16]
    return directory() / f"uniform-torch-{version('torch')}-{digest}.txt"


def _compare_with_torch() -> bool | None:
    seeds = np.array([0, 1, 2, 3, 5, 8, 13, 21, 99, 2**16, 2**30, 2**31, 2**32 - 1, 7, 11, 42])
    shapes = (2, 5), (3, 7), (8, 64)
    for once in (True, False):
        if all(
            np.array_equal(
                _own_weights(*shape, seeds, once=once).view(np.int32),
                _torch_weights(*shape, seeds).view(np.int32),
            )
            for shape in shapes
        ):
            return once
    return None


# -------------------------------------------------------------------------------------------------
# Masks.

# `torch.Generator.get_state()` as 64-bit words: the seed, how many words are left, the next word,
# and from FIRST on the 624 words.
LEFT, NEXT, FIRST = 1, 2, 3


@njit(nogil=True, error_model="numpy")
def draw(states, below, one, out):
    """Fill `out` with zeros and ones.

    Args:
        states: uint64, shape (S, 632): the states of torch's generators, which advance.
        below: uint64: the probability of a one times 2**53, rounded up.
        one: float32: the number that stands for a one.
        out: float32, shape (S, n).
    """
    seeds, count = out.shape
    words = np.empty(2 * count, np.uint32)
    state = np.empty(WORDS, np.uint32)
    for seed in range(seeds):
        for i in range(WORDS):
            state[i] = np.uint32(states[seed, FIRST + i])
        # torch counts down before it looks: at 1 the next word needs a new state.
        left = np.int64(states[seed, LEFT] & np.uint64(0xFFFFFFFF))
        done = 0
        while done < 2 * count:
            if left == 1:
                _twist(state)
                left = WORDS + 1
            # LLVM vectorises this loop because an unsigned index cannot count from the end.
            first, at = np.uint64(WORDS + 1 - left), np.uint64(done)
            taken = min(left - 1, 2 * count - done)
            for i in range(np.uint64(taken)):
                words[at + i] = _tempered(state[first + i])
            done += taken
            left -= taken
        for i in range(count):
            high, low = np.uint64(words[2 * i]), np.uint64(words[2 * i + 1])
            both = (high << np.uint64(32)) | low
            drawn = (both & np.uint64((1 << 53) - 1)) < below
            out[seed, i] = one if drawn else np.float32(0)
        for i in range(WORDS):
            states[seed, FIRST + i] = state[i]
        seeded = states[seed, LEFT] & np.uint64(0xFFFFFFFF00000000)
        states[seed, LEFT] = seeded | np.uint64(left)
        states[seed, NEXT] = np.uint64(WORDS + 1 - left)


@njit(nogil=True, error_model="numpy")
def _twist(state):
    """Compute the next 624 words, in three parts so that no part reads what it writes."""
    for i in range(WORDS - SHIFT):
        state[i] = state[i + SHIFT] ^ _twisted(state[i], state[i + 1])
    for i in range(WORDS - SHIFT, WORDS - 1):
        state[i] = state[i + SHIFT - WORDS] ^ _twisted(state[i], state[i + 1])
    state[WORDS - 1] = state[SHIFT - 1] ^ _twisted(state[WORDS - 1], state[0])


def bernoulli(states: Tensor, probability: float, count: int, one: float) -> Tensor:
    """Draw `Tensor.bernoulli_` of each seed, times a number.

    Args:
        states: uint8, shape (S, 5056): the states of torch's CPU generators, which advance.
        probability: of a one.
        count: n, the draws of each seed.
        one: the number that stands for a one.

    Returns:
        float32, shape (S, n).
    """
    if not _draws_masks_as_torch():
        return _torch_masks(states, probability, count).mul_(one)
    return _own_masks(states, probability, count, one)


def _own_masks(states: Tensor, probability: float, count: int, one: float) -> Tensor:
    import torch

    out, below = np.empty((len(states), count), np.float32), np.ceil(probability * 2.0**53)
    compiled(draw)(states.numpy().view(np.uint64), np.uint64(below), np.float32(one), out)
    return torch.from_numpy(out)


def _torch_masks(states: Tensor, probability: float, count: int) -> Tensor:
    import torch

    out, generator = torch.empty(len(states), count), torch.Generator()
    for row, state in zip(out, states, strict=True):
        generator.set_state(state.clone())  # set_state ignores the offset of a view
        row.bernoulli_(probability, generator=generator)
        state.copy_(generator.get_state())
    return out


@functools.cache
def _draws_masks_as_torch() -> bool:
    """Return whether this build of torch draws in this way; some builds draw with MKL."""
    import torch

    ours = torch.Generator().manual_seed(7).get_state()[None]
    if ours.shape[1] != 8 * (FIRST + WORDS + 5):
        return False
    torchs = ours.clone()
    return all(
        torch.equal(_own_masks(ours, 0.3, count, 1.0), _torch_masks(torchs, 0.3, count))
        and torch.equal(ours, torchs)
        for count in (1, 301, 700, 1250)
    )
