"""Trackers, results from elsewhere, exports."""

EXPORTS = ("export", "following", "importing", "mlflow", "tracker")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
