"""What a search trains next: proposals, the race, decisions. The home of Optuna."""

import warnings

from xortune.core.formats import in_notebook

EXPORTS = (*("decisions", "importance", "in_flight", "knowledge", "optuna_study", "propose"),)
"""The modules that other rooms import from; tests/test_architecture.py compares."""

if in_notebook():
    # Tqdm, which Optuna imports, asks for ipywidgets, which nothing here uses.
    warnings.filterwarnings("ignore", message="IProgress not found")
