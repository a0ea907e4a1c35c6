"""The formulas of the fused engine: elementary functions, activations, losses, optimizer steps.

All of them take float32 vectors (see `simd`) and return vectors, without a branch or a call.
Activations, losses and optimizers follow torch's modules of the same names.
"""

from __future__ import annotations

import math

from numba import njit

from xortune.trainers.kernels.simd import (
    absolute,
    as_floats,
    bits_of,
    floats_of,
    reciprocal,
    select,
    sqrt,
)

INLINE = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "inline": "always"}
"""Options of a function that Numba inlines into its caller."""

# -------------------------------------------------------------------------------------------------
# Elementary functions, accurate to about an ulp.

LOG2E, LN2 = 1.4426950408889634, 0.6931471805599453
ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits


@njit(**INLINE)
def at_least(x, bound):
    """Return max(x, bound); NaN stays NaN."""
    return select(x < bound, bound, x)


@njit(**INLINE)
def at_most(x, bound):
    """Return min(x, bound); NaN stays NaN."""
    return select(x > bound, bound, x)


@njit(**INLINE)
def exp_and_expm1(x):
    """Return (e**x, e**x - 1) for -88 <= x <= 88; NaN gives NaN.

    x = n ln 2 + r with an integer n and |r| < 0.35. A polynomial gives e**r - 1 (Chebyshev fit,
    error 2.5e-8); shifting n into the exponent bits gives 2**n. For n = -127 these bits mean 0, so
    e**x is 0 below -87.7: a value that vanishes in torch vanishes here too, which matters to Rprop,
    whose step follows the sign of the smallest gradient. Subnormal numbers would be slow as well.
    """
    shifted = x * LOG2E + ROUND
    r = x - (shifted - ROUND) * LN2
    q = r * 0.0013933883479945843 + 0.008363335599910246
    q = q * r + 0.04166646280868955
    q = q * r + 0.16666576039474873
    q = q * r + 0.5
    q = (r * r) * q + r
    power = floats_of((bits_of(shifted) << 23) + 0x3F800000)
    return power * q + power, power * q + (power - 1.0)


@njit(**INLINE)
def exp(x):
    """Return e**x: 0 below -87.7, e**88 above 88."""
    return exp_and_expm1(at_most(at_least(x, -88.0), 88.0))[0]


@njit(**INLINE)
def sigmoid(x):
    """Return 1 / (1 + e**-x); 0 below -88."""
    return select(x < -88.0, 0.0, reciprocal(exp(-x) + 1.0))


@njit(**INLINE)
def tanh(x):
    """Return (e**2x - 1) / (e**2x + 1), accurate to an ulp near 0 too."""
    less = exp_and_expm1(at_most(at_least(x + x, -20.0), 20.0))[1]
    return less * reciprocal(less + 2.0)


@njit(**INLINE)
def _atanh_rest(s):
    """Return 2 atanh(s) - 2 s for |s| < 1/3 (Chebyshev fit in s**2, error 1.5e-8)."""
    u = s * s
    q = u * 0.26867548460675333 + 0.282339560913768
    q = q * u + 0.40007670852362076
    q = q * u + 0.6666663966575226
    return (s * u) * q


@njit(**INLINE)
def log1p_unit(t):
    """Return log(1 + t) = 2 atanh(t / (2 + t)) for 0 <= t <= 1."""
    s = t * reciprocal(t + 2.0)
    return _atanh_rest(s) + s * 2.0


@njit(**INLINE)
def softplus(x):
    """Return log(1 + e**x) and t = e**-|x|."""
    t = exp_and_expm1(at_least(-absolute(x), -88.0))[0]
    return at_least(x, 0.0) + log1p_unit(t), t


@njit(**INLINE)
def log(x):
    """Return the natural logarithm of a positive normal number."""
    exponent = (bits_of(x) - 0x3F3504F3) >> 23  # the exponent of x / sqrt(1/2)
    m = floats_of(bits_of(x) - (exponent << 23))
    s = (m - 1.0) * reciprocal(m + 1.0)
    return as_floats(exponent) * LN2 + (s * 2.0 + _atanh_rest(s))


# -------------------------------------------------------------------------------------------------
# Activations: x -> (y, dy/dx).
#
# At kinks the derivative is the one that torch chooses (ReLU at 0: 0, Hardtanh at 1: 0). NaN gives
# NaN.

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@njit(**INLINE)
def identity(x):
    return x, select(x < x, x, 1.0)  # the second is a vector of ones


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
    # The normal distribution function by Abramowitz and Stegun (1964), 7.1.26; error below 1.5e-7.
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
    # tanh(log(1 + e)) = n / (n + 2) with n = e (e + 2); it is 1 for x above 20.
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


ACTIVATION_FORMULAS = {
    None: identity,
    "ELU": elu,
    "GELU": gelu,
    "Hardshrink": hardshrink,
    "Hardsigmoid": hardsigmoid,
    "Hardswish": hardswish,
    "Hardtanh": hardtanh,
    "LeakyReLU": leaky_relu,
    "LogSigmoid": log_sigmoid,
    "Mish": mish,
    "ReLU": relu,
    "ReLU6": relu6,
    "SELU": selu,
    "SiLU": silu,
    "Sigmoid": logistic,
    "Softplus": softplus_20,
    "Softshrink": softshrink,
    "Softsign": softsign,
    "Tanh": hyperbolic,
    "Tanhshrink": tanhshrink,
}
"""Without CELU, which is ELU at torch's default alpha, and without the softmax family."""


# -------------------------------------------------------------------------------------------------
# Losses: the derivative of the loss by z, for one row of one seed.
#
# p = sigmoid(z) is the output, q = scale * p (1 - p) and y the target (0 or 1); a loss returns
# scale * dL/dz = dL/dp * q (`fused.Schedule` sets the scale). Like torch, a loss that is meant for
# logits or log-probabilities is applied to p itself.


@njit(**INLINE)
def bce(p, q, y, scale):
    # torch divides by max(q, 1e-12) and multiplies by q.
    d = p - y
    return select(q < 1e-12 * scale, d * 1e12 * q, d * scale)


@njit(**INLINE)
def bce_with_logits(p, q, y, scale):
    return (sigmoid(p) - y) * q


@njit(**INLINE)
def hinge_embedding(p, q, y, scale):
    # torch adds both terms for a target of 0, which is neither of its classes: the slopes cancel.
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


LOSS_FORMULAS = {
    "BCELoss": bce,
    "BCEWithLogitsLoss": bce_with_logits,
    "HingeEmbeddingLoss": hinge_embedding,
    "KLDivLoss": kl_div,
    "L1Loss": l1,
    "MSELoss": mse,
    "PoissonNLLLoss": poisson_nll,
    "SmoothL1Loss": smooth_l1,
    "SoftMarginLoss": soft_margin,
}
"""Without MultiLabelSoftMarginLoss, which is BCEWithLogitsLoss for one output."""

BCE, BCE_WITH_LOGITS, HINGE, KL, L1, MSE, POISSON, SMOOTH_L1, SOFT_MARGIN = range(9)


@njit(nogil=True, error_model="numpy")
def loss_value(loss, p, y):
    """Return the loss of one output p and target y (scalars: only checkpoints need it).

    `loss` is the place of the loss in `LOSS_FORMULAS`.
    """
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


# -------------------------------------------------------------------------------------------------
# Optimizers: one step of sixteen seeds of one weight, as in torch.optim.
#
# (w, g, s, t, a, b, c) -> (w, s, t): the weight, its gradient, two states (zero before the first
# step unless `fused.Schedule` says otherwise) and the three numbers that the schedule gives for
# this epoch.


@njit(**INLINE)
def root(x):
    # The bound makes the reciprocal 0, not NaN, where an average has become infinite.
    return at_most(sqrt(x), 1e37)


@njit(**INLINE)
def sgd(w, g, s, t, a, b, c):
    # a: lr
    return w - g * a, s, t


@njit(**INLINE)
def sgd_momentum(w, g, s, t, a, b, c):
    # a: lr, b: momentum
    s = s * b + g
    return w - s * a, s, t


@njit(**INLINE)
def adadelta(w, g, s, t, a, b, c):
    # a: lr; rho 0.9, eps 1e-6
    s = s * 0.9 + (g * 0.1) * g
    below = at_most(s, 1e37) + 1e-6
    step = sqrt((t + 1e-6) * reciprocal(below)) * g
    t = t * 0.9 + (step * 0.1) * step
    return w - step * a, s, t


@njit(**INLINE)
def adagrad(w, g, s, t, a, b, c):
    # a: lr; eps 1e-10
    s = s + g * g
    return w - (g * a) * reciprocal(root(s) + 1e-10), s, t


@njit(**INLINE)
def adam(w, g, s, t, a, b, c):
    # a: step size, b: 1 / sqrt(bias correction 2), c: 1 - lr * weight decay
    s = s + (g - s) * 0.1
    t = t * 0.999 + (g * 0.001) * g
    return w * c - (s * a) * reciprocal(root(t) * b + 1e-8), s, t


@njit(**INLINE)
def adamax(w, g, s, t, a, b, c):
    # a: step size; beta 0.9, 0.999, eps 1e-8
    s = s + (g - s) * 0.1
    t = at_least(absolute(g) + 1e-8, t * 0.999)
    return w - (s * a) * reciprocal(at_most(t, 1e37)), s, t


@njit(**INLINE)
def asgd(w, g, s, t, a, b, c):
    # a: eta, b: 1 - lambd * eta
    return w * b - g * a, s, t


@njit(**INLINE)
def nadam(w, g, s, t, a, b, c):
    # a: factor of the gradient, b: factor of the average, c: 1 / bias correction 2
    s = s + (g - s) * 0.1
    t = t * 0.999 + (g * 0.001) * g
    return w - (g * a + s * b) * reciprocal(root(t * c) + 1e-8), s, t


@njit(**INLINE)
def radam(w, g, s, t, a, b, c):
    # a: step size, rectified or not; (b, c): (1, 0) where the step is adaptive, else (0, 1)
    s = s + (g - s) * 0.1
    t = t * 0.999 + (g * 0.001) * g
    return w - (s * a) * reciprocal((root(t) + 1e-8) * b + c), s, t


@njit(**INLINE)
def rmsprop(w, g, s, t, a, b, c):
    # a: lr; alpha 0.99, eps 1e-8
    s = s * 0.99 + (g * 0.01) * g
    return w - (g * a) * reciprocal(root(s) + 1e-8), s, t


@njit(**INLINE)
def rmsprop_momentum(w, g, s, t, a, b, c):
    # a: lr, b: momentum
    s = s * 0.99 + (g * 0.01) * g
    t = t * b + g * reciprocal(root(s) + 1e-8)
    return w - t * a, s, t


@njit(**INLINE)
def rprop(w, g, s, t, a, b, c):
    # s: previous gradient, t: step size; sizes that count as zero: of a gradient a, of a product b
    g = select(absolute(g) <= a, 0.0, g)
    product = g * s
    product = select(absolute(product) <= b, 0.0, product)
    grown = select(product > 0.0, t * 1.2, select(product < 0.0, t * 0.5, t))
    t = at_most(at_least(grown, 1e-6), 50.0)
    g = select(product < 0.0, 0.0, g)
    step = select(g > 0.0, t, select(g < 0.0, -t, 0.0))
    return w - step, g, t


STEP_FORMULAS = (
    (sgd, 0),
    (sgd_momentum, 1),
    (adadelta, 2),
    (adagrad, 1),
    (adam, 2),
    (adamax, 2),
    (asgd, 0),
    (nadam, 2),
    (radam, 2),
    (rmsprop, 1),
    (rmsprop_momentum, 2),
    (rprop, 2),
)
"""Each formula and how many states it keeps; `fused.Schedule.rule` is a place in this tuple."""
