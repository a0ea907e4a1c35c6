"""What optuna-dashboard shows of a study that searches share; a real one, on a loopback port."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from study_driver import drive
from test_shared_study import counted, space_of

from xortune.driver.propose import PROPOSAL, RUN, SOLVED, study_name
from xortune.racing.objectives import Seen, names_told, told

pytest.importorskip("optuna_dashboard", reason="optuna-dashboard, of the extra test, is not there")

# The dashboard takes the path of a journal where xortune takes journal://PATH.
STORAGES = {"journal": ("journal://{}/study.log", "{}/study.log")} | {
    "sqlite": ("sqlite:///{}/study.db",) * 2
}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def dashboard(tmp_path):
    """`dashboard(storage)`: reads a path of a dashboard that shows the storage."""
    started = []

    def start(storage):
        port = free_port()
        words = [storage, "--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref", "-q"]
        program = Path(sys.executable).with_name("optuna-dashboard")
        with (tmp_path / "dashboard.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [str(program), *words],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONWARNINGS": "ignore"},
                )
            )

        def get(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return answer.read()

        deadline = time.monotonic() + 60
        while True:
            try:
                get("/api/meta")
                return get
            except OSError:
                assert started[-1].poll() is None, (tmp_path / "dashboard.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.long
@pytest.mark.parametrize("kind", STORAGES)
def test_the_dashboard_shows_the_study_its_trials_and_whose_they_are(tmp_path, dashboard, kind):
    ours, theirs = (text.format(tmp_path) for text in STORAGES[kind])
    space = space_of()
    runs = {drive(space, tmp_path / name, ours): tmp_path / name for name in ("one", "two")}
    get = dashboard(theirs)
    assert b"<title>" in get("/dashboard/")
    [summary] = json.loads(get("/api/studies"))["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == (study_name(space), ["maximize"])
    study = json.loads(get(f"/api/studies/{summary['study_id']}"))
    table = list(csv.reader(get(f"/csv/{summary['study_id']}").decode().splitlines()))
    assert names_told(space.objectives)[0] in table[0]
    assert len(table) == 1 + 24
    assert len(study["trials"]) == 24
    shown = {}
    for trial in study["trials"]:
        assert trial["state"] == "Complete"
        said = {attr["key"]: attr["value"] for attr in trial["user_attrs"]}
        shown[json.loads(f'"{said[RUN]}"'), int(said[PROPOSAL])] = trial, said
    for run, folder in runs.items():
        lines = counted(folder)
        assert sorted(lines) == [number for owner, number in sorted(shown) if owner == run]
        turns = [line.block.point.key for line in lines.values()]
        for number, line in lines.items():
            trial, said = shown[run, number]
            values = {p["name"]: p["param_external_value"] for p in trial["params"]}
            for name, value in line.block.point.items():
                if isinstance(value, str):
                    assert values[name] == value
                else:
                    assert float(values[name]) == pytest.approx(value)
            if turns.count(line.block.point.key) == 1:  # else it is told of all its turns
                outcome = line.outcome
                mine = Seen(line.block.point, outcome.successes, outcome.n, outcome.epochs_spent)
                assert trial["values"] == list(told(space.objectives, mine))
                assert said[SOLVED] == f"{outcome.successes}/{outcome.n}"
