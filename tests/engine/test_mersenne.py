"""The initial weights are what torch draws, bit for bit."""

import numpy as np
import oracle
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.config import Config
from xortune.core.seeds import MAX_SEED
from xortune.core.task import Task
from xortune.trainers import fused, reference
from xortune.trainers.kernels import draws


def torchs(dim: int, hidden_dim: int, seeds: np.ndarray) -> np.ndarray:
    return reference.stacked(reference.initial_weights(dim, hidden_dim, seeds)).numpy()


def assert_bits(mine: np.ndarray, theirs: np.ndarray) -> None:
    assert mine.dtype == theirs.dtype == np.float32
    np.testing.assert_array_equal(mine.view(np.int32), theirs.view(np.int32))


def test_this_torch_draws_as_ours_does():
    """Else the reference engine's weights are taken, and the tests below compare them with
    themselves."""
    assert draws._compare_with_torch() in (True, False)
    assert draws._rounds_once() == draws._compare_with_torch()


@pytest.mark.parametrize("answer", [True, False])
def test_what_torch_answered_is_noted_and_asked_once(monkeypatch, tmp_path, answer):
    asked = []
    monkeypatch.setattr(draws, "_note", lambda: tmp_path / "new" / "note.txt")
    monkeypatch.setattr(draws, "_compare_with_torch", lambda: asked.append(1) or answer)
    for _ in range(3):  # as three processes
        assert draws._rounds_once.__wrapped__() is answer
    assert asked == [1]
    (tmp_path / "new" / "note.txt").write_text("perhaps")
    assert draws._rounds_once.__wrapped__() is answer
    assert asked == [1, 1], "a damaged note is written anew"


@settings(max_examples=100)
@given(
    st.integers(1, 8),
    st.integers(1, 64),
    st.lists(st.integers(0, MAX_SEED), min_size=16, max_size=16),
)
def test_they_are_what_torch_draws_for_any_seed(dim, hidden_dim, seeds):
    array = np.array(seeds)
    assert_bits(draws.initial_weights(dim, hidden_dim, array), torchs(dim, hidden_dim, array))


@pytest.mark.parametrize(("dim", "hidden_dim"), [(1, 1), (2, 5), (8, 64)])
def test_they_are_what_torch_draws_at_the_ends(dim, hidden_dim):
    """(8, 64) takes 641 numbers, more than one turn of the generator."""
    seeds = np.array([*range(8), *(2**31 + i for i in range(-4, 4)), *range(2**32 - 16, 2**32)])
    assert_bits(draws.initial_weights(dim, hidden_dim, seeds), torchs(dim, hidden_dim, seeds))


@pytest.fixture
def _forgetful(monkeypatch, tmp_path):
    monkeypatch.setattr(draws, "_note", lambda: tmp_path / str(len(list(tmp_path.iterdir()))))
    draws._rounds_once.cache_clear()
    draws._cached_weights.cache_clear()
    yield
    draws._rounds_once.cache_clear()
    draws._cached_weights.cache_clear()


def drawn_as(monkeypatch, change) -> None:
    """Let torch draw otherwise."""
    weights = reference.initial_weights
    monkeypatch.setattr(
        reference, "initial_weights", lambda *args: tuple(map(change, weights(*args)))
    )


@pytest.mark.usefixtures("_forgetful")
def test_torchs_rounding_is_found_out(monkeypatch):
    """Whichever of the two it is."""
    seeds = np.arange(32)
    once, twice = (draws._own_weights(3, 7, seeds, once=once) for once in (True, False))
    assert (once != twice).any()
    assert np.abs(once - twice).max() < 1e-7
    for rounding in (True, False):
        draws._rounds_once.cache_clear()

        def weights(dim, hidden_dim, seeds, once=rounding):
            import torch

            return (torch.tensor(draws._own_weights(dim, hidden_dim, seeds, once=once).T.copy()),)

        with monkeypatch.context() as patch:
            patch.setattr(reference, "initial_weights", weights)
            assert draws._rounds_once() is rounding
            assert_bits(draws.initial_weights(3, 7, seeds), once if rounding else twice)


@pytest.mark.usefixtures("_forgetful")
def test_a_torch_that_draws_otherwise_has_the_last_word(monkeypatch):
    drawn_as(monkeypatch, lambda layer: layer * 0.5)
    assert draws._rounds_once() is None
    seeds = np.arange(16)
    assert_bits(draws.initial_weights(2, 5, seeds), torchs(2, 5, seeds))
    config = Config(
        activation="Tanh", loss="MSELoss", optimizer="SGD", lr=0.1, hidden_dim=5, epochs=3
    )
    mine, theirs = (engine.train(config, Task.xor(), seeds) for engine in (fused, reference))
    np.testing.assert_allclose(mine.final_loss, theirs.final_loss, rtol=1e-5)


def _same_as_alone(dim: int, hidden_dim: int, seeds: list[int]) -> None:
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
def test_torchs_stack_is_what_it_draws(dim, hidden_dim):
    """17 and more elements are drawn by another, vectorised path of torch."""
    _same_as_alone(dim, hidden_dim, [0, 1, 42, 2**31 - 1, 2**31, 2**32 - 1])


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(1, 40), st.lists(st.integers(0, MAX_SEED), min_size=1))
def test_torchs_stack_is_what_it_draws_for_any_seed(dim, hidden_dim, seeds):
    _same_as_alone(dim, hidden_dim, seeds[:5])
