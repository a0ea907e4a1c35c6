"""The search: proposals, batches, executors, sessions. Alone it knows Ray and Optuna."""

EXPORTS = {
    "certify": ("certify",),
    "compare": ("compare",),
    "evaluate": ("evaluate",),
    "gate": ("gate",),
    "optuna": ("from_optuna", "import_results", "to_optuna"),
    "own_process": ("let_go_after",),
    "process": ("FORCED", "heed_signals", "told_to_end"),
    "propose": ("shared_study",),
    "search": ("DryRun", "dry_run", "search"),
    "submit": ("*",),
    "trainer": ("called_with", "functions_named", "trainer_for", "with_train"),
    "voice": ("show_failure",),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
