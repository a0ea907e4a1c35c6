"""What Ray and Tune read from the environment, for as long as a search uses them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from xortune.search.as_before import environment_kept

__all__ = ["ray_settings"]

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # no stack of Ray's own C++ when somebody ends it
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # which write files for each trial
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer reporter prints even when silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a function may read files where it was
    "TUNE_WARN_THRESHOLD_S": "60",  # no word about settings that are ours
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # resuming is the journal's work
}


@contextmanager
def ray_settings() -> Iterator[None]:
    """Ray and Tune as a search wants them, but for what the user has set."""
    with environment_kept():
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        yield


with ray_settings():  # some of it is read when they are imported
    import ray.tune  # noqa: F401
