"""What the installed package adds to xortune, by xortune's public verbs alone."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from xortune_plugin.statistic import TRIMMED, estimate
from xortune_plugin.tracker import JSONLines

import xortune as xt

SPACE = """
name: plugged
{trainer}
success: "{success}"
parameters: {{lr: {{low: 0.1, high: 0.9}}, width: {{choice: [1, 2]}}}}
objectives: [{objective}]
search: {{sampler: {sampler}, trials: 8}}
seeds: {{ladder: [4, 12]}}
"""


def space(folder, *, trainer="", success="accuracy >= 0.5", objective="rate", sampler="random"):
    path = folder / "space.yaml"
    trainer = trainer and f"trainer: {trainer}"
    objective = "success_rate" if objective == "rate" else objective
    path.write_text(
        SPACE.format(trainer=trainer, success=success, objective=objective, sampler=sampler)
    )
    return path


def learn(config, seed):
    """A training that returns a number."""
    return {"accuracy": config["lr"] * config["width"] * (0.5 + seed * 0.618 % 1)}


def searched(folder, *, output="run", **given):
    """A run of `learn` in this process, unless it says otherwise."""
    of_space = {k: given.pop(k) for k in ("success", "objective", "sampler") if k in given}
    settings = {"workers": 0, "verbose": 0, "train": learn} | given
    return xt.search(space(folder, **of_space), output=folder / output, **settings)


def test_the_sampler_proposes(tmp_path):
    run = searched(tmp_path, sampler="univariate")
    assert (len(run.results), run.manifest["sampler"]) == (8, "univariate")
    again = searched(tmp_path, output="again", sampler="univariate")
    table = "table.csv"
    assert (again.path / table).read_text() == (run.path / table).read_text()


def test_the_statistic_is_a_column_and_an_objective(tmp_path):
    run = searched(tmp_path, objective="accuracy_trimmed")
    table = pd.read_csv(run.path / "table.csv")
    assert (table["accuracy_trimmed"].diff().dropna() <= 0).all()  # best first
    first = run.results[0].outcome.details.values["accuracy"]
    assert table["accuracy_trimmed"][0] == pytest.approx(estimate(first))
    low, high = TRIMMED.interval(first)
    assert low < estimate(first) < high


def answer(question):
    """What the server answers: as `learn`, but for one seed that it cannot train."""
    if question["seed"] == 2:
        raise ValueError("no seed 2")
    return learn(question["config"], question["seed"])


@pytest.fixture
def address():
    """A server on this machine that trains."""

    class Trains(BaseHTTPRequestHandler):
        def do_POST(self):  # its name in http.server
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, body = 200, json.dumps(answer(question)).encode()
            except ValueError as error:
                status, body = 500, str(error).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Trains) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/train"
        server.shutdown()
        serving.join()


def test_the_trainer_asks_an_address(tmp_path, address):
    tables = []
    for workers in (0, 2):
        path = space(tmp_path, trainer=address)
        run = xt.search(path, output=tmp_path / str(workers), workers=workers, verbose=0)
        tables.append((run.path / "table.csv").read_text())
        assert run.manifest["trainer"] == address
    assert tables[0] == tables[1]
    best = run.results[0]
    expected = [learn(best.point.as_dict(), seed)["accuracy"] >= 0.5 for seed in range(12)]
    expected[2] = False
    assert best.outcome.solved.tolist() == expected
    assert "HTTP Error 500" in best.outcome.details.failed[2]
    found = xt.certify(run, seeds=20, top=1, workers=0, verbose=0)
    assert found.finalists[0].n == 20


def test_where_nobody_answers_no_search_begins(tmp_path):
    path = space(tmp_path, trainer="http://127.0.0.1:9/train")  # a port where nobody is
    with pytest.raises(xt.InputError, match=r"void: URLError: .*refused"):
        xt.search(path, output=tmp_path / "run", workers=0, verbose=0)


def lines_of(file):
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def test_the_tracker_has_a_line_for_each_evaluation_and_none_twice(tmp_path):
    file = tmp_path / "tracked.jsonl"
    run = searched(tmp_path, trackers=[JSONLines(str(file))])
    lines = lines_of(file)
    assert {line["config"] for line in lines} == {one.key for one in run.results}
    last = {line["config"]: line for line in lines}
    for one in run.results:
        assert last[one.key]["n"] == one.outcome.n
        assert last[one.key]["metrics"]["k"] == one.outcome.successes
        assert last[one.key]["settings"] == one.point.as_dict()
    other = tmp_path / "other.jsonl"
    for _ in range(2):
        assert xortune("log", run.path, "--tracker", f"jsonl={other}").startswith("JSON lines: 8 ")
    assert sorted(map(str, lines_of(other))) == sorted(map(str, lines))


@pytest.mark.parametrize("deadly", [-1, 5])
def test_the_executor_gives_the_table_of_the_pool(tmp_path, monkeypatch, deadly):
    (tmp_path / "train.py").write_text(
        "import os\n\n"
        "def run(config, seed):\n"
        f"    if seed == {deadly} and config['width'] == 1:\n"
        "        os._exit(3)\n"
        "    return {'accuracy': config['lr'] * (1 + seed % 3)}\n"
    )
    slots = 2 if deadly < 0 else 1
    path, tables = space(tmp_path, trainer="./train.py:run"), []
    path.write_text(path.read_text().replace("trials: 8", "trials: 3"))
    for name in ("pool", "futures"):
        run = xt.search(path, output=tmp_path / name, workers=slots, verbose=0, check=False)
        tables.append((run.path / "table.csv").read_text())
        who = {one.worker for one in run.evaluations}
        assert (who == {"futures"}) == (name == "futures")
        monkeypatch.setenv("XORTUNE_FUTURES", str(slots))
    assert tables[0] == tables[1]
    assert (run.seeds["status"] == "crashed").any() == (deadly > 0)


def test_the_figure_stands_in_the_report(tmp_path):
    run = searched(tmp_path)
    assert "](figures/spread.svg)" in (run.path / "report.md").read_text()
    assert "<svg" in (run.path / "figures" / "spread.svg").read_text()
    assert "From the worst to the best seed" in (run.path / "report.html").read_text()


def test_the_export_is_a_form_of_its_own_and_has_its_ending(tmp_path):
    run = searched(tmp_path)
    text = xt.export(run, format="env")
    best = run.results[0].point
    assert text.splitlines() == [f"LR={best['lr']}", f"WIDTH={best['width']}"]
    xortune("export", run.path, "--output", tmp_path / "best.env")
    assert (tmp_path / "best.env").read_text() == text


def xortune(*words, **environment):
    """What the command prints."""
    return subprocess.run(
        [sys.executable, "-m", "xortune", *map(str, words)],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


GIVEN = {
    "samplers": "univariate",
    "trainers": "http",
    "executors": "futures",
    "trackers": "jsonl",
    "statistics": "trimmed",
    "figures": "spread",
    "exports": "env",
}


def test_the_command_lists_all_and_what_failed_to_load(tmp_path):
    of = "xortune-plugin-example 1.0"
    good = [f"xortune.{group}: {name} of {of}: {name}" for group, name in GIVEN.items()]
    assert xortune("plugins").splitlines() == good
    (tmp_path / "broken.py").write_text("raise ImportError('no module of mine')\n")
    data = tmp_path / "broken-0.1.dist-info"
    data.mkdir()
    (data / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n")
    groups = "".join(f"[xortune.{group}]\nlost = broken:LOST\n" for group in GIVEN)
    (data / "entry_points.txt").write_text(groups)
    told = xortune("plugins", PYTHONPATH=str(tmp_path)).splitlines()
    cause = "lost of broken 0.1: cannot be used: ImportError: no module of mine"
    assert sorted(told) == sorted([*good, *(f"xortune.{group}: {cause}" for group in GIVEN)])
