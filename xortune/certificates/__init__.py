"""How sure one can be: plans, fresh seeds for finalists, the gate, the pytest plugin."""

EXPORTS = {
    "fresh": (
        "Call",
        "SeedsToTrain",
        "missing",
        "next_of_sequence",
        "noted_certificate",
        "tasks_of",
    ),
    "gate": (
        "SequentialTest",
        "Verdict",
        "gate_certificate",
        "gate_config",
        "gate_imported",
        "load_config",
        "load_parameters",
    ),
    "plan": ("ComparisonPlan", "RatePlan", "STANDARD", "Speed", "measured_speed", "plan"),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
