"""Searches: proposals, decisions, batches, executors, sessions. The home of Ray and Optuna."""

EXPORTS = (
    *("certify", "cluster", "compare", "evaluate", "exchange", "gate", "process", "propose"),
    *("processes", "search", "trainer", "voice"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
