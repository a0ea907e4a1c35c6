"""`final_weights` and `outputs_of`: what a trained network makes of inputs it never saw."""

import numpy as np
import oracle
import pytest
import torch

from xortune.core.config import ACTIVATIONS, Config
from xortune.core.task import Task
from xortune.trainers import fused, limits

XOR = Task.xor()
CONFIG = Config(
    activation="Tanh", loss="MSELoss", optimizer="SGD", lr=0.3, momentum=0.9, hidden_dim=5,
    epochs=40,
)  # fmt: skip
GRID = np.array([(x, y) for x in np.linspace(-1, 2, 13) for y in (-0.7, 0.4, 1.6)], np.float32)


def flat(weights: list[torch.Tensor]) -> np.ndarray:
    return torch.cat([layer.flatten() for layer in weights]).numpy()


def plain_outputs(config: Config, seed: int, weights: np.ndarray) -> np.ndarray:
    """What torch's own network with these weights makes of the grid."""
    model = oracle.network(config, 2, seed)
    torch.nn.utils.vector_to_parameters(torch.tensor(weights), model.parameters())
    with torch.no_grad():
        return model(torch.tensor(GRID))[:, 0].numpy()


@pytest.mark.parametrize("zero_grad", [True, False])
def test_weights_are_those_of_the_loop(zero_grad):
    config = Config(
        activation="ReLU", loss="BCELoss", optimizer="Adam", lr=0.03, hidden_dim=3, epochs=25,
        zero_grad=zero_grad,
    )  # fmt: skip
    seeds = np.arange(20)  # more than one row of lanes, and not a whole number of them
    weights = fused.final_weights(config, XOR, seeds)
    assert weights.shape == (13, 20)
    expected = [flat(oracle.plain_loop(config, XOR, seed).weights) for seed in seeds.tolist()]
    np.testing.assert_allclose(weights.T, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected, axis=0).min() > 0.1, "seeds differ, so a mix-up would show"


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_outputs_on_a_grid_are_those_of_torch(activation):
    config = Config(
        activation=activation, loss="MSELoss", optimizer="SGD", lr=0.1, hidden_dim=4, epochs=5
    )
    weights = 3 * fused.final_weights(config, XOR, np.arange(3))
    outputs = fused.outputs_of(config, weights, GRID)
    assert outputs.shape == (3, len(GRID))
    expected = [plain_outputs(config, seed, weights[:, seed]) for seed in range(3)]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-6)


def test_a_grid_of_many_rows_is_its_parts():
    weights = fused.final_weights(CONFIG, XOR, np.arange(17))
    rows = np.concatenate([GRID] * 4)
    assert len(rows) > 2 * limits.MAX_ROWS
    outputs = fused.outputs_of(CONFIG, weights, rows)
    assert outputs.tobytes() == np.tile(fused.outputs_of(CONFIG, weights, GRID), 4).tobytes()


def test_outputs_of_the_task_are_what_is_judged():
    seeds = np.arange(30)
    weights = fused.final_weights(CONFIG, XOR, seeds)
    outputs = fused.outputs_of(CONFIG, weights, XOR.inputs)
    assert np.array_equal(outputs > 0.5, fused.train(CONFIG, XOR, seeds).predictions)
