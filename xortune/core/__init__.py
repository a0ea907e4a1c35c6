"""The types that all rooms share: points, seeds, outcomes, configs, tasks, errors, formats."""

EXPORTS = (
    *("audit", "config", "errors", "files", "forks", "formats", "numbers", "outcome", "plugins"),
    *("point", "private", "pruning", "seeds", "success", "system", "tables", "task", "trainer"),
    "version",
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
