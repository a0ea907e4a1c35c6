"""Statistics: exact tests, anytime bounds, differences, planning. Pure functions."""

EXPORTS = ("anytime", "numbers", "planning", "proportions", "sequential")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
