"""Elementary functions of float32 vectors, accurate to about an ulp, without a branch or a call."""

from __future__ import annotations

from numba import njit

from xortune.trainers.kernels.simd import (
    absolute,
    as_floats,
    bits_of,
    floats_of,
    reciprocal,
    select,
)

INLINE = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "inline": "always",
}
"""Options of a function that becomes part of its caller."""

LOG2E, LN2 = 1.4426950408889634, 0.6931471805599453
ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves the nearest whole number in the low bits


@njit(**INLINE)
def at_least(x, bound):
    """The larger one; NaN stays NaN."""
    return select(x < bound, bound, x)


@njit(**INLINE)
def at_most(x, bound):
    """The smaller one; NaN stays NaN."""
    return select(x > bound, bound, x)


@njit(**INLINE)
def exp_and_expm1(x):
    """(e**x, e**x - 1) for -88 <= x <= 88; NaN for NaN.

    x = n ln 2 + r with a whole n and |r| < 0.35; a polynomial for e**r - 1, whose error is 2.5e-8
    (Chebyshev fit), times 2**n, which is n moved into the exponent's bits. For n = -127 these are
    the bits of 0: from -87.7 down e**x is 0, so that what vanishes in torch vanishes here too. To
    Rprop the sign of the smallest gradient is a whole step, and subnormal numbers are slow.
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
    """e**x; 0 below -87.7, above 88 that of 88."""
    return exp_and_expm1(at_most(at_least(x, -88.0), 88.0))[0]


@njit(**INLINE)
def sigmoid(x):
    """1 / (1 + e**-x); 0 below -88."""
    return select(x < -88.0, 0.0, reciprocal(exp(-x) + 1.0))


@njit(**INLINE)
def tanh(x):
    """(e**2x - 1) / (e**2x + 1), exact to an ulp near 0 too."""
    less = exp_and_expm1(at_most(at_least(x + x, -20.0), 20.0))[1]
    return less * reciprocal(less + 2.0)


@njit(**INLINE)
def _atanh_rest(s):
    """2 atanh(s) - 2 s for |s| < 1/3; a polynomial in s**2, error 1.5e-8 (Chebyshev fit)."""
    u = s * s
    q = u * 0.26867548460675333 + 0.282339560913768
    q = q * u + 0.40007670852362076
    q = q * u + 0.6666663966575226
    return (s * u) * q


@njit(**INLINE)
def log1p_unit(t):
    """log(1 + t) for 0 <= t <= 1: 2 atanh(t / (2 + t))."""
    s = t * reciprocal(t + 2.0)
    return _atanh_rest(s) + s * 2.0


@njit(**INLINE)
def softplus(x):
    """log(1 + e**x), and t = e**-|x|."""
    t = exp_and_expm1(at_least(-absolute(x), -88.0))[0]
    return at_least(x, 0.0) + log1p_unit(t), t


@njit(**INLINE)
def log(x):
    """The natural logarithm of a normal number above 0."""
    exponent = (bits_of(x) - 0x3F3504F3) >> 23  # of x over sqrt(1/2)
    m = floats_of(bits_of(x) - (exponent << 23))
    s = (m - 1.0) * reciprocal(m + 1.0)
    return as_floats(exponent) * LN2 + (s * 2.0 + _atanh_rest(s))
