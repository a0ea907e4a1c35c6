"""Searches from threads, from forks and from spawned processes."""

import os
import subprocess
import sys
import threading

import pytest
import ray

import xortune as xt
from xortune.core.errors import InputError

SPACE = {
    "name": "it",
    "parameters": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"sampler": "random", "trials": 2},
    "seeds": {"ladder": [4]},
}


def even(config, seed):
    return seed % 2 == 0


def test_a_second_search_in_a_thread_is_refused_and_the_first_goes_on(tmp_path):
    refused = []

    def second():
        with pytest.raises(InputError) as raised:
            xt.search(SPACE, train=even, output=tmp_path / "second")
        refused.append(str(raised.value))

    def ended(word):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        raise KeyboardInterrupt  # no need to train

    for _ in range(2):  # the first has ended by then, and is in nobody's way
        with pytest.raises(KeyboardInterrupt):
            xt.search(SPACE, train=even, output=tmp_path / "first", on_word=ended)
    assert len(refused) == 2
    assert "another thread" in refused[0]
    assert "fix: wait until it has ended" in refused[0]
    assert not (tmp_path / "second").exists()


SCRIPT = """
import multiprocessing, os, sys
import xortune as xt
from xortune.core.errors import InputError

def even(seed):
    return seed % 2 == 0

def train(config, seed):
    return even(seed)

def search(folder):
    try:
        run = xt.search(SPACE, train=train, output=folder, trial_timeout=60)  # by Ray
        print(run.manifest["trainer"], run.results[0].outcome.successes, flush=True)
    except InputError as error:
        print(error, flush=True)

if __name__ == "__main__":
    if sys.argv[1] == "fork":
        search("before")
    process = multiprocessing.get_context(sys.argv[1]).Process(target=search, args=("run",))
    process.start()
    process.join(120)
    print("ended with", process.exitcode, flush=True)
    process.kill()
"""


def script(folder, *words):
    (folder / "script.py").write_text(f"SPACE = {SPACE!r}\n{SCRIPT}")
    ran = subprocess.run(
        [sys.executable, "script.py", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ran.stdout.splitlines(), ran.stderr


@pytest.mark.long
def test_a_spawned_process_sends_functions_of_the_main_module(tmp_path):
    lines, stderr = script(tmp_path, "spawn")
    assert lines == ["__main__:train 2", "ended with 0"], stderr


@pytest.mark.long
def test_a_fork_of_a_process_that_has_used_ray_is_refused(tmp_path):
    lines, stderr = script(tmp_path, "fork")
    assert lines[0] == "__main__:train 2", stderr
    assert "forked from one that had used Ray" in lines[1]
    assert lines[2] == "ended with 0"
    assert not (tmp_path / "run").exists()


def test_a_function_that_cannot_be_sent_is_refused_before_anything_is_there(tmp_path):
    lock = threading.Lock()

    def locked(config, seed):
        with lock:
            return True

    for dry_run in (True, False):
        with pytest.raises(InputError, match=r"train: .*cannot be sent.*lock.*fix: create locks"):
            xt.search(SPACE, train=locked, output=tmp_path / "run", dry_run=dry_run)
        assert not (tmp_path / "run").exists()


def threads(config, seed):
    import torch

    return float(torch.get_num_threads())


COUNTED = {**SPACE, "success": "value >= 2"}


@pytest.mark.parametrize(("asked", "wanted"), [(None, 2), ("1", 1)])
def test_a_dry_run_has_the_threads_of_a_trial(tmp_path, monkeypatch, asked, wanted):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    told = []

    def ended(word):
        told.append(word)
        raise KeyboardInterrupt  # no need to train

    with pytest.raises(KeyboardInterrupt):
        xt.search(COUNTED, train=threads, output=tmp_path / "run", cpus_per_trial=2, on_word=ended)
    assert f"value {wanted}" in told[0]


def uses_ray(config, seed):
    return ray.get(ray.remote(lambda: True).remote())


def starts_ray(config, seed):
    ray.init()
    return True


@pytest.mark.parametrize("train", [uses_ray, starts_ray])
def test_the_dry_run_finds_a_function_that_uses_ray(tmp_path, train):
    with pytest.raises(InputError, match="the function uses Ray itself"):
        xt.search(SPACE, train=train, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
