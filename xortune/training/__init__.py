"""Batches of seeds, trained by a pool of processes or on Ray. The home of Ray."""

import logging

from xortune.core.formats import in_notebook

EXPORTS = (
    *("ahead", "batches", "executors", "jobs", "loop", "process", "processes", "resources"),
    *("slots", "stacks", "timing"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""

if in_notebook():
    # Ray asks for ipywidgets, which nothing here uses.
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
