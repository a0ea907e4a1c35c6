"""Blocks in, outcomes out: the built-in network, a user's function, a user's command."""

EXPORTS = (
    *(
        "awaited",
        "call_form",
        "command",
        "function",
        "fused",
        "limits",
        "network",
        "reports",
        "source",
    ),
    *("torch_training", "verdicts"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""
