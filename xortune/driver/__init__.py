"""The search: proposals, batches, executors, sessions. Alone it knows Ray and Optuna."""
