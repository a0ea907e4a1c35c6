"""Figures of a run: each a function that takes it and returns a `Plot`; nothing here draws.

Each raises `InputError` where no config is finished, or a file of the run is damaged.
"""
