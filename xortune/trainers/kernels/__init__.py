"""The fused engine's compiled code: vectors, functions of them, the passes of an epoch."""
