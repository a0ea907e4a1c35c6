"""What faults.py searches; sampler, trials and epochs are to be filled in."""

from __future__ import annotations

__all__ = ["GRID", "SPACE"]

SPACE = """
name: faults
task: xor
epochs: {epochs}
parameters:
  activation: {{choice: [Tanh, ReLU, ELU, Sigmoid]}}
  loss: {{choice: [MSELoss, BCELoss]}}
  optimizer: {{choice: [SGD, Adam]}}
  lr: {{low: 0.001, high: 1.0, log: true}}
  hidden_dim: {{low: 2, high: 4}}
search: {{sampler: {sampler}, seed: 3, trials: {trials}}}
seeds: {{ladder: [8, 16, 64], finalists: 4}}
"""

GRID = SPACE.replace("lr: {{low: 0.001, high: 1.0, log: true}}", "lr: 0.03").replace(
    "sampler: {sampler}, seed: 3, trials: {trials}", "sampler: grid"
)
