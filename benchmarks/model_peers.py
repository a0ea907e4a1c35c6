"""Many seeds of one torch model: xortune beside the loop, modelbatch and JAX, on one core.

    pip install modelbatch jax
    python benchmarks/model_peers.py [--seeds 128] [--epochs 10] [--readme]

The MLP of `torch_models.py`, batches of 32 in each seed's own order. Each is timed as a whole
training without its score; JAX without what it compiles. The last column is the largest relative
difference of a test loss from the plain script's: JAX draws weights and dropout by its own
generator; modelbatch gets the loop's weights and batches, and draws dropout for all its models as
torch does under `vmap`. Without dropout its numbers can be compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from machine import description, show, stay_on
from torch import Tensor, nn
from torch.nn import functional
from torch_models import X_TEST, Y_TEST, Mlp, X, Y


class PlainMlp(Mlp):
    """The same without dropout."""

    def model(self) -> nn.Module:
        return nn.Sequential(
            *(part for part in super().model() if not isinstance(part, nn.Dropout))
        )


def _test_loss(out: Tensor) -> Tensor:
    return functional.cross_entropy(out, Y_TEST)


def loop(kind: type[Mlp], seeds: int, epochs: int) -> tuple[float, list[float]]:
    """Seconds a seed of a few seeds, one after the other, and their losses on the test set."""
    training = kind({})
    training.epochs = epochs
    training.run(0)  # what torch does once
    began = time.perf_counter()
    scores = [training.run(seed) for seed in range(min(8, seeds))]
    return (time.perf_counter() - began) / len(scores), [float(one["loss"]) for one in scores]


def stacked(kind: type[Mlp], seeds: int, epochs: int) -> tuple[float, list[float]]:
    """Seconds a seed of `run_seeds`, with its pilot and its scores."""
    training = kind({})
    training.epochs = epochs
    began = time.perf_counter()
    scores = training.run_seeds(range(seeds))
    return (time.perf_counter() - began) / seeds, [float(one) for one in scores["loss"]]


def modelbatch(kind: type[Mlp], seeds: int, epochs: int) -> tuple[float, list[float]]:
    """Seconds a seed of modelbatch, as its documentation says, each model with its own batches."""
    from modelbatch import ModelBatch
    from modelbatch.optimizer import OptimizerFactory

    training, models, orders = kind({}), [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        models.append(training.model())
        orders.append([torch.randperm(len(X)) for _ in range(epochs)])
    batch = ModelBatch(models, shared_input=False)
    optimizer = OptimizerFactory(torch.optim.AdamW).create_optimizer(
        batch, [{"lr": 1e-3} for _ in range(seeds)]
    )
    began = time.perf_counter()
    for epoch in range(epochs):
        order = torch.stack([one[epoch] for one in orders])
        for rows in order.split(32, dim=1):
            optimizer.zero_grad()
            outputs = batch(X[rows])
            batch.compute_loss(outputs, Y[rows], functional.cross_entropy).backward()
            optimizer.step()
    seconds = time.perf_counter() - began
    losses = []
    for model, state in zip(models, batch.get_model_states(), strict=True):
        model.load_state_dict(state)
        with torch.no_grad():
            losses.append(float(_test_loss(model.eval()(X_TEST))))
    return seconds / seeds, losses


def jax_vmap(kind: type[Mlp], seeds: int, epochs: int) -> tuple[float, list[float]]:
    """Seconds a seed of the same network in JAX: `vmap` of a scan over batches, compiled."""
    import jax
    from jax import numpy as jnp

    x, y = jnp.asarray(X.numpy()), jnp.asarray(Y.numpy())
    x_test, y_test = jnp.asarray(X_TEST.numpy()), jnp.asarray(Y_TEST.numpy())
    rates = (0.1, 0.2) if kind is Mlp else (0.0, 0.0)
    sizes = [(64, 32), (32, 32), (32, 10)]

    def initial(key):
        keys = jax.random.split(key, 6)
        return [
            tuple(
                jax.random.uniform(keys[2 * i + j], shape, minval=-(fan**-0.5), maxval=fan**-0.5)
                for j, shape in enumerate([(fan, out), (out,)])
            )
            for i, (fan, out) in enumerate(sizes)
        ]

    def network(weights, inner, key):
        for i, (weight, bias) in enumerate(weights):
            inner = inner @ weight + bias
            if i < 2:
                inner = jnp.maximum(inner, 0)
                if key is not None and rates[i]:
                    kept = jax.random.bernoulli(
                        jax.random.fold_in(key, i), 1 - rates[i], inner.shape
                    )
                    inner = jnp.where(kept, inner / (1 - rates[i]), 0)
        return inner

    def loss(weights, rows, key):
        out = jax.nn.log_softmax(network(weights, x[rows], key))
        return -out[jnp.arange(len(rows)), y[rows]].mean()

    tree = jax.tree_util.tree_map

    def step(state, given):
        (weights, first, second, count), (rows, key) = state, given
        slope, count = jax.grad(loss)(weights, rows, key), count + 1
        first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
        second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, slope)
        weights = tree(
            lambda w, m, v: (
                w * (1 - 1e-5)
                - 1e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)
            ),
            *(weights, first, second),
        )
        return (weights, first, second, count), None

    def train(key):
        weights = initial(key)
        zero = tree(jnp.zeros_like, weights)
        state, steps = (weights, zero, zero, 0.0), len(X) // 32
        for epoch in range(epochs):
            at = jax.random.fold_in(key, epoch)
            order = jax.random.permutation(at, len(X))
            whole = order[: steps * 32].reshape(steps, 32)
            state, _ = jax.lax.scan(step, state, (whole, jax.random.split(at, steps)))
            state, _ = step(state, (order[steps * 32 :], jax.random.fold_in(at, 1)))
        out = jax.nn.log_softmax(network(state[0], x_test, None))
        return -out[jnp.arange(len(x_test)), y_test].mean()

    keys = jax.vmap(jax.random.PRNGKey)(jnp.arange(seeds))
    train_all = jax.jit(jax.vmap(train)).lower(keys).compile()
    began = time.perf_counter()
    losses = train_all(keys).block_until_ready()
    return (time.perf_counter() - began) / seeds, [float(one) for one in losses]


CONTESTANTS: dict[str, Callable[[type[Mlp], int, int], tuple[float, list[float]]]] = {
    "the loop": loop,
    "xortune": stacked,
    "modelbatch": modelbatch,
    "JAX, vmap": jax_vmap,
}


def main() -> None:
    """Print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--readme", action="store_true", help="put it into benchmarks/README.md")
    given = parser.parse_args()
    about = f"{description()}. One core, {given.seeds} seeds, {given.epochs} epochs."
    stay_on(0)
    torch.set_num_threads(1)
    rows = []
    for title, kind in (("two dropouts", Mlp), ("no dropout", PlainMlp)):
        alone, plain = loop(kind, given.seeds, given.epochs)
        for name, contestant in CONTESTANTS.items():
            if contestant is loop:
                seconds, losses = alone, plain
            else:
                seconds, losses = contestant(kind, given.seeds, given.epochs)
            apart = max(abs(a - b) / b for a, b in zip(losses, plain, strict=False))
            same = "other draws" if contestant is jax_vmap else f"{apart:.0e}"
            mean = sum(losses) / len(losses)
            rows.append(
                [
                    f"{name}, {title}",
                    f"{seconds:.4f}",
                    f"{alone / seconds:.1f}x",
                    f"{mean:.4f}",
                    same,
                ]
            )
    header = ["by", "s a seed", "times", "mean loss on the test set", "apart from the loop"]
    show(about, header, rows, name="model peers", readme=given.readme)


if __name__ == "__main__":
    main()
