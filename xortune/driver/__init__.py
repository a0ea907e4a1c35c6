"""The search: proposals, batches, executors, sessions. Alone it knows Ray and Optuna."""

EXPORTS = (
    *("certify", "cluster", "compare", "evaluate", "gate", "optuna", "process", "propose"),
    *("search", "subprocesses", "trainer", "voice"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
