"""Steps with an lr and a momentum for each column are torch.optim's own, to the last bit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xortune.core.config import MOMENTUM_OPTIMIZERS, OPTIMIZERS, Config
from xortune.trainers.limits import LANES
from xortune.trainers.reference import (
    ColumnOptimizer,
    _ColumnNumbers,
    matches_torch,
    one_thread,
    optimizer_of,
)

CASES = [(name, False) for name in OPTIMIZERS] + [(name, True) for name in MOMENTUM_OPTIMIZERS]


def config_of(optimizer: str, lr: float, momentum: float = 0.0) -> Config:
    return Config(
        activation=None, loss="MSELoss", optimizer=optimizer, lr=lr, momentum=momentum,
        hidden_dim=1, epochs=1,
    )  # fmt: skip


def differing(configs: list[Config], gradients: list[torch.Tensor]) -> list[int]:
    """How many of each config's weights torch.optim has otherwise, after all steps."""
    count = len(configs)
    start = torch.linspace(-2, 2, 3 * count * LANES).view(3, -1)
    alone = [part.contiguous() for part in start.chunk(count, dim=1)]
    together = start.clone()
    ours = ColumnOptimizer(configs, np.repeat(np.arange(count), LANES), together)
    theirs = [optimizer_of(c, w) for c, w in zip(configs, alone, strict=True)]
    with one_thread():
        for gradient in gradients:
            together.grad = gradient.clone()
            for weights, part in zip(alone, gradient.chunk(count, dim=1), strict=True):
                weights.grad = part.contiguous()
            ours.step()
            for optimizer in theirs:
                optimizer.step()
    pairs = zip(alone, together.chunk(count, dim=1), strict=True)
    return [int((a.view(torch.int32) != b.contiguous().view(torch.int32)).sum()) for a, b in pairs]


def gradients(count: int, steps: int, seed: int = 0) -> list[torch.Tensor]:
    """Of all sizes, with changing signs and some zeros."""
    draw = torch.Generator().manual_seed(seed)
    shape = (3, count * LANES)
    sizes = torch.logspace(-8, 4, shape[1])[torch.randperm(shape[1], generator=draw)]
    made = [torch.randn(shape, generator=draw) * sizes for _ in range(steps)]
    for gradient in made:
        gradient[torch.rand(shape, generator=draw) < 0.05] = 0
    return made


@pytest.mark.parametrize(("optimizer", "heavy"), CASES)
def test_every_step_is_torchs(optimizer, heavy):
    momenta = (0.5, 0.9, 1.0, 1.3) if heavy else (0.0,) * 4
    configs = [
        config_of(optimizer, lr, momentum)
        for lr, momentum in zip((1e-4, 0.03, 1.0, 7.7), momenta, strict=True)
    ]
    assert differing(configs, gradients(4, 40)) == [0, 0, 0, 0]
    assert matches_torch(optimizer, heavy=heavy)


@given(
    case=st.sampled_from(CASES),
    numbers=st.lists(
        st.tuples(st.floats(1e-12, 1e30), st.floats(1e-6, 1e30)), min_size=1, max_size=3
    ),
    seed=st.integers(0, 99),
)
@example(case=("SGD", True), numbers=[(1e30, 1e30), (1e-12, 1e-6)], seed=0)
@example(case=("RMSprop", True), numbers=[(1e30, 1e30)], seed=0)
@settings(max_examples=60, deadline=None)
def test_whatever_lr_and_momentum(case, numbers, seed):
    optimizer, heavy = case
    configs = [config_of(optimizer, lr, m if heavy else 0.0) for lr, m in numbers]
    assert not any(differing(configs, gradients(len(configs), 8, seed)))


def test_a_step_that_rounds_otherwise_is_noticed(monkeypatch):
    """The trial must be able to fail: with the next float of each lr it does."""
    spread = _ColumnNumbers.spread

    def next_float(self, values):
        return torch.nextafter(spread(self, values), torch.tensor(math.inf))

    matches_torch.cache_clear()
    try:
        monkeypatch.setattr(_ColumnNumbers, "spread", next_float)
        assert not matches_torch("Adam", heavy=False)
        assert not matches_torch("SGD", heavy=True)
        assert not matches_torch("Rprop", heavy=False)
    finally:
        matches_torch.cache_clear()
