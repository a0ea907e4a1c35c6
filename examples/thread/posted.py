"""The posted scripts as they stand, for many seeds at once: what no `xt.Config` says of them.

They stop at a loss, truncate their outputs, or are written in NumPy. Seed s is
`torch.manual_seed(s)` and then torch's own initialisation, as everywhere in xortune.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Config = dict[str, Any]

INPUTS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TARGETS = torch.tensor([0.0, 1.0, 1.0, 0.0])
LANES = 64
"""Seeds are padded to a multiple of this: torch rounds the last few of a tensor otherwise."""


def outputs_after(
    config: Config, seeds: range, stop_loss: float = -1.0
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Train each seed for all epochs, or until the loss before a step is below `stop_loss`.

    Returns:
        Its outputs then, shape (S, 4), and the steps that it took, shape (S,).
    """
    count, epochs = len(seeds), config["epochs"]
    steps = torch.full((count,), epochs, dtype=torch.int32)
    kept = torch.zeros(4, count)
    for epoch, (outputs, losses, _) in enumerate(_training(config, seeds)):
        # The other seeds go on, and so do the weights of this one: what it had now counts.
        ends = (steps == epochs) & ((losses[:count] < stop_loss) | (epoch == epochs))
        if ends.any():
            kept = torch.where(ends, outputs[:, :count], kept)
            steps[ends] = epoch
    return kept.T.numpy(), steps.numpy()


def same_weights(one: Config, other: Config, seeds: range) -> NDArray[np.bool_]:
    """bool, shape (S,): whether both have the same weights, bit for bit, after every step."""
    same = torch.ones(len(seeds), dtype=torch.bool)
    for (*_, mine), (*_, theirs) in zip(
        _training(one, seeds), _training(other, seeds), strict=True
    ):
        equal = mine.view(torch.int32) == theirs.view(torch.int32)
        same &= equal.all(dim=0)[: len(seeds)]
        if not same.any():
            break
    return same.numpy()


def _training(config: Config, seeds: range) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Outputs (4, S), losses (S,) and weights (P, S) before each step and after the last.

    Activation, loss and optimizer are torch's; autograd's part of the two linear layers is written
    out, which takes half the time. S is the last axis and padded: no seed influences another.
    """
    torch.set_num_threads(1)
    weights = _initial(config["hidden_dim"], [*seeds, *[seeds[-1]] * (-len(seeds) % LANES)])
    weights.grad = torch.zeros_like(weights)
    w1, b1, w2, b2 = _layers(weights.data, config["hidden_dim"])
    d_w1, d_b1, d_w2, d_b2 = _layers(gradient := torch.empty_like(weights), config["hidden_dim"])
    activation = getattr(nn, config["activation"] or "Identity")()
    loss = getattr(nn, config["loss"])(reduction="none")
    more = {"momentum": config["momentum"]} if config.get("momentum") else {}
    optimizer = getattr(torch.optim, config["optimizer"])(
        [weights], lr=config["lr"], foreach=False, **more
    )
    targets = TARGETS[:, None].expand(-1, weights.shape[1]).contiguous()
    columns = [column[:, None, None] for column in INPUTS.T]
    for epoch in range(config["epochs"] + 1):
        before = b1
        for column, weight in zip(columns, w1.unbind(1), strict=True):
            before = torch.addcmul(before, column, weight)
        before.requires_grad_()
        hidden = activation(before)
        sums = (hidden * w2).sum(dim=1) + b2
        outputs = torch.sigmoid(sums)
        losses = loss(outputs, targets).mean(dim=0)
        yield outputs.detach(), losses.detach(), weights.data
        if epoch == config["epochs"]:
            return
        d_before, d_sums = torch.autograd.grad(losses.sum(), (before, sums))
        torch.sum(d_sums, dim=0, keepdim=True, out=d_b2)
        torch.sum(d_sums.unsqueeze(1) * hidden.detach(), dim=0, out=d_w2)
        torch.sum(d_before, dim=0, out=d_b1)
        for column, d_weight in zip(columns, d_w1.unbind(1), strict=True):
            torch.sum(d_before * column, dim=0, out=d_weight)
        if config["zero_grad"]:
            weights.grad.copy_(gradient)
        else:
            weights.grad.add_(gradient)
        optimizer.step()


def _initial(hidden_dim: int, seeds: list[int]) -> Tensor:
    """The weights that `nn.Linear` draws after `torch.manual_seed(s)`, shape (P, S)."""
    found = []
    generator = torch.Generator()
    for seed in seeds:
        generator.manual_seed(seed)
        for rows, columns in ((hidden_dim, 2), (1, hidden_dim)):
            weight, bias, bound = torch.empty(rows, columns), torch.empty(rows), 1 / columns**0.5
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
            nn.init.uniform_(bias, -bound, bound, generator=generator)
            found += [weight.flatten(), bias]
    return torch.cat(found).view(len(seeds), -1).T.contiguous()


def _layers(flat: Tensor, hidden_dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views of (P, S): w1 (H, 2, S), b1 (H, S), w2 (H, S), b2 (1, S)."""
    w1, b1, w2, b2 = torch.split(flat, [2 * hidden_dim, hidden_dim, hidden_dim, 1])
    return w1.view(hidden_dim, 2, -1), b1, w2, b2


def numpy_network(seeds: range, *, hidden_dim: int, lr: float, epochs: int) -> NDArray[np.bool_]:
    """Two sigmoid layers in NumPy, ``sigmoid(sigmoid(X W1) W2)`` without biases, in float64.

    All rows in each step, delta = (y - p) p (1 - p): the gradient of half the summed squared error.
    After ``np.random.seed(s)``, W1 and W2 are uniform in [0, 1) in this order.

    Returns:
        bool, shape (S, 4): whether the outputs after the last step are above 0.5.
    """
    parts = [seeds[first : first + 256] for first in range(0, len(seeds), 256)]  # fit the cache
    return np.concatenate([_numpy_part(part, hidden_dim, lr, epochs) for part in parts])


def _numpy_part(seeds: range, hidden_dim: int, lr: float, epochs: int) -> NDArray[np.bool_]:
    drawn = [np.random.RandomState(seed).random_sample(3 * hidden_dim) for seed in seeds]
    both = np.stack(drawn, axis=-1)
    w1, w2 = both[: 2 * hidden_dim].reshape(2, hidden_dim, -1).copy(), both[2 * hidden_dim :].copy()
    targets = TARGETS.numpy().astype(np.float64)[:, None]

    def layer1() -> NDArray[np.float64]:
        return _sigmoid(np.stack([np.zeros_like(w1[0]), w1[1], w1[0], w1[0] + w1[1]]))

    def layer2(hidden: NDArray[np.float64]) -> NDArray[np.float64]:
        return _sigmoid(np.einsum("nhs,hs->ns", hidden, w2))

    for _ in range(epochs):
        hidden = layer1()
        outputs = layer2(hidden)
        layer2_delta = (targets - outputs) * outputs * (1 - outputs)
        layer1_delta = hidden * (1 - hidden)
        layer1_delta *= layer2_delta[:, None]
        layer1_delta *= w2
        w2 += lr * np.einsum("nhs,ns->hs", hidden, layer2_delta)
        w1[0] += lr * (layer1_delta[2] + layer1_delta[3])
        w1[1] += lr * (layer1_delta[1] + layer1_delta[3])
    return np.asarray(layer2(layer1()) > 0.5).T


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), in place."""
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    return np.reciprocal(x, out=x)
