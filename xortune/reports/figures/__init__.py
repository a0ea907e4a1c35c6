"""Figures of a run: each a function that takes it and returns a `Plot`; nothing here draws."""
