"""Searches: proposals, decisions, batches, executors, sessions. The home of Ray and Optuna."""

import logging
import warnings

from xortune.core.formats import in_notebook

EXPORTS = (
    *("certify", "cluster", "compare", "evaluate", "exchange", "gate", "process", "processes"),
    *("search", "shared_study", "trainer", "voice"),
)
"""The modules that other rooms import from; tests/test_architecture.py compares."""

if in_notebook():
    # Tqdm, which Optuna imports, and Ray ask for ipywidgets, which nothing here uses.
    warnings.filterwarnings("ignore", message="IProgress not found")
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
