"""`xortune status`: what it prints, as JSON too, and how it watches."""

import json
import signal
import subprocess
import threading
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from forked import Python
from hand_made import CONFIG, done, failed, solved, write_run
from statuses import append, point, run, shown, update, xortune

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.outcome import Details
from xortune.reports.document import markdown_text
from xortune.reports.progress import status_json, status_line
from xortune.reports.run import run_document
from xortune.runs.lock import held
from xortune.runs.manifest import checked_labels, label_run
from xortune.runs.status import watched

__all__ = ["run"]  # the fixture


def test_what_is_printed(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = xortune(run.path).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "4 of 10 proposals, 40.0 %" in text
    assert "32 seeds" not in text
    assert "32 in 4 evaluations" in text
    assert "8/8 (67–100 %)" in text
    failures = "8 seeds crashed in 1 evaluation (1 without outcome); 1 try repeated; the last: "
    assert f"{failures}still too hot" in shown(xt.status(run.path))


def test_text_from_a_run_steers_no_terminal(run):
    append(run, failed(9, CONFIG | {"activation": "\x1b[31m[bold]"}, 0, 4, error="\x1b]0;t\x07\n"))
    update(run.path, name="\x1b[2J[red]x")
    text = shown(xt.status(run.path)) + status_line(xt.status(run.path))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"\x1b[2J[red]x" in text
    assert json.loads(xortune(run.path, "--json").stdout)["name"] == "\x1b[2J[red]x"


def test_json(run):
    result = xortune(run.path, "--json")
    found = json.loads(result.stdout)
    assert found == json.loads(json.dumps(status_json(xt.status(run.path)))) | {"now": found["now"]}
    assert found["state"] == "stopped"
    assert found["best"]["key"] == run.results[0].key
    assert found["best"]["config"] == run.results[0].point.as_dict()
    assert (found["done"], found["total"], found["seeds"]) == (4, 10, 32)
    assert found["started"] == "2026-01-02T03:04:05.000+00:00"
    assert set(asdict(xt.status(run.path))) - set(found) == {
        "path",
        "rate",
        "overall_rate",
    }


@pytest.mark.parametrize("interval", [0, -1, float("nan"), 1e9])
def test_an_interval_that_is_none(run, interval):
    result = xortune(run.path, "--watch", "--interval", interval)
    assert result.exit_code == 2
    assert "--interval" in result.stderr


def test_watching_ends_with_the_run(run):
    ready, found = threading.Event(), []

    def work():
        with held(run.path):
            ready.set()
            time.sleep(0.2)
            append(run, done(4, point(4), solved(0, 3, 8)))
            update(run.path, complete=True)
            time.sleep(0.1)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    found = list(watched(run.path, interval=0.02))
    thread.join()
    assert [s.state for s in found[:-1]] == ["running"] * (len(found) - 1)
    assert len(found) > 3
    assert (found[0].done, found[-1].done, found[-1].state) == (4, 5, "finished")


def test_watching_a_dead_run_shows_it_once(run):
    assert len(xortune(run.path, "--watch").stdout.splitlines()) == 1
    [line] = xortune(run.path, "--watch", "--json").stdout.splitlines()
    assert json.loads(line)["done"] == 4


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_ctrl_c_ends_the_watching_well(run, more):
    with held(run.path):
        process = Python(
            ["-m", "xortune", "status", str(run.path), "--watch", "--interval", "0.05", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors == ""
    assert "running" in first
    if more:
        assert all(json.loads(line)["done"] == 4 for line in [first, *rest.splitlines()])


def test_labels_and_times_are_shown(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))])
    for note, tags in (("first", ["a", "b"]), ("a <b>note", []), (None, "c"), (None, ["a"])):
        label_run(run.path, checked_labels(note, tags))
    found = xt.status(run.path)
    assert (found.note, found.tags) == ("a <b>note", ("a", "b", "c"))
    assert found.seed_seconds == 0.25
    text = shown(found)
    assert "a <b>note" in text
    assert "a, b, c" in text
    assert "a seed 250 ms" in text
    report = markdown_text(run_document(xt.load_run(run.path)))
    assert "| note | a &lt;b&gt;note |" in report
    assert "| tags | a, b, c |" in report
    assert "| time of a seed | 250 ms, the mean of 2 |" in report


@pytest.mark.parametrize(
    ("note", "tags"), [("", None), (3, None), ("x" * 2000, None), (None, ["a,b"]), (None, [""])]
)
def test_labels_that_are_none_are_refused(note, tags):
    with pytest.raises(InputError, match=r"note|tags"):
        checked_labels(note, tags)


def test_the_best_so_far_has_the_number_that_the_rule_judges(tmp_path):
    one = solved(0, 2, 4)
    told = Details({"loss": np.array([0.1, 0.2, 0.3, np.nan])})
    run = write_run(tmp_path / "r", [done(0, {"a": 1}, replace(one, details=told))])
    found = xt.status(run.path)
    assert found.best.scores == {"loss_median": 0.2, "loss_q90": pytest.approx(0.28)}
    assert "loss_median 0.2, loss_q90 0.28" in shown(found)
    assert status_json(found)["best"]["loss_median"] == 0.2
    table = run.table.iloc[0]
    assert dict(found.best.scores) == {name: table[name] for name in found.best.scores}
