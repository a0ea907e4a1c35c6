"""What everything speaks of: points, seeds, outcomes, configs, tasks, success, errors, formats."""

EXPORTS = (
    *("background", "config", "errors", "files", "formats", "outcome", "point", "seeds"),
    *("success", "task", "trainer"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
