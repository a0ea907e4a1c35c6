"""The command line without Ray: what it prints, what it writes, and how it refuses."""

import json
import re
from pathlib import Path

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from hand_made import CONFIG, TINY_SPACE, done, failed, solved, tiny_run

import xortune as xt
from xortune.cli.shared import app

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_SPACE)
    return path


@pytest.fixture
def run(tmp_path):
    """A finished run of the space above, made by hand."""
    return tiny_run(tmp_path / "run", [solved(0, k, 4, epochs=30) for k in (1, 4, 3)])


def test_space_describes_a_space(space_file):
    result = xortune("space", space_file)
    assert result.exit_code == 0
    for word in ("tiny", "xor", "activation", "Tanh, ReLU", "0.01", "random", "3"):
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    shown = json.loads(xortune("space", space_file, "--json").stdout)
    told = {"name": "tiny", "trials": 3, "ladder": [4], "seed_epochs": 3 * 4 * 30}
    assert shown == shown | told


def test_resuming_a_finished_run_shows_it(space_file, run):
    words = ("search", space_file, "--output", run.path, "--resume")
    result = xortune(*words)
    assert result.exit_code == 0
    assert "4/4" in result.stdout
    assert "report.md" in result.stdout
    shown = xortune(*words, "--json")
    assert shown.stderr == ""
    best = json.loads(shown.stdout)["best"]
    assert [best[name] for name in ("k", "n", "lr", "trials")] == [4, 4, 0.05, 1]


def test_an_evaluation_without_outcome_exits_with_4(space_file, tmp_path):
    point = {**CONFIG, "lr": 0.02, "hidden_dim": 3, "epochs": 30}
    evaluations = [
        done(0, point, solved(0, 3, 4, epochs=30)),
        failed(1, {**point, "lr": 0.03}, 0, 4, final=False),
        failed(1, {**point, "lr": 0.03}, 0, 4),
        done(2, {**point, "lr": 0.04}, solved(0, 2, 4, epochs=30)),
    ]
    tiny_run(tmp_path / "bad", lines=evaluations)
    result = xortune("search", space_file, "--output", "bad", "--resume")
    assert result.exit_code == 4
    assert "1 evaluation produced no outcome" in result.stdout
    assert "3/4" in result.stdout


def test_report_writes_the_files_again(run, tmp_path):
    result = xortune("report", run.path)
    assert result.exit_code == 0
    names = {"report.html", "report.md", "figures", "table.csv", "table.tex", "table.parquet"}
    assert names | {"seeds.parquet"} <= {path.name for path in run.path.iterdir()}
    assert "4/4" in result.stdout
    shown = json.loads(xortune("report", run.path, "--format", "csv", "--json").stdout)
    assert (shown["configs"], [row["k"] for row in shown["table"]]) == (3, [4, 3, 1])
    assert shown["best"] == shown["table"][0]
    refused(xortune("report", run.path, "--format", ""), "html, md, csv, tex, parquet")
    refused(xortune("report", tmp_path), str(tmp_path), "holds no run", "evaluations.jsonl")


def evaluate(*more, **changes):
    network = {"activation": "Tanh", "loss": "MSELoss", "optimizer": "Adam", "lr": "0.1"}
    options = network | {"hidden-dim": "4", "epochs": "100", "seeds": "12"} | changes
    return xortune("evaluate", *(f"--{name}={text}" for name, text in options.items()), *more)


def test_evaluate_tells_a_person_and_a_program(make_config):
    config = make_config(lr=0.1, hidden_dim=4, epochs=100)
    outcome = xt.evaluate(config, range(12))
    result = evaluate()
    assert (result.exit_code, result.stderr) == (0, "")
    assert 0 < outcome.successes < 12, "the test tells nothing if all seeds are alike"
    for words in (f"{outcome.successes}/12 seeds solved", "epochs to solve", "not solved"):
        assert words in result.stdout
    shown = json.loads(evaluate("--json", "--quiet").stdout)
    statuses = shown.pop("statuses")
    low, high = outcome.interval()
    assert shown == {
        "k": outcome.successes,
        "n": 12,
        "rate": outcome.rate,
        "low": low,
        "high": high,
        "epochs_to_solve": outcome.epochs_to_solve,
        "key": config.key,
        "config": dict(config.point),
        "first_seed": 0,
    }
    assert sum(statuses.values()) == 12
    assert statuses["solved"] == outcome.successes
    assert json.loads(evaluate("--json", epochs="1").stdout)["epochs_to_solve"] is None


def test_evaluate_takes_every_option(tmp_path):
    table = tmp_path / "task.csv"
    table.write_text("a,b,c,y\n0,0,0,0\n0,1,0,1\n1,0,1,1\n1,1,1,0\n")
    result = evaluate(
        *("--momentum", "0.9", "--task", table, "--no-zero-grad", "--first-seed", 2**32 - 12),
        *("--engine", "reference", "--json"),
        optimizer="SGD",
        activation="none",
        epochs="20",
    )
    shown = json.loads(result.stdout)
    config = shown["config"]
    assert config == config | {"activation": None, "momentum": 0.9, "zero_grad": False}
    assert shown["first_seed"] == 2**32 - 12
    seeds, task = range(2**32 - 12, 2**32), xt.Task.from_csv(table)
    assert shown["k"] == xt.evaluate(xt.Config(**config), seeds, task=task).successes


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    result = xortune(command, "--help")
    assert result.exit_code == 0
    assert f"xortune {command} " in result.stdout.split("Example")[1]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_names_every_command_in_the_order_of_the_docs():
    result = xortune("--help")
    assert result.exit_code == 0
    page = (Path(__file__).parents[1] / "docs" / "commands.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `xortune (\w+)", page, re.MULTILINE)
    assert set(COMMANDS) == set(told)
    assert re.findall(r"^│ (\w+) +[A-Z]", result.stdout, re.MULTILINE) == told
    without = [name for name in told if "--json" not in xortune(name, "--help").stdout]
    assert without == ["export"]
    assert "all but `export` have `--json`" in page
    assert "Exit codes: 0 done" in result.stdout
    assert xortune("-h").stdout == result.stdout
    assert xortune("--version").stdout == f"xortune {xt.__version__}\n"
