"""Zeros and ones as torch draws them on the CPU, for many seeds in one call.

torch's generator is MT19937; `Tensor.bernoulli_` takes two of its words for each number.

Source:
    Matsumoto and Nishimura (1998), ACM Transactions on Modeling and Computer Simulation 8(1), 3-30.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numba import njit
from torch import Tensor

from xortune.trainers.kernels.cache import compiled

WORDS, SHIFT = 624, 397

# `torch.Generator.get_state()` as 64-bit words: the seed, how many are left, the next, 624 words.
LEFT, NEXT, FIRST = 1, 2, 3


@njit(nogil=True, error_model="numpy")
def draw(states, below, one, out):
    """Fill `out` with ones and zeros.

    Args:
        states: uint64, shape (S, 632): the states of torch's generators; they go on.
        below: uint64: the probability of a one times 2**53, rounded up.
        one: float32: what a one is written as.
        out: float32, shape (S, n).
    """
    seeds, count = out.shape
    words = np.empty(2 * count, np.uint32)
    state = np.empty(WORDS, np.uint32)
    for seed in range(seeds):
        for i in range(WORDS):
            state[i] = np.uint32(states[seed, FIRST + i])
        # One is left where the next word asks for a new state: torch counts down before it looks.
        left = np.int64(states[seed, LEFT] & np.uint64(0xFFFFFFFF))
        done = 0
        while done < 2 * count:
            if left == 1:
                _twist(state)
                left = WORDS + 1
            # Of an unsigned index it is known that it does not count from the end: 16 at once.
            first, at = np.uint64(WORDS + 1 - left), np.uint64(done)
            taken = min(left - 1, 2 * count - done)
            for i in range(np.uint64(taken)):
                y = state[first + i]
                y ^= y >> np.uint32(11)
                y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
                y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
                y ^= y >> np.uint32(18)
                words[at + i] = y
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
    """The next 624 words; in three parts, so that no part reads what it writes."""
    for i in range(WORDS - SHIFT):
        state[i] = state[i + SHIFT] ^ _twisted(state[i], state[i + 1])
    for i in range(WORDS - SHIFT, WORDS - 1):
        state[i] = state[i + SHIFT - WORDS] ^ _twisted(state[i], state[i + 1])
    state[WORDS - 1] = state[SHIFT - 1] ^ _twisted(state[WORDS - 1], state[0])


@njit(nogil=True, error_model="numpy", inline="always")
def _twisted(high, low):
    y = (high & np.uint32(0x80000000)) | (low & np.uint32(0x7FFFFFFF))
    odd = np.uint32(0) - (y & np.uint32(1))
    return (y >> np.uint32(1)) ^ (odd & np.uint32(0x9908B0DF))


def bernoulli(states: Tensor, probability: float, count: int, one: float) -> Tensor:
    """What `Tensor.bernoulli_` draws for each seed, times a number.

    Args:
        states: uint8, shape (S, 5056): the states of S of torch's CPU generators; they go on.
        probability: of a one.
        count: n, how many each draws.
        one: what a one becomes.

    Returns:
        float32, shape (S, n).
    """
    if not _is_torchs():
        return _by_torch(states, probability, count).mul_(one)
    return _drawn(states, probability, count, one)


def _drawn(states: Tensor, probability: float, count: int, one: float) -> Tensor:
    out, below = np.empty((len(states), count), np.float32), np.ceil(probability * 2.0**53)
    compiled(draw)(states.numpy().view(np.uint64), np.uint64(below), np.float32(one), out)
    return torch.from_numpy(out)


def _by_torch(states: Tensor, probability: float, count: int) -> Tensor:
    out, generator = torch.empty(len(states), count), torch.Generator()
    for row, state in zip(out, states, strict=True):
        generator.set_state(state.clone())  # a view of it is read from its start
        row.bernoulli_(probability, generator=generator)
        state.copy_(generator.get_state())
    return out


@functools.cache
def _is_torchs() -> bool:
    """Whether this build of torch draws in this way; some draw with MKL."""
    ours = torch.Generator().manual_seed(7).get_state()[None]
    if ours.shape[1] != 8 * (FIRST + WORDS + 5):
        return False
    torchs = ours.clone()
    return all(
        torch.equal(_drawn(ours, 0.3, count, 1.0), _by_torch(torchs, 0.3, count))
        and torch.equal(ours, torchs)
        for count in (1, 301, 700, 1250)
    )
