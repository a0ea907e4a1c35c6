"""What a search of an own function leaves of the caller's process: everything as it was."""

import subprocess
import sys

import forked
import pytest

CALLER = """
import gc, logging, os, signal, sys, threading

def train(config, seed):
    return seed % 2 == 1

def state():
    handlers = {n: signal.getsignal(n) for n in signal.valid_signals()}
    loggers = {n: logging.getLogger(n).level for n in (None, "ray", "ray.tune", "optuna")}
    threads = {t.name for t in threading.enumerate()}
    return {"environment": dict(os.environ), "handlers": handlers, "loggers": loggers,
            "threads": threads, "hook": sys.excepthook, "folder": os.getcwd(),
            "collector": (gc.get_threshold(), gc.get_freeze_count() > 0)}

def main():
    import xortune as xt
    if "ray" in sys.argv:
        import optuna, ray.tune
        logging.getLogger("ray").setLevel(logging.WARNING)
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "7"
    space = {
        "name": "a",
        "parameters": {"x": {"low": 0.0, "high": 1.0}},
        "search": {"sampler": "tpe", "trials": 2},
        "seeds": {"ladder": [2]},
    }
    before = state()
    xt.search(space, train=train, output="run")
    after = state()
    if "ray" not in sys.argv:  # they came with the levels that they have
        before["loggers"] |= {"ray": logging.INFO, "optuna": logging.INFO}
    for what in before:
        assert before[what] == after[what], (what, before[what], after[what])
    import ray
    assert ray.is_initialized() == ("ray" in sys.argv)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("words", [[], ["ray"]])
def test_a_search_leaves_the_process_as_it_was(tmp_path, words):
    (tmp_path / "caller.py").write_text(CALLER)
    if not words:
        forked.run(["caller.py"], cwd=tmp_path)
        return
    command = [sys.executable, "caller.py", *words]  # a process that was forked cannot start Ray
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
