"""Code that Numba compiles: the fused engine's training and what speeds up stacked torch models."""
