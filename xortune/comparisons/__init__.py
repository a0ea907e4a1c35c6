"""Runs beside each other."""

EXPORTS = ("comparison", "contestants", "measures", "samples")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
