"""Derivatives of the losses by the sum before the sigmoid, for one row of one seed.

Each takes the output p = sigmoid(z), q = p (1 - p) and the target y (0 or 1), and gives dL/dz =
dL/dp q. `scale` is what q has been multiplied by (`fused.Schedule`), and so dL/dz.
Like torch, the losses meant for logits or log-probabilities are applied to p as it is.
`value` is the loss itself, wanted at checkpoints only and therefore scalar.
"""

from __future__ import annotations

import math

from numba import njit

from xortune.trainers.kernels.functions import INLINE, exp, sigmoid
from xortune.trainers.kernels.simd import select


@njit(**INLINE)
def bce(p, q, y, scale):
    # torch divides by q, but by 1e-12 where q is smaller, and multiplies by q again.
    d = p - y
    return select(q < 1e-12 * scale, d * 1e12 * q, d * scale)


@njit(**INLINE)
def bce_with_logits(p, q, y, scale):
    return (sigmoid(p) - y) * q


@njit(**INLINE)
def hinge_embedding(p, q, y, scale):
    # A target of 0 is neither class to torch, and gets both terms: their slopes cancel.
    return q * y


@njit(**INLINE)
def kl_div(p, q, y, scale):
    return q * (-y)


@njit(**INLINE)
def l1(p, q, y, scale):
    d = p - y
    return select(d > 0.0, q, select(d < 0.0, -q, d * q))


@njit(**INLINE)
def mse(p, q, y, scale):
    return (p - y) * 2.0 * q


@njit(**INLINE)
def poisson_nll(p, q, y, scale):
    return (exp(p) - y) * q


@njit(**INLINE)
def smooth_l1(p, q, y, scale):
    return (p - y) * q


@njit(**INLINE)
def soft_margin(p, q, y, scale):
    return (sigmoid(p * y) - 1.0) * (q * y)


BCE, BCE_WITH_LOGITS, HINGE, KL, L1, MSE, POISSON, SMOOTH_L1, SOFT_MARGIN = range(9)


@njit(nogil=True, error_model="numpy")
def value(loss, p, y):
    """The loss of one output p and target y."""
    if loss == MSE:
        return (p - y) * (p - y)
    if loss == L1:
        return abs(p - y)
    if loss == SMOOTH_L1:
        d = abs(p - y)
        return 0.5 * d * d if d < 1.0 else d - 0.5
    if loss == BCE:
        # torch bounds each logarithm by -100.
        chosen = p if y == 1.0 else 1.0 - p
        return -max(math.log(chosen), -100.0) if chosen != 0.0 else 100.0
    if loss == BCE_WITH_LOGITS:
        return (1.0 - y) * p + math.log1p(math.exp(-p))
    if loss == HINGE:
        return p if y == 1.0 else p + (1.0 - p)
    if loss == KL:
        return -y * p
    if loss == POISSON:
        return math.exp(p) - y * p
    return math.log1p(math.exp(-y * p))
