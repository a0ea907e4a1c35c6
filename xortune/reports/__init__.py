"""Tables and figures as values; Markdown, HTML, LaTeX and the terminal draw them."""

EXPORTS = {
    "document": ("lines_of",),
    "files": ("checked_formats", "comparison_directory", "write_comparison", "write_report"),
    "live": ("LOOPBACK", "live_server"),
    "plots": (
        "plot_agreement",
        "plot_contour",
        "plot_decision_surface",
        "plot_differences",
        "plot_failures",
        "plot_intermediate_values",
        "plot_numbers",
        "plot_optimization_history",
        "plot_parallel_coordinate",
        "plot_param_importances",
        "plot_pareto_front",
        "plot_profile",
        "plot_ranking",
        "plot_scores",
        "plot_seeds_spent",
        "plot_slice",
        "plot_success_by_epoch",
        "plot_wins",
    ),
    "progress": (
        "Display",
        "display",
        "facts_table",
        "render_status",
        "status_json",
        "status_line",
    ),
    "tables": ("certify_command", "counting_script", "lower"),
    "terminal": ("comparison_json", "render_best", "render_certificate", "render_comparison"),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
