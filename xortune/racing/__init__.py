"""Who gets more seeds and who is stopped; the same as a Ray scheduler and an Optuna pruner."""

EXPORTS = {
    "grants": ("VERIFY", "race_of", "raced", "refuse_unprovable", "seeds_at_first"),
    "objectives": (
        "Seen",
        "costs",
        "counted",
        "estimates",
        "expected",
        "front",
        "liking",
        "names_told",
        "numbers_in",
        "numbers_named",
        "only_rate",
        "seed_costs",
        "seen_of",
        "summed",
        "summed_interval",
        "summed_only",
        "ties_of",
        "told",
    ),
    "pruner": ("SeedRacePruner",),
    "scheduler": ("SeedRaceScheduler",),
}
"""What other rooms may import, by module; tests/test_architecture.py compares."""
