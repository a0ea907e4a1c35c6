"""Runs beside each other, and a run beside a published table."""

EXPORTS = ("contestants", "reference", "runs", "sequential")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
