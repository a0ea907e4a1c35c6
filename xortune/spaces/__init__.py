"""A space file becomes a `SearchSpace`."""
