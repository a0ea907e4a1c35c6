"""The initial weights of both engines are what torch draws, bit for bit."""

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

TANH = Config(activation="Tanh", loss="MSELoss", optimizer="SGD", lr=0.1, hidden_dim=5, epochs=3)
ENDS = [*range(8), *(2**31 + i for i in range(-4, 4)), *range(2**32 - 16, 2**32)]


def torchs(dim: int, hidden_dim: int, seeds: np.ndarray) -> np.ndarray:
    return reference.stacked(reference.initial_weights(dim, hidden_dim, seeds)).numpy()


def assert_bits(mine: np.ndarray, theirs: np.ndarray) -> None:
    assert mine.dtype == theirs.dtype == np.float32
    np.testing.assert_array_equal(mine.view(np.int32), theirs.view(np.int32))


def assert_drawn(dim: int, hidden_dim: int, seeds: list[int]) -> None:
    """Both are the weights of plain networks."""
    array, config = np.array(seeds), Config(**dict(TANH.point) | {"hidden_dim": hidden_dim})
    plain = [oracle.network(config, dim, seed).parameters() for seed in seeds]
    rows = [torch.cat([one.detach().flatten() for one in its]).numpy() for its in plain]
    assert_bits(torchs(dim, hidden_dim, array), np.stack(rows, axis=1))
    assert_bits(draws.initial_weights(dim, hidden_dim, array), np.stack(rows, axis=1))


@pytest.mark.parametrize(
    ("dim", "hidden_dim"), [(1, 1), (2, 3), (2, 5), (3, 8), (2, 16), (1, 17), (3, 20), (8, 64)]
)
def test_they_are_what_torch_draws_at_the_ends(dim, hidden_dim):
    """torch draws 17 and more by a vectorised path; (8, 64) takes more than one state."""
    assert_drawn(dim, hidden_dim, ENDS)


@settings(max_examples=50)
@given(
    st.integers(1, 8),
    st.integers(1, 64),
    st.lists(st.integers(0, MAX_SEED), min_size=16, max_size=16),
)
def test_they_are_what_torch_draws_for_any_seed(dim, hidden_dim, seeds):
    assert_drawn(dim, hidden_dim, seeds)


def test_this_torch_draws_as_ours_does():
    """Else the reference engine's weights are taken, and the tests above compare nothing."""
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


@pytest.fixture
def other_torch(monkeypatch, tmp_path):
    """Lets torch draw otherwise, with nothing known of it."""
    monkeypatch.setattr(draws, "_note", lambda: tmp_path / str(len(list(tmp_path.iterdir()))))
    caches = draws._rounds_once, draws._cached_weights

    def forget():
        for cache in caches:
            cache.cache_clear()

    def draw(weights):
        forget()
        monkeypatch.setattr(reference, "initial_weights", weights)

    yield draw
    forget()


def test_torchs_rounding_is_found_out(other_torch):
    """Whichever of the two it is."""
    seeds = np.arange(32)
    once, twice = (draws._own_weights(3, 7, seeds, once=once) for once in (True, False))
    assert (once != twice).any()
    assert np.abs(once - twice).max() < 1e-7
    for rounding in (True, False):
        other_torch(
            lambda *args, once=rounding: (
                torch.tensor(draws._own_weights(*args, once=once).T.copy()),
            )
        )
        assert draws._rounds_once() is rounding
        assert_bits(draws.initial_weights(3, 7, seeds), once if rounding else twice)


def test_a_torch_that_draws_otherwise_has_the_last_word(other_torch):
    weights = reference.initial_weights
    other_torch(lambda *args: tuple(layer * 0.5 for layer in weights(*args)))
    assert draws._rounds_once() is None
    seeds = np.arange(16)
    assert_bits(draws.initial_weights(2, 5, seeds), torchs(2, 5, seeds))
    mine, theirs = (engine.train(TANH, Task.xor(), seeds) for engine in (fused, reference))
    np.testing.assert_allclose(mine.final_loss, theirs.final_loss, rtol=1e-5)
