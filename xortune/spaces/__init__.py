"""A space file becomes a `SearchSpace`."""

EXPORTS = ("command", "grid", "model", "space", "text")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
