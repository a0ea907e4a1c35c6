"""A space file becomes a `SearchSpace`."""

EXPORTS = {
    "command": ("Command", "EXIT_CODE", "NUMBER", "RegexMetric", "Template"),
    "describe": ("at_most", "describe", "described"),
    "grid": ("grid", "grid_size", "probes"),
    "model": (
        "Choice",
        "EPOCHS_TO_SOLVE",
        "FIRST",
        "Fixed",
        "MEASURED",
        "Objective",
        "Parameter",
        "Range",
        "SUCCESS_RATE",
        "SearchSpace",
        "Steps",
        "contains",
        "equal_values",
        "extremes",
        "is_active",
        "is_number",
        "parse_duration",
        "rungs_up_to",
        "weighs_seeds",
    ),
    "space": (
        "check_built_in",
        "check_numbers",
        "check_space",
        "load_space",
        "parse_space",
        "with_own",
        "with_search",
    ),
    "text": ("read_text", "read_yaml"),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
