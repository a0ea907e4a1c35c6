"""The network that the thread compares with: two sigmoid layers in NumPy, gradients by hand.

It is no `Config`: no biases, other initial weights, float64. What the thread says of it is written
out for many seeds at once, with the names of the script (layer1, layer2_delta) where they fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xortune.task import Task

__all__ = ["train"]

STACK = 256
"""Seeds trained at once: what an epoch touches stays in the second-level cache."""


def train(
    task: Task, seeds: NDArray[np.int64], *, hidden_dim: int, lr: float, epochs: int
) -> NDArray[np.bool_]:
    """Train ``sigmoid(sigmoid(X W1) W2)`` with delta = (y - p) p (1 - p), all rows in each step.

    That delta is the gradient of half the summed squared error, so this is gradient descent on it.

    Args:
        task: inputs (N, D), targets (N, 1).
        seeds: shape (S,), each in [0, 2**32): ``np.random.seed(s)``, then W1 and W2 uniform in
            [0, 1) in this order.
        hidden_dim: H.
        lr: learning rate, of the summed error.
        epochs: steps.

    Returns:
        bool, shape (S, N): whether the outputs after the last step are above 0.5.
    """
    parts = [
        _train(task, seeds[first : first + STACK], hidden_dim, lr, epochs)
        for first in range(0, len(seeds), STACK)
    ]
    return np.concatenate(parts)


def _train(
    task: Task, seeds: NDArray[np.int64], hidden_dim: int, lr: float, epochs: int
) -> NDArray[np.bool_]:
    rows, dim = task.inputs.shape
    w1, w2 = np.empty((dim, hidden_dim, len(seeds))), np.empty((hidden_dim, len(seeds)))
    for index, seed in enumerate(seeds.tolist()):
        generator = np.random.RandomState(seed)  # what np.random.seed makes
        w1[..., index] = generator.random_sample((dim, hidden_dim))
        w2[..., index] = generator.random_sample((hidden_dim, 1))[:, 0]
    # Whatever is 0 adds nothing: only the inputs that are not.
    present = [[(d, x) for d, x in enumerate(row) if x] for row in task.inputs.tolist()]
    targets = task.targets.astype(np.float64)
    for _ in range(epochs):
        layer1 = _sigmoid(_times(present, w1))
        layer2 = _sigmoid(np.einsum("nhs,hs->ns", layer1, w2))
        layer2_delta = (targets - layer2) * layer2 * (1 - layer2)
        layer1_delta = layer1 * (1 - layer1)
        layer1_delta *= layer2_delta[:, None]
        layer1_delta *= w2
        w2 += lr * np.einsum("nhs,ns->hs", layer1, layer2_delta)
        for row in range(rows):
            for d, x in present[row]:
                w1[d] += lr * x * layer1_delta[row]
    return (_sigmoid(np.einsum("nhs,hs->ns", _sigmoid(_times(present, w1)), w2)) > 0.5).T


def _times(present: list[list[tuple[int, float]]], w1: NDArray[np.float64]) -> NDArray[np.float64]:
    """X W1, shape (N, H, S)."""
    sums = np.zeros((len(present), *w1.shape[1:]))
    for row, inputs in enumerate(present):
        for d, x in inputs:
            sums[row] += x * w1[d]
    return sums


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), in place."""
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    return np.reciprocal(x, out=x)
