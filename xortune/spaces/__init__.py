"""A space file becomes a `SearchSpace`."""

EXPORTS = {
    "command": ("Command", "EXIT_CODE", "NUMBER", "Template"),
    "describe": ("describe",),
    "grid": ("grid", "grid_size", "probes"),
    "model": (
        "Choice",
        "EPOCHS_TO_SOLVE",
        "FIRST",
        "Fixed",
        "Objective",
        "Parameter",
        "Range",
        "SUCCESS_RATE",
        "SearchSpace",
        "Steps",
        "contains",
        "is_active",
        "rungs_up_to",
    ),
    "objectives": ("MEASURED", "check_numbers", "is_number"),
    "space": ("check_space", "load_space", "parse_space", "with_search"),
    "text": ("read_text", "read_yaml"),
    "training": ("check_built_in", "with_own"),
    "values": ("parse_duration",),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
