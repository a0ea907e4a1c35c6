"""The same training by other means, as one would write it with them: what `fused` is held against.

Each peer returns a `Measured`. JAX runs in a process of its own, under a limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from machine import best_seconds
from numpy.typing import NDArray

from xortune.core.config import SOFTMAX_LIKE, Config
from xortune.core.task import Task


@dataclass(frozen=True)
class Measured:
    """What a peer took, in nanoseconds for an epoch of a seed, and what its seeds came to."""

    ns: float
    solved: int


def plain_loop(config: Config, task: Task, seeds: range, *, epochs: int | None = None) -> Measured:
    """The thread's loop: an nn.Sequential, one seed at a time."""
    import torch
    from torch import nn

    epochs = config.epochs if epochs is None else epochs
    x, y = torch.tensor(task.inputs), torch.tensor(task.targets)
    options = {"momentum": config.momentum} if config.momentum else {}
    axis = {"dim": 1} if config.activation in SOFTMAX_LIKE else {}
    solved, seconds = 0, float("inf")
    for seed in seeds:
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(task.dim, config.hidden_dim),
            getattr(nn, str(config.activation))(**axis),
            nn.Linear(config.hidden_dim, 1),
            nn.Sigmoid(),
        )
        optimizer = getattr(torch.optim, config.optimizer)(
            model.parameters(), lr=config.lr, **options
        )
        loss_function = getattr(nn, config.loss)()
        start = time.perf_counter()
        for _ in range(epochs):
            optimizer.zero_grad()
            loss_function(model(x), y).backward()
            optimizer.step()
        seconds = min(seconds, time.perf_counter() - start)
        with torch.no_grad():
            solved += bool(((model(x) > 0.5) == (y > 0.5)).all())
    return Measured(seconds / epochs * 1e9, solved)


def jax_scan(config: Config, task: Task, start: NDArray[np.float32], layout: str) -> Measured:
    """JAX's jit of a scan of grad; seeds last in every array, or vmap of one seed's training step.

    ELU, MSELoss and SGD, or Tanh, BCELoss and Adam.
    """
    import jax
    from jax import numpy as jnp

    hidden, dim, seeds = config.hidden_dim, task.dim, start.shape[1]
    x, y = jnp.array(task.inputs), jnp.array(task.targets[:, 0])
    w1, b1, w2, b2 = np.split(start, np.cumsum([hidden * dim, hidden, hidden]))
    weights = (w1.reshape(hidden, dim, seeds), b1, w2, b2[0])
    act = {"ELU": jax.nn.elu, "Tanh": jnp.tanh}[str(config.activation)]

    def of_stack(p: Any) -> Any:  # (N, S)
        # Inputs one by one: of a sum over an axis XLA makes something five times slower.
        before = p[1]
        for d in range(dim):
            before = before + x[:, d, None, None] * p[0][:, d]
        return jax.nn.sigmoid((act(before) * p[2]).sum(1) + p[3])

    def of_one(p: Any) -> Any:  # (N,)
        return jax.nn.sigmoid(act(x @ p[0].T + p[1]) @ p[2] + p[3])

    def loss(out: Any, wanted: Any) -> Any:
        if config.loss == "MSELoss":
            return ((out - wanted) ** 2).mean(0).sum()
        log = jnp.maximum(jnp.log(jnp.where(wanted == 1, out, 1 - out)), -100)
        return -log.mean(0).sum()

    outputs: Callable[[Any], Any] = of_stack
    if layout == "vmap":
        weights = jax.tree.map(lambda w: np.ascontiguousarray(np.moveaxis(w, -1, 0)), weights)
        outputs = lambda p: jax.vmap(of_one)(p).T  # noqa: E731  # as of_stack
    gradient = jax.grad(lambda p: loss(outputs(p), y[:, None]))
    update = _jax_sgd(config) if config.optimizer == "SGD" else _jax_adam(config)

    def train(p: Any) -> Any:
        def step(carry: Any, epoch: Any) -> Any:
            p, m, v = carry
            return update(p, gradient(p), m, v, epoch), None

        zeros = jax.tree.map(jnp.zeros_like, p)
        epochs = jnp.arange(1, config.epochs + 1)
        return jax.lax.scan(step, (p, zeros, zeros), epochs)[0][0]

    weights = jax.tree.map(jnp.array, weights)
    fast = jax.jit(train).lower(weights).compile()
    seconds = best_seconds(lambda: jax.block_until_ready(fast(weights)))
    right = (outputs(fast(weights)) > 0.5) == (y[:, None] > 0.5)
    ns = seconds / config.epochs / seeds * 1e9
    return Measured(ns, int(right.all(0).sum()))


def _jax_sgd(config: Config) -> Callable[..., Any]:
    import jax

    def update(p: Any, g: Any, m: Any, v: Any, epoch: Any) -> Any:  # noqa: ARG001
        m = jax.tree.map(lambda m, g: config.momentum * m + g, m, g)
        return jax.tree.map(lambda p, m: p - config.lr * m, p, m), m, v

    return update


def _jax_adam(config: Config) -> Callable[..., Any]:
    import jax
    from jax import numpy as jnp

    def update(p: Any, g: Any, m: Any, v: Any, epoch: Any) -> Any:
        m = jax.tree.map(lambda m, g: m + (g - m) * 0.1, m, g)
        v = jax.tree.map(lambda v, g: v * 0.999 + g * g * 0.001, v, g)
        size, root = config.lr / (1 - 0.9**epoch), jnp.sqrt(1 - 0.999**epoch)
        step = jax.tree.map(lambda m, v: size * m / (jnp.sqrt(v) / root + 1e-8), m, v)
        return jax.tree.map(lambda p, s: p - s, p, step), m, v

    return update
