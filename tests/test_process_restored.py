"""What a search of an own function leaves of the caller's process: everything as it was."""

import gc
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import forked

LOGGERS = ("ray", "ray.tune", "optuna")


def state():
    return {
        "environment": dict(os.environ),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "loggers": {name: logging.getLogger(name).level for name in (None, *LOGGERS)},
        "threads": {thread.name for thread in threading.enumerate()},
        "hook": sys.excepthook,
        "folder": Path.cwd(),
        "collector": (gc.get_threshold(), gc.get_freeze_count() > 0),
    }


def changed(search):
    """What is another after a search: nothing."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "7"
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    before = state()
    try:
        search()
        after = state()
    finally:
        del os.environ["TUNE_MAX_PENDING_TRIALS_PG"]
        signal.signal(signal.SIGTERM, handler)
    return {what: (before[what], after[what]) for what in before if before[what] != after[what]}


SEARCH = """
import ray
from test_process_restored import changed
import xortune as xt

def train(config, seed):
    return seed % 2 == 1

space = {
    "name": "a",
    "parameters": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"sampler": "tpe", "trials": 2},
    "seeds": {"ladder": [2]},
}
print(changed(lambda: xt.search(space, train=train, output="run")), ray.is_initialized())
"""


def test_a_search_without_ray_leaves_the_process_as_it_was(tmp_path):
    """That on a Ray that is there: see test_custom_places.py."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    ran = forked.run(["-c", SEARCH], cwd=tmp_path, env=environment)
    assert ran.stdout.splitlines()[-1] == "{} False"
