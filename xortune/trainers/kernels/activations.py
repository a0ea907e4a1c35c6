"""Activations and their derivatives: each maps x to (y, dy/dx), as torch.nn's module of that name.

What torch does at a kink (the derivative of ReLU at 0 is 0, that of Hardtanh at 1 is 0, ...) is
done here too; a NaN goes through everything.
"""

from __future__ import annotations

from numba import njit

from xortune.trainers.kernels.functions import (
    INLINE,
    at_least,
    at_most,
    exp_and_expm1,
    log1p_unit,
    sigmoid,
    softplus,
    tanh,
)
from xortune.trainers.kernels.simd import absolute, reciprocal, select

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@njit(**INLINE)
def identity(x):
    return x, select(x < x, x, 1.0)  # a vector of ones


@njit(**INLINE)
def elu(x):
    e, less = exp_and_expm1(at_least(at_most(x, 0.0), -88.0))
    return select(x > 0.0, x, less), select(x > 0.0, 1.0, e)


@njit(**INLINE)
def selu(x):
    e, less = exp_and_expm1(at_least(at_most(x, 0.0), -88.0))
    scale, negative = SELU_SCALE, SELU_SCALE * SELU_ALPHA
    return select(x > 0.0, x * scale, less * negative), select(x > 0.0, scale, e * negative)


@njit(**INLINE)
def gelu(x):
    # Phi by Abramowitz and Stegun (1964), 7.1.26: error below 1.5e-7.
    z = absolute(x) * 0.7071067811865476
    e = exp_and_expm1(at_least(-(z * z), -88.0))[0]
    t = reciprocal(z * 0.3275911 + 1.0)
    q = t * 1.061405429 - 1.453152027
    q = q * t + 1.421413741
    q = q * t - 0.284496736
    q = q * t + 0.254829592
    tail = (q * t) * (e * 0.5)
    cdf = select(x < 0.0, tail, 1.0 - tail)
    return x * cdf, cdf + x * (e * 0.3989422804014327)


@njit(**INLINE)
def hardshrink(x):
    inside = absolute(x) <= 0.5
    return select(inside, 0.0, x), select(inside, 0.0, 1.0)


@njit(**INLINE)
def hardsigmoid(x):
    y = at_most(at_least(x + 3.0, 0.0), 6.0) * 0.16666666666666666
    return y, select(absolute(x) < 3.0, 0.16666666666666666, 0.0)


@njit(**INLINE)
def hardswish(x):
    y = x * at_most(at_least(x + 3.0, 0.0), 6.0) * 0.16666666666666666
    inner = x * 0.3333333333333333 + 0.5
    return y, select(x <= -3.0, 0.0, select(x >= 3.0, 1.0, inner))


@njit(**INLINE)
def hardtanh(x):
    y = at_most(at_least(x, -1.0), 1.0)
    return y, select(absolute(x) >= 1.0, 0.0, 1.0)


@njit(**INLINE)
def leaky_relu(x):
    positive = x > 0.0
    return select(positive, x, x * 0.01), select(positive, 1.0, 0.01)


@njit(**INLINE)
def log_sigmoid(x):
    t = exp_and_expm1(at_least(-absolute(x), -88.0))[0]
    y = at_most(x, 0.0) - log1p_unit(t)
    return y, select(x < 0.0, 1.0, t) * reciprocal(t + 1.0)


@njit(**INLINE)
def mish(x):
    # tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2); from 20 on it is 1.
    e = exp_and_expm1(at_most(at_least(x, -88.0), 20.0))[0]
    n = e * (e + 2.0)
    t = n * reciprocal(n + 2.0)
    return x * t, t + x * (1.0 - t * t) * (e * reciprocal(e + 1.0))


@njit(**INLINE)
def relu(x):
    return at_least(x, 0.0), select(x <= 0.0, 0.0, 1.0)


@njit(**INLINE)
def relu6(x):
    y = at_most(at_least(x, 0.0), 6.0)
    return y, select(x <= 0.0, 0.0, select(x >= 6.0, 0.0, 1.0))


@njit(**INLINE)
def silu(x):
    s = sigmoid(x)
    return x * s, s * (x * (1.0 - s) + 1.0)


@njit(**INLINE)
def logistic(x):
    s = sigmoid(x)
    return s, s * (1.0 - s)


@njit(**INLINE)
def softplus_20(x):
    y, t = softplus(x)
    slope = select(x < 0.0, t, 1.0) * reciprocal(t + 1.0)
    return select(x > 20.0, x, y), select(x > 20.0, 1.0, slope)


@njit(**INLINE)
def softshrink(x):
    y = select(x > 0.5, x - 0.5, select(x < -0.5, x + 0.5, x * 0.0))
    return y, select(absolute(x) <= 0.5, 0.0, 1.0)


@njit(**INLINE)
def softsign(x):
    r = reciprocal(at_most(absolute(x), 1e37) + 1.0)
    return x * r, r * r


@njit(**INLINE)
def hyperbolic(x):
    y = tanh(x)
    return y, 1.0 - y * y


@njit(**INLINE)
def tanhshrink(x):
    y = tanh(x)
    return x - y, y * y
