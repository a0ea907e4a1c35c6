"""A function on Ray's workers, which listen on the loopback device and change nothing else."""

import ipaddress
import logging
import shutil

import pytest
from test_serial import LOGGERS, changed

import xortune as xt
from xortune.driver import session as session_module
from xortune.runs.run import JOURNAL, load_run

SPACE = """
name: places
trainer: ./code/train.py:run
success: "value >= 0.5"
parameters: {x: {low: 0, high: 2}}
search: {sampler: grid}
seeds: {ladder: [4], certify: 5}
"""

TRAIN = """
import os
import tempfile
from pathlib import Path

BESIDE = float(Path(__file__).with_name("beside.txt").read_text())

def run(config, seed):
    here = float(Path("data.txt").read_text())
    away = tempfile.mkdtemp()
    os.chdir(away)  # as some tools do, and never back
    os.rmdir(away)
    os.chdir(Path(__file__).parent.parent)
    return here * BESIDE * ((seed + config["x"]) % 3)
"""


@pytest.fixture(scope="module")
def place(one_ray, tmp_path_factory):
    """A folder with a function and a finished run, and what was noted meanwhile."""
    folder, starts, told = tmp_path_factory.mktemp("places"), [], []
    real = session_module.on_ray

    def counted(*arguments, **more):
        starts.append(1)
        return real(*arguments, **more)

    def refuse(*_, **__):
        raise AssertionError("nothing is left to be certified apart")

    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text(TRAIN)
    (folder / "code" / "beside.txt").write_text("0.5")
    (folder / "data.txt").write_text("1.0")
    (folder / "space.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(session_module, "on_ray", counted)
        patch.setattr("xortune.driver.certify.certify_run", refuse)
        for name in LOGGERS:
            patch.setattr(logging.getLogger(name), "level", logging.WARNING)
        other = changed(
            lambda: xt.search(
                "space.yaml", output="run", cpus_per_trial=2, on_certify=lambda *n: told.append(n)
            )
        )
    return folder, starts, told, other


def test_relative_files_of_a_function_are_those_of_a_plain_loop(place):
    run = load_run(place[0] / "run")
    found = [*((r.point, r.outcome) for r in run.results)]
    found += [(check.block.point, check.outcome) for check in run.checks]
    assert len(found) == 6
    for point, outcome in found:
        values = [0.5 * ((seed + point["x"]) % 3) for seed in outcome.seeds.tolist()]
        assert outcome.details.values["value"].tolist() == values
        assert outcome.solved.tolist() == [value >= 0.5 for value in values]


def test_a_search_certifies_on_its_own_workers(place, monkeypatch):
    folder, starts, told, _ = place
    run = load_run(folder / "run")
    assert starts == [1]
    total = 5 * len(run.certificate.finalists)
    assert (told[0], told[-1]) == ((0, total), (total, total))
    assert {line.worker for line in run.checks} <= {line.worker for line in run.evaluations}
    assert run.manifest["complete"] is True
    assert "The winners on seeds" in (run.path / "report.md").read_text()
    # The command in this process says the same.
    monkeypatch.chdir(folder)
    copy = shutil.copytree(run.path, folder / "copy")
    lines = (copy / JOURNAL).read_text().splitlines(keepends=True)
    (copy / JOURNAL).write_text("".join(line for line in lines if '"purpose"' not in line))
    xt.certify(copy, seeds=5)
    first, second = ((path / "certificate.json").read_text() for path in (run.path, copy))
    assert first == second


def test_a_search_on_a_ray_that_is_there_leaves_the_process_as_it_was(place):
    import ray

    assert place[-1] == {}
    assert ray.is_initialized()


@pytest.mark.usefixtures("one_ray")
def test_every_socket_is_on_the_loopback_device():
    import psutil
    import ray

    ray.get(ray.remote(lambda: 1).remote())  # a worker has sockets of its own
    this = psutil.Process()
    names = {process.pid: process.name() for process in (this, *this.children(recursive=True))}
    found = [
        (names[one.pid], ipaddress.ip_address(one.laddr.ip.removeprefix("::ffff:")))
        for one in psutil.net_connections("tcp")
        if one.pid in names and one.status == psutil.CONN_LISTEN
    ]
    assert {"gcs_server", "raylet"} <= {name for name, _ in found}, "else the test tells nothing"
    assert len(found) >= 5
    assert [entry for entry in found if not entry[1].is_loopback] == []
