"""torch's CPU generator, for many seeds at once: MT19937, and `Tensor.uniform_` on top of it.

Source:
    Matsumoto and Nishimura (1998), ACM Transactions on Modeling and Computer Simulation 8(1), 3-30;
    seeding as in their ``init_genrand``. torch takes the low 24 bits of each 32-bit word for a
    float32 in [0, 1) and maps it by ``x * (high - low) + low``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["uniform"]

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
