"""Runs beside each other."""

EXPORTS = ("contestants", "numbers", "runs", "sequential")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
