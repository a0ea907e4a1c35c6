"""How sure one can be: plans, fresh seeds for finalists, the gate, the pytest plugin."""

EXPORTS = ("fresh", "gate", "plan")
"""The modules that other rooms import from; tests/test_architecture.py compares."""
