"""Statistics: exact tests, anytime bounds, differences, planning. Pure functions."""
