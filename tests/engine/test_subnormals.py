"""Subnormal numbers are flushed to zero inside the fused engine, and nowhere else."""

import itertools

import numpy as np
import pytest

from xortune.core.config import ACTIVATIONS, LOSSES, OPTIMIZERS, Config
from xortune.core.task import Task
from xortune.trainers import fused

SMALL = np.float32(1e-39)  # subnormal: float32's smallest normal number is 1.2e-38


def _config(**changes):
    given = {"activation": "LogSigmoid", "loss": "MSELoss", "optimizer": "Adam", "lr": 1.0}
    return Config(**{**given, "hidden_dim": 5, "epochs": 3_000, **changes})


def test_the_callers_arithmetic_keeps_subnormals():
    fused.train(_config(epochs=10), Task.named("xor"), np.arange(16))
    assert SMALL * np.float32(0.5) > 0


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if o != "Rprop"])
def test_outcomes_are_those_of_the_engine_without_flushing(optimizer):
    """A mix of 12 combinations of each; benchmarks/subnormals.py compares all of them."""
    cells = [(a, loss) for i, a in enumerate(ACTIVATIONS) for loss in LOSSES[i % 3 :: 9]][:12]
    for activation, loss in cells:
        config = _config(activation=activation, loss=loss, optimizer=optimizer, epochs=1_000)
        flushed, exact = (
            fused.train(config, Task.named("xor"), np.arange(32), flush=flush)
            for flush in (True, False)
        )
        np.testing.assert_array_equal(flushed.status, exact.status)
        np.testing.assert_array_equal(flushed.solved_epoch, exact.solved_epoch)
        np.testing.assert_array_equal(flushed.predictions, exact.predictions)


def test_rprop_scales_its_gradients_and_trains_almost_every_seed_as_without_flushing():
    """It steps by the sign of the smallest gradient: a zero in its place is another training."""
    seeds, differ, unscaled = np.arange(64), 0, 0
    for activation, loss in itertools.product(["Sigmoid", "Tanh", "ELU", "Softmin"], LOSSES[::3]):
        config = _config(activation=activation, loss=loss, optimizer="Rprop", epochs=2_000)
        exact = fused.train(config, Task.named("xor"), seeds, flush=False)
        flushed = fused.train(config, Task.named("xor"), seeds)
        differ += int((flushed.solved_epoch != exact.solved_epoch).sum())
        with pytest.MonkeyPatch.context() as patch:
            schedule = fused.schedule_of(config, flush=False)
            patch.setattr(fused, "schedule_of", lambda *_, given=schedule, **__: given)
            plain = fused.train(config, Task.named("xor"), seeds)
        unscaled += int((plain.solved_epoch != exact.solved_epoch).sum())
    assert differ <= 0.005 * 16 * len(seeds) < unscaled
