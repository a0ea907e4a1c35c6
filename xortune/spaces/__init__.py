"""Space files, and the `SearchSpace` that each becomes."""

EXPORTS = ("command", "grid", "model", "neighbours", "samplers", "space", "yaml_reader")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
