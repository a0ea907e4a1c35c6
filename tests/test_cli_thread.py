"""`xortune thread`: what it prints, what it writes, how it refuses, and the sweep that it runs."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace

import pytest
import ray
from hand_made import done, solved, write_run
from rich.console import Console
from typer.testing import CliRunner

import xortune as xt
from xortune import terminal_progress
from xortune.cli import app
from xortune.report.format import interval
from xortune.run import load_run
from xortune.thread import claims as claims_module
from xortune.thread import settle as settle_module
from xortune.thread import sweep as sweep_module

SHIPPED = claims_module.read_claims()

CELL = {
    "activation": "Tanh",
    "loss": "MSELoss",
    "optimizer": "Adam",
    "lr": 0.03,
    "hidden_dim": 5,
    "epochs": 100,
    "zero_grad": True,
}


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    """Whatever is written without --output lands here; 80 columns, no colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    # Parsed once and not twice for each command; how it is read is seen in test_claims.
    monkeypatch.setattr(claims_module, "read_claims", lambda: SHIPPED)


def thread(*words):
    result = CliRunner().invoke(app, ["thread", *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def refused(*words, about):
    result = thread(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in about:
        assert word in result.stderr


def table(stdout):
    """The lines below the header, split at columns, down to the first that is none of a row."""
    lines = stdout.splitlines()
    assert lines[0].split() == ["claim", "quoted", "measured", "95", "%", "interval", "verdict"]
    return lines[1:]


def test_thread_tells_a_person():
    result = thread("--only", "T5", "--seeds", 32)
    assert result.exit_code == 0
    settled = xt.thread(only=["T5"], seeds=32)
    lines = table(result.stdout)
    names = ("T5", "half", "hidden_dim_5", "hidden_dim_5_half")
    for line, name, row in zip(lines, names, settled.rows, strict=False):
        words = line.split()
        assert words[0] == name
        assert f"{row.k}/32" in words
        assert interval(row.low, row.high) in line
        assert line.rstrip().endswith(f" {row.verdict}")
    assert lines[0].split()[1:3] == ["0/100", "0/32"]
    assert lines[4] == ""
    told = " ".join(result.stdout.split())
    assert "What the thread was worth. Of 1 quoted counts, 1 agree" in told
    assert "**" not in told
    assert max(len(line.rstrip()) for line in result.stdout.splitlines()) <= 80


def test_without_output_the_report_is_in_reports(tmp_path):
    result = thread("--only", "T5", "--seeds", 4)
    assert "reports/thread.md" in result.stdout.splitlines()
    names = {path.name for path in (tmp_path / "reports").iterdir()}
    assert names == {"thread.md", "thread.csv", "thread_claims.svg"}
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]


def test_a_part_replaces_no_report_unasked(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "thread.md").write_text("all of it")
    result = thread("--only", "T5", "--seeds", 4)
    assert "reports/thread.md is left as it is" in " ".join(result.stdout.split())
    assert "--output" in result.stdout
    assert json.loads(thread("--only", "T5", "--seeds", 4, "--json").stdout)["files"] == []
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["thread.md"]
    assert (tmp_path / "reports" / "thread.md").read_text() == "all of it"
    asked = thread("--only", "T5", "--seeds", 4, "--output", "reports")
    assert "left as it is" not in asked.stdout
    assert (tmp_path / "reports" / "thread.md").read_text().startswith("# Learning XOR")


def test_comparisons_are_told():
    told = " ".join(thread("--only", "T10", "--seeds", 16).stdout.split())
    settled = xt.thread(only=["T10"], seeds=16)
    [one] = settled.comparisons
    assert (
        f"T10: adding momentum=.9 gives 98% success: T10b {one.k_more} beside T10a {one.k_than} of "
        f"the same 16 seeds: {one.verdict}"
    ) in told


def test_rows_are_separated_by_commas():
    shown = json.loads(thread("--only", "T5, T3", "--seeds", 2, "--json").stdout)
    assert {row["id"] for row in shown["rows"]} == {"T5", "T3"}


def test_thread_tells_a_program():
    result = thread("--only", "T8c", "--seeds", 32, "--first-seed", 100, "--json")
    assert result.stderr == ""
    shown = json.loads(result.stdout)
    names = ("thread.md", "thread.csv", "thread_claims.svg")
    assert shown["files"] == [f"reports/{name}" for name in names]
    settled = xt.thread(only=["T8c"], seeds=32, first_seed=100)
    for row, one in zip(shown["rows"], settled.rows, strict=True):
        expected = {
            "id": "T8c",
            "variant": one.variant.name,
            "quoted": "22/100",
            "k": one.k,
            "n": 32,
            "rate": one.rate,
            "low": one.low,
            "high": one.high,
            "verdict": str(one.verdict),
            "why": one.why,
            "first_seed": 100,
            "stopped": one.stopped,
            "zero_grad": one.variant.name == "zero_grad",
            "momentum": None,
        }
        found = {name: row[name] for name in expected}
        for name, value in expected.items():
            wanted = pytest.approx(value) if isinstance(value, float) else value
            assert found[name] == wanted, name


def test_output_is_written_and_named(tmp_path):
    result = thread("--only", "T3", "--seeds", 8, "--output", "here/there")
    names = ["thread.md", "thread.csv", "thread_claims.svg"]
    for name in names:
        assert f"here/there/{name}" in result.stdout.splitlines()
        assert (tmp_path / "here" / "there" / name).is_file()
    with open("here/there/thread.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["as_posted", "half", "zero_grad", "zero_grad_half"]
    shown = json.loads(thread("--only", "T3", "--seeds", 8, "--json", "--output", "x").stdout)
    assert shown["files"] == [f"x/{name}" for name in names]
    for name in names:
        assert (tmp_path / "x" / name).read_bytes() == (
            tmp_path / "here" / "there" / name
        ).read_bytes()


def test_progress_goes_to_stderr_and_quiet_is_quiet():
    result = thread("--only", "T5", "--seeds", 4)
    lines = [line for line in result.stderr.splitlines() if "measured" in line]
    assert [line.split(" measured")[0] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert all("T5 " in line and " left" in line for line in lines)
    assert " left  " not in result.stdout
    silent = thread("--only", "T5", "--seeds", 4, "--quiet", "--output", "out")
    assert silent.output == ""
    assert silent.exit_code == 0


def test_a_long_measurement_tells_each_quarter(capsys, monkeypatch):
    clock = iter(range(0, 1000, 10))  # ten seconds from one look to the next
    monkeypatch.setattr(
        terminal_progress, "time", SimpleNamespace(monotonic=lambda: float(next(clock)))
    )
    with terminal_progress.shown_steps(quiet=False) as show:
        for done in range(1, 41):
            show(done, 40, f"row {done}")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "10/40 measured  30 s left  row 10",
        "20/40 measured  20 s left  row 20",
        "30/40 measured  10 s left  row 30",
        "40/40 measured  0 s left  row 40",
    ]


def test_on_a_terminal_each_step_replaces_the_last(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        terminal_progress,
        "Console",
        lambda **_: Console(file=screen, force_terminal=True, width=80),
    )
    with terminal_progress.shown_steps(quiet=False) as show:
        for done in range(1, 8):
            show(done, 7, f"row {done}")
    assert "7/7 measured  0 s left  row 7" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K"), "nothing is left of it"
    with terminal_progress.shown_steps(quiet=True) as show:
        assert show is None


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["--only", "T16"], ["no row 'T16'", "T15", "did you mean"]),
        (["--only", "T3,t8c"], ["'t8c'", "did you mean 'T8c'?"]),
        (["--only", "T5", "--seeds", "0"], ["seeds", "1 or more"]),
        (["--only", "T5", "--seeds", "-4"], ["seeds", "1 or more"]),
        (["--only", "T5", "--first-seed", "-1"], ["seeds -1", "seeds from 0"]),
        (["--only", "T5", "--seeds", "4", "--first-seed", str(2**32)], ["seeds 4294967296"]),
        (["--only", "T15", "--seeds", "4", "--sweep", "nowhere"], ["nowhere"]),
        (["--only", "T12", "--seeds", "4", "--sweep", "."], ["holds no run"]),
    ],
)
def test_thread_refuses(words, about, tmp_path):
    refused(*words, about=about)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(settle_module, "measure", interrupted)
    result = thread("--only", "T5", "--seeds", 4, "--output", "out")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("interrupted: nothing was written")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_without_the_threads_cells_is_refused(tmp_path):
    write_run(tmp_path / "run", [done(0, {**CELL, "lr": 0.1}, solved(0, 3, 8, epochs=100))])
    about = ["run", "holds no cell of the thread's sweep", "lr 0.03", "leave --sweep out"]
    refused("--only", "T15", "--seeds", 4, "--sweep", "run", about=about)
    refused("--only", "T15", "--seeds", 4, "--sweep", "run", "--json", about=about)


def test_where_nothing_can_be_written_it_is_told(tmp_path):
    (tmp_path / "file").write_text("precious")
    words = ["--only", "T5", "--seeds", 2, "--output", "file/below", "--quiet"]
    refused(*words, about=["file/below", "cannot be written", "--output"])
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("words", [["--seeds", "many"], ["--onyl", "T3"], ["extra"]])
def test_what_is_no_option_exits_with_2(words):
    result = thread(*words)
    assert result.exit_code == 2
    assert words[0] in result.stderr or "'--seeds'" in result.stderr
    assert result.stdout == ""


def test_a_run_that_holds_the_sweep_is_used(tmp_path):
    write_run(tmp_path / "run", [done(0, CELL, solved(0, 8, 8, epochs=100))], trainer="network")
    result = thread("--only", "T15", "--seeds", 16, "--sweep", "run")
    assert result.exit_code == 0
    assert table(result.stdout)[0].split()[:1] == ["T15"]
    told = " ".join(result.stdout.split())
    assert "1/1" in told
    assert "What to do. Put Tanh between the two layers" in told
    assert "xortune evaluate --activation Tanh" in told
    assert not (tmp_path / "runs").exists()


# --- the sweep itself, with Ray ------------------------------------------------------------------

TINY = """
name: thread_sweep
task: xor
epochs: 100
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: MSELoss
  optimizer: Adam
  lr: 0.03
  hidden_dim: 5
search: {sampler: grid}
seeds: {ladder: [8]}
"""


def test_the_sweep_is_run_once_and_used_again(tmp_path, monkeypatch):
    assert not ray.is_initialized()
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.setattr(sweep_module, "SPACE", tmp_path / "tiny.yaml")
    try:
        first = thread("--only", "T12,T15", "--seeds", 16, "--output", "first")
    finally:
        ray.shutdown()
    assert first.exit_code == 0
    run = load_run("runs/thread_sweep")
    assert {result.point["activation"] for result in run.results} == {"Tanh", "ReLU"}
    k = {result.point["activation"]: result.outcome.successes for result in run.results}
    for activation, found in k.items():
        config = xt.Config(**{**CELL, "activation": activation})
        assert found == xt.evaluate(config, range(8)).successes
    assert f" {sum(k.values())}/16 " in table(first.stdout)[0]
    journal = (run.path / "evaluations.jsonl").read_bytes()

    def no_ray(*args, **kwargs):
        raise AssertionError("Ray is started again")

    monkeypatch.setattr(ray, "init", no_ray)
    second = thread("--only", "T12,T15", "--seeds", 16, "--output", "second")
    assert second.exit_code == 0
    assert (run.path / "evaluations.jsonl").read_bytes() == journal
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["thread_sweep"]
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_mistakes_are_told_before_anything_is_trained(tmp_path, monkeypatch):
    def trained(*args, **kwargs):
        pytest.fail("trained first")

    monkeypatch.setattr("xortune.api.search", trained)
    monkeypatch.setattr(settle_module, "measure", trained)
    (tmp_path / "file").write_text("x")
    refused("--only", "T15", "--seeds", 0, about=["seeds"])
    refused("--only", "T5", "--output", "file", about=["file", "--output"])
    refused("--only", ",", about=["no row ''"])
