"""Runs beside each other, and a run beside a published table."""

EXPORTS = {
    "contestants": (
        "Candidate",
        "Compared",
        "IMPORTED",
        "Named",
        "OWN",
        "RULE",
        "SEARCHED",
        "certified_contestant",
        "entries_of",
        "known_facts",
        "only_run",
        "refuse_different_tasks",
        "refuse_different_trainers",
        "trained_by",
        "trained_contestant",
    ),
    "reference": ("Comparison", "compare_published"),
    "runs": (
        "Better",
        "ComparedNumbers",
        "Contestant",
        "Improvement",
        "Pair",
        "RESAMPLES",
        "RunComparison",
        "compare_runs",
        "epochs_needed",
        "values_of",
    ),
    "sequential": ("SequentialComparison", "compared_in_step"),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
