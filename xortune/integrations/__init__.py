"""Trackers, results from elsewhere, exports."""

EXPORTS = ("export", "following", "importing", "trackers")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
