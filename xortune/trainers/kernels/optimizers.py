"""One step of each optimizer for sixteen seeds of one weight, as torch.optim computes it.

Each takes the weight w, the gradient g, two states s and t (zeros before the first step), the three
numbers of this epoch (`trainers.fused`) and gives the new w, s, t.
"""

from __future__ import annotations

from numba import njit

from xortune.trainers.kernels.functions import INLINE, at_least, at_most
from xortune.trainers.kernels.simd import absolute, reciprocal, select, sqrt


@njit(**INLINE)
def root(x):
    # Bounded, for its reciprocal to be 0 and not NaN where an average has become infinite.
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
    # a: factor of the gradient, b: of the average, c: 1 / bias correction 2
    s = s + (g - s) * 0.1
    t = t * 0.999 + (g * 0.001) * g
    return w - (g * a + s * b) * reciprocal(root(t * c) + 1e-8), s, t


@njit(**INLINE)
def radam(w, g, s, t, a, b, c):
    # a: step size, rectified or not; b, c: 1, 0 where the step is adaptive, else 0, 1
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
    # s: previous gradient, t: step size; a, b: the size up to which a gradient, a product are zero
    g = select(absolute(g) <= a, 0.0, g)
    product = g * s
    product = select(absolute(product) <= b, 0.0, product)
    grown = select(product > 0.0, t * 1.2, select(product < 0.0, t * 0.5, t))
    t = at_most(at_least(grown, 1e-6), 50.0)
    g = select(product < 0.0, 0.0, g)
    step = select(g > 0.0, t, select(g < 0.0, -t, 0.0))
    return w - step, g, t
