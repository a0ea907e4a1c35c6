"""What the training function imports from beside it."""

from __future__ import annotations


def score(config, draw):
    return min(1.0, draw + 0.05 * config["n_layers"] + config["k"] / 100)
