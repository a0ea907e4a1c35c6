"""Trackers, results from elsewhere, exports."""

EXPORTS = {
    "export": ("export", "exported", "task_of"),
    "following": ("log", "logged", "logging", "trackers_for"),
    "importing": (
        "ImportRequest",
        "REASON",
        "ResultsTable",
        "read_csv",
        "results_in",
        "space_text",
        "table_of_frame",
        "table_of_records",
    ),
    "mlflow": ("check_uri",),
    "tracker": ("Tracker",),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
