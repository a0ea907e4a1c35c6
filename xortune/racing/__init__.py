"""The race for seeds: who gets more, who is stopped; as a Ray scheduler and an Optuna pruner."""

EXPORTS = (
    "feasible",
    "gaussian_process",
    "grants",
    "objectives",
    "posterior",
    "pruner",
    "race",
    "scheduler",
    "statement",
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
