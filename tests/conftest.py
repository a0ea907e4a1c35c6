"""What all tests share: one Hypothesis profile, and a config to vary."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings

import xortune.thread.files  # noqa: F401  # takes what draws as it is, before it is replaced below
from xortune.config import Config

# Timings depend on the machine; the examples must not.
settings.register_profile("xortune", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("xortune")


@pytest.fixture
def pictures() -> None:
    """For a test that looks at a run's figures as files: they are drawn."""


@pytest.fixture(autouse=True)
def _sketches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run's figures are files without a picture: drawing takes a second for each run."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(
            "xortune.report.drawn.matplotlib_axes.svg", lambda plot: f"<svg>{plot.name}</svg>\n"
        )


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
