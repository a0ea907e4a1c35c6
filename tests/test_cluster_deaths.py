"""Trainings that kill their worker, or keep it for ever: given up, written down, and survived."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from cluster_trainers import Logging, begun
from drivers import wait_until
from hand_made import solved

from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.driver.session import search_session
from xortune.runs.run import load_run
from xortune.spaces.space import parse_space
from xortune.training import ray_executor
from xortune.training import ray_worker as versions_module
from xortune.training.jobs import ATTEMPTS
from xortune.training.ray_executor import classify_failure
from xortune.training.ray_worker import hearing_warnings
from xortune.training.resources import Cluster, Resources
from xortune.training.slots import slots

LONG = pytest.mark.long

TESTS = str(Path(__file__).parent)
LIMIT = 3.0
SPACE = """
name: deadly
parameters: {{x: {{low: 0, high: {high}}}}}
search: {{sampler: grid}}
seeds: {{ladder: [5]}}
"""
DEATHS = {1: "SIGSEGV", 2: "SIGKILL", 4: "hang"}


def searched(folder, trainer, high, **options):
    space = parse_space(SPACE.format(high=high))
    complete = search_session(space, trainer, folder / "run", **options)
    return complete, load_run(folder / "run")


@LONG
@pytest.mark.usefixtures("one_ray")
def test_whatever_kills_its_worker_is_given_up_and_the_search_goes_on(tmp_path):
    # So long that each block is a batch.
    trainer = Logging(str(tmp_path / "log"), deaths=DEATHS, naps=0.6)
    complete, run = searched(tmp_path, trainer, 5, cluster=Cluster(each=Resources(timeout=LIMIT)))
    assert complete
    final = [e for e in run.evaluations if e.final]
    errors = {e.block.point["x"]: e.error for e in final}
    assert sorted(errors) == [*range(len(final))] == [*range(6)]
    tries = Counter(x for x, _ in begun(tmp_path / "log"))
    assert tries == {x: ATTEMPTS if x in DEATHS else 1 for x in range(6)}
    for result in run.results:
        x, found = result.point["x"], result.outcome
        wanted = (0, 5, 5) if x in DEATHS else (x % 6, 5, 0)
        assert (found.successes, found.n, found.counts[Status.CRASHED]) == wanted
    assert errors[4] == "took longer than 3 s"
    for x in (1, 2):
        assert "worker died" in errors[x]
        assert len(errors[x]) < 200


@dataclass(frozen=True)
class Large(Logging):
    """A point dies with its worker while others train, as where memory is short for all."""

    def train(self, blocks):
        here = Path(self.log).parent / "trains"
        here.mkdir(exist_ok=True)
        me = here / f"{os.getpid()}"
        me.touch()
        try:
            if blocks[0].point["x"] in self.deaths:
                time.sleep(1.0)  # the other workers have begun
                if len(list(here.iterdir())) == 1:
                    return [solved(block.first, 1, block.count) for block in blocks]
                me.unlink()
            return super().train(blocks)
        finally:
            me.unlink(missing_ok=True)


@LONG
@pytest.mark.usefixtures("one_ray")
def test_what_ray_kills_for_its_memory_trains_once_more_alone(tmp_path, monkeypatch):
    killed = "Worker exit type: NODE_OUT_OF_MEMORY Worker exit detail: Task was killed. Some"

    def classified(text):
        found = classify_failure(text)
        return classify_failure(killed) if "worker died" in found.reason else found

    monkeypatch.setattr(ray_executor, "classify_failure", classified)
    trainer = Large(str(tmp_path / "log"), deaths={2: "SIGKILL"}, naps=2.0)
    complete, run = searched(tmp_path, trainer, 5)
    assert complete
    assert all(e.outcome is not None for e in run.evaluations)
    assert Counter(x for x, _ in begun(tmp_path / "log")) == dict.fromkeys(range(6), 1)


class Unloadable(Logging):
    """Cannot be unpickled on a worker, as where a package is missing."""

    def __reduce__(self):
        return _missing, ()


def _missing():
    raise ModuleNotFoundError("No module named 'my_training'")


@LONG
@pytest.mark.usefixtures("one_ray")
def test_workers_that_cannot_begin_end_the_search_and_no_seed_is_held_for_failed(tmp_path):
    with pytest.raises(InputError, match=r"no worker can start.*my_training.*fix: install"):
        searched(tmp_path, Unloadable(str(tmp_path / "log")), 3)
    assert not load_run(tmp_path / "run").evaluations


def test_other_versions_are_not_counted_together(monkeypatch):
    drivers = versions_module.versions()
    assert set(drivers) == {"xortune", "torch", "numba", "numpy"}
    versions_module.refuse_other_versions(drivers)
    monkeypatch.setattr(versions_module, "version", lambda _: "0.1+cpu")
    with pytest.raises(InputError, match=r"torch 0\.1, not \d.* as the driver has"):
        versions_module.refuse_other_versions(drivers)
    same = {**dict.fromkeys(drivers, "0.1"), "xortune": drivers["xortune"]}
    versions_module.refuse_other_versions(same)


@LONG
@pytest.mark.usefixtures("one_ray")
def test_tune_itself_failing_loses_nothing(tmp_path, monkeypatch):
    """As it does when the object that holds a result is lost: ray.tune raises RuntimeError."""
    from ray.tune.execution.tune_controller import TuneController

    real, calls = TuneController._actor_started, []

    def failing(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("Caught unexpected exception")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(TuneController, "_actor_started", failing)
    complete, run = searched(tmp_path, Logging(str(tmp_path / "log")), 5)
    assert complete
    assert sorted(e.block.point["x"] for e in run.evaluations) == list(range(6))
    assert all(e.outcome is not None for e in run.evaluations)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (None, "batch", "no reason given"),
        ("RayTaskError\n  ValueError: too big\n", "batch", "ValueError: too big"),
        ("x\nThe actor died because its node has died. Node Id: 7\n\tSIGTERM", "node", "SIGTERM"),
        ("The actor 7 is unavailable: RPC. The task may or may not have", "node", "RPC"),
        ("pid: 3\nThe actor is dead because it was killed by `ray.kill`.", "stopped", "ray.kill"),
        ("raised in its creation task, \nImportError: torch", "stopped", "ImportError: torch"),
        (
            "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"
            " Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of"
            " file. Some common causes include: (1) the process",
            "batch",
            "the worker died: it was killed (perhaps for its memory), crashed in C code, or",
        ),
        (
            "its worker process has died. Worker exit type: NODE_OUT_OF_MEMORY Worker exit detail:"
            " Task was killed due to the node running low on memory. 31 of 32 GB were used. Some",
            "killed",
            "the worker died: NODE_OUT_OF_MEMORY, Task was killed due to the node",
        ),
    ],
)
def test_whose_fault_a_death_is(text, kind, reason):
    death = classify_failure(text)
    assert death.kind == kind
    assert reason in death.reason
    assert "common causes" not in death.reason


def test_what_engines_log_on_a_worker_is_captured_once():
    logger = logging.getLogger("xortune.trainers")
    before = list(logger.handlers)
    messages = []
    with hearing_warnings(messages.append):
        logger.warning("halved to %d", 64)
        logging.getLogger("xortune.trainers.reference").error("lost")
        logger.warning("halved to %d", 64)
        logger.info("nothing of note")
        logging.getLogger("somebody").warning("else")
    with pytest.raises(ValueError, match="no"), hearing_warnings(messages.append):
        raise ValueError("no")
    logger.warning("after")
    assert messages == ["halved to 64", "lost"]
    assert logger.handlers == before


def test_two_halves_on_two_nodes_are_no_place(monkeypatch):
    nodes = [
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 5.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)

    def count(cpus, gpus=0.0):
        return slots(Cluster(each=Resources(cpus=cpus, gpus=gpus)))

    found = [count(*each) for each in [(2,), (0.1,), (1, 0.25), (1, 0.5)]]
    assert found == [1 + 2, 30 + 50, 3, 2]
    for each, words in {
        (6,): r"cpus: 6 for each.*largest node has 5",
        (1, 2): r"gpus: 2 for each.*largest node has 1",
        (4, 1): "cpus: 4 CPU and 1 GPU for each trial, but no node of the cluster has all of it",
    }.items():
        with pytest.raises(InputError, match=words):
            count(*each)


INTERRUPTED = """
import sys
from pathlib import Path
from test_cluster_deaths import Cluster, Logging, searched
folder = Path(sys.argv[1])
trainer = Logging(str(folder / "log"), deaths={0: "hang", 1: "hang"})
print("complete", searched(folder, trainer, 1, cluster=Cluster(ray=True))[0], flush=True)
"""


@LONG
def test_ctrl_c_while_all_workers_hang_ends_within_seconds(tmp_path):
    path = os.pathsep.join([TESTS, str(Path(TESTS).parent)])
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    how |= {"env": os.environ | {"PYTHONPATH": path}, "start_new_session": True}
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(tmp_path)], **how)
    try:
        wait_until(lambda: len(begun(tmp_path / "log")) >= min(2, os.cpu_count()), process)
        os.kill(process.pid, signal.SIGINT)
        started = time.monotonic()
        stdout, stderr = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, stdout) == (0, "complete False\n"), stderr
    # Tune alone waits for ten seconds or more, for each worker.
    assert time.monotonic() - started < 15
