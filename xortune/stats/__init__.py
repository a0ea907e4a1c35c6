"""Statistics: exact tests, anytime bounds, differences, planning. Pure functions."""

EXPORTS = ("anytime", "differences", "exact", "horizon", "numbers", "planning")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
