"""Statistics: exact tests, anytime bounds, sequential tests, planning. Pure functions."""

EXPORTS = (
    "anytime",
    "betting",
    "numbers",
    "planning",
    "proportions",
    "sequential",
    "statistic_bounds",
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
