"""The search: proposals, batches, executors, sessions. Alone it knows Ray and Optuna."""

EXPORTS = (
    *("certify", "compare", "evaluate", "gate", "optuna", "own_process", "process", "propose"),
    *("search", "submit", "trainer", "voice"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
