import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.config import Config
from xortune.core.outcome import MAX_SEED
from xortune.trainers import reference


def _check(dim: int, hidden_dim: int, seeds: list[int]) -> None:
    config = Config(
        activation="Tanh", loss="MSELoss", optimizer="SGD", lr=1, hidden_dim=hidden_dim, epochs=1
    )
    stacked = reference.initial_weights(dim, hidden_dim, np.array(seeds, dtype=np.int64))
    for index, seed in enumerate(seeds):
        plain = oracle.network(config, dim, seed).parameters()
        for mine, torchs in zip(stacked, plain, strict=True):
            assert mine.dtype == torchs.dtype == torch.float32
            assert torch.equal(mine[index], torchs)  # bit for bit


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("hidden_dim", [1, 2, 3, 4, 5, 8, 16, 17, 20, 64])
def test_they_are_what_torch_draws(dim, hidden_dim):
    """17 and more elements are drawn by another, vectorised path of torch."""
    _check(dim, hidden_dim, [0, 1, 42, 2**31 - 1, 2**31, 2**32 - 1])


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(1, 40), st.lists(st.integers(0, MAX_SEED), min_size=1))
def test_they_are_what_torch_draws_for_any_seed(dim, hidden_dim, seeds):
    _check(dim, hidden_dim, seeds[:5])


def test_drawing_them_leaves_torchs_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    reference.initial_weights(2, 5, np.arange(10))
    assert torch.equal(torch.rand(3), expected)
