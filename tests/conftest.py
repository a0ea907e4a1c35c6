"""What all tests share: one Hypothesis profile, and a config to vary."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

from xortune.config import Config

# Timings depend on the machine; the examples must not.
settings.register_profile("xortune", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("xortune")


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """The README's config with any field replaced."""

    def make(**changes: object) -> Config:
        fields = {
            "activation": "Tanh",
            "loss": "MSELoss",
            "optimizer": "Adam",
            "lr": 0.03,
            "hidden_dim": 5,
            "epochs": 1000,
        }
        return Config(**(fields | changes))

    return make
