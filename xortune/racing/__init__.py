"""Who gets more seeds and who is stopped; the same as a Ray scheduler and an Optuna pruner."""
