"""What Ray reads when it is imported; whoever imports Ray for a search imports this before."""

from __future__ import annotations

import os

# No usage report, no loggers that write files for each trial, no word about settings that are ours,
# and no stack of Ray's own C++ on the terminal when somebody ends the search.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the newer reporter prints even when silent
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # a function may read files where it was
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # resuming is the journal's work
