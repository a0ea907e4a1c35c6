"""Blocks in, outcomes out: the built-in network, a user's function, a user's command."""

EXPORTS = {
    "command": ("CommandTrainer", "command_trainer", "signal_of"),
    "function": (
        "CallForm",
        "CustomTrainer",
        "OnRaise",
        "asked_of_reports",
        "custom_trainer",
        "form_asked",
        "form_of",
    ),
    "fused": ("*",),
    "group": ("KEEPER", "end"),
    "limits": ("THREADS", "ending_at", "threads_for", "time_ends", "time_is_over", "use_threads"),
    "network": (
        "NetworkTrainer",
        "engine_described",
        "engine_of",
        "evaluate",
        "evaluate_config",
        "is_compiled",
        "usable_cores",
    ),
    "returned": ("KnownSeeds", "SeedResults", "crashed", "judged", "one_line"),
    "source": ("FunctionSource", "Given", "given_source", "named_source"),
    "torch_training": ("TorchTraining",),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
