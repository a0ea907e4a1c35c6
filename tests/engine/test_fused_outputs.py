"""`final_outputs`: the outputs themselves, which a script that truncates them judges."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch

from xortune.config import Config
from xortune.engine import fused
from xortune.task import Task

XOR = Task.xor()
CONFIGS = {
    "T3": Config(
        activation="Sigmoid", loss="MSELoss", optimizer="SGD", lr=0.5, hidden_dim=2, epochs=30,
        zero_grad=False,
    ),
    "ReLU": Config(
        activation="ReLU", loss="MSELoss", optimizer="SGD", lr=0.3, momentum=0.9, hidden_dim=5,
        epochs=30,
    ),
    "Tanh": Config(
        activation="Tanh", loss="BCELoss", optimizer="Adam", lr=0.05, hidden_dim=4, epochs=30
    ),
}  # fmt: skip


def plain_outputs(config: Config, task: Task, seed: int) -> list[float]:
    """The judged rows' outputs of the oracle's weights after the last step."""
    weights = oracle.plain_loop(config, task, seed).weights
    model = oracle.network(config, task.dim, seed)
    with torch.no_grad():
        for parameter, trained in zip(model.parameters(), weights, strict=True):
            parameter.copy_(trained)
        return model(torch.tensor(task.judged_inputs))[:, 0].tolist()


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_are_those_of_the_loop(name):
    config, seeds = CONFIGS[name], np.arange(20)
    outputs = fused.final_outputs(config, XOR, seeds)
    assert outputs.shape == (20, 4)
    assert outputs.dtype == np.float32
    expected = np.array([plain_outputs(config, XOR, seed) for seed in seeds.tolist()])
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4)
    assert np.ptp(expected, axis=0).min() > 0.05, "rows and seeds differ, so a mix-up would show"


def test_outputs_are_what_was_judged():
    config = CONFIGS["ReLU"]
    seeds = np.arange(1000, 1200)
    outcome = fused.train(config, XOR, seeds)
    outputs = fused.final_outputs(config, XOR, seeds)
    assert ((outputs > 0.5) == outcome.predictions).all()
    assert 0 < outcome.successes < 200
    shared = fused.final_outputs(config, XOR, seeds, threads=2)
    assert shared.tobytes() == outputs.tobytes()


def test_held_out_rows_are_given_and_no_others(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,y,test\n0,0,0,0\n0,1,1,0\n1,0,1,0\n1,1,0,0\n0.2,0.9,1,1\n0.9,0.9,0,1\n")
    task = Task.from_csv(path, target="y", held_out="test")
    outputs = fused.final_outputs(CONFIGS["Tanh"], task, np.arange(6))
    assert outputs.shape == (6, 2)
    expected = [plain_outputs(CONFIGS["Tanh"], task, seed) for seed in range(6)]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4)
