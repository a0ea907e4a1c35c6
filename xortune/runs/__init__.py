"""The run directory: journal, results, sessions, certificate, lock, object stores, status."""

EXPORTS = (
    *("best", "certificate", "columns", "evaluation", "journal", "lock", "manifest"),
    *("results", "run", "sessions", "status", "store"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
