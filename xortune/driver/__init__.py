"""The verbs: search, certify, evaluate, gate, compare, and the session of a search."""

EXPORTS = (
    *("arguments", "certify", "compare", "evaluate", "exchange", "gate", "search"),
    *("trainer", "voice"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
