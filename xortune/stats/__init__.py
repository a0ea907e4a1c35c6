"""Statistics: exact tests, anytime bounds, differences, planning. Pure functions."""

EXPORTS = {
    "anytime": (
        "anytime_evidence_above",
        "anytime_evidence_below",
        "anytime_interval",
        "anytime_lower",
        "anytime_quantile",
        "anytime_upper",
    ),
    "differences": ("paired_difference", "unpaired_difference"),
    "exact": (
        "boschloo",
        "clopper_pearson",
        "fisher_tails",
        "fisher_two_sided",
        "mcnemar_two_sided",
    ),
    "horizon": ("Boundary", "LONGEST", "PairedAnswer", "boundary", "paired_answer"),
    "numbers": (
        "ENDINGS",
        "LEAST",
        "STATISTICS",
        "dkw_band",
        "finite",
        "interval_of_all",
        "named_statistic",
        "of_all",
        "quantile_share",
        "summary",
    ),
    "planning": (
        "fewest_seeds",
        "independent_seeds",
        "rate_that_passes",
        "rough_independent_seeds",
        "seeds_for_lower_bound",
        "shared_seeds",
    ),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
