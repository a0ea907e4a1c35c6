"""Who gets more seeds and who is stopped; the same as a Ray scheduler and an Optuna pruner."""

EXPORTS = ("grants", "objectives", "pruner", "scheduler")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
