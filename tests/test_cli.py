"""The command line without Ray: what it prints, what it writes, and how it refuses."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from hand_made import CONFIG, TINY_SPACE, done, failed, solved, tiny_run

import xortune as xt
from xortune.cli.shared import app
from xortune.spaces.samplers import SAMPLERS

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.fixture(autouse=True)
def _files(tmp_path, _somewhere):  # noqa: F811
    """`space.yaml`; `run`, a finished run of it, made by hand; `other`, the same."""
    (tmp_path / "space.yaml").write_text(TINY_SPACE)
    tiny_run(tmp_path / "run", [solved(0, k, 4, epochs=30) for k in (1, 4, 3)])
    shutil.copytree("run", "other")


def test_space_describes_a_space():
    result = xortune("space", "space.yaml", code=0)
    for word in ("tiny", "xor", "activation", "Tanh, ReLU", "0.01", "random", "3"):
        assert word in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    shown = json.loads(xortune("space", "space.yaml", "--json").stdout)
    told = {"name": "tiny", "trials": 3, "ladder": [4], "seed_epochs": 3 * 4 * 30}
    assert shown == shown | told


def test_resuming_a_finished_run_shows_it():
    words = ("search", "space.yaml", "--output", "run", "--resume")
    result = xortune(*words, code=0)
    assert "4/4" in result.stdout
    assert "report.md" in result.stdout
    shown = xortune(*words, "--json")
    assert shown.stderr == ""
    best = json.loads(shown.stdout)["best"]
    assert [best[name] for name in ("k", "n", "lr", "trials")] == [4, 4, 0.05, 1]


def test_an_evaluation_without_outcome_exits_with_4(tmp_path):
    point = {**CONFIG, "lr": 0.02, "hidden_dim": 3, "epochs": 30}
    lines = [
        done(0, point, solved(0, 3, 4, epochs=30)),
        failed(1, {**point, "lr": 0.03}, 0, 4, final=False),
        failed(1, {**point, "lr": 0.03}, 0, 4),
        done(2, {**point, "lr": 0.04}, solved(0, 2, 4, epochs=30)),
    ]
    tiny_run(tmp_path / "bad", lines=lines)
    result = xortune("search", "space.yaml", "--output", "bad", "--resume", code=4)
    assert "1 evaluation produced no outcome" in result.stdout
    assert "3/4" in result.stdout


def test_report_writes_the_files_again(tmp_path, monkeypatch):
    result = xortune("report", "run", code=0)
    names = {"report.html", "report.md", "figures", "table.csv", "table.tex", "table.parquet"}
    assert names | {"seeds.parquet"} <= {path.name for path in Path("run").iterdir()}
    assert "4/4" in result.stdout
    shown = json.loads(xortune("report", "run", "--format", "csv", "--json").stdout)
    assert (shown["configs"], [row["k"] for row in shown["table"]]) == (3, [4, 3, 1])
    assert shown["best"] == shown["table"][0]
    monkeypatch.setattr("xortune.reports.files.pdf", lambda plot: plot.name.encode())
    shown = xortune("report", "run", "--format", "csv,pdf").stdout.split()
    assert shown[-2:] == ["run/table.csv", "run/figures"], "what was written, and nothing else"
    refused(xortune("report", "run", "--format", ""), "html, md, csv, tex, parquet")
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
    for words in (f"{outcome.successes} of 12 seeds solved", "epochs to solve", "not solved"):
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
        "first_crash": None,
        "numbers": [],
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
    result = xortune(command, "--help", code=0)
    assert f"xortune {command} " in result.stdout.split("Example")[1]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_names_every_command_in_the_order_of_the_docs():
    result = xortune("--help", code=0)
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


# Each way to fail that one can think of: one message, an exit code of the README, no traceback.

ON_A_RUN = {
    "report": ("report", "run", "--format", "md,csv"),
    "certify": ("certify", "run", "--seeds", "4"),
    "compare": ("compare", "run", "other", "--seeds", "4"),
    "status": ("status", "run"),
    "export": ("export", "run"),
    "resume": ("search", "space.yaml", "--output", "run", "--resume", "--quiet"),
}


DIRECTORY = object()

DAMAGES = {
    "no such run": ("", None),
    "a file in its place": ("", b"a file"),
    "a directory without a run": ("", DIRECTORY),
    "manifest: removed": ("manifest.json", None),
    "manifest: empty": ("manifest.json", b""),
    "manifest: no JSON": ("manifest.json", b"{"),
    "manifest: a list": ("manifest.json", b"[]"),
    "manifest: no text": ("manifest.json", b"\xff\xfe\x00"),
    "manifest: deep": ("manifest.json", b"[" * 100_000),
    "manifest: words for trials": ("manifest.json", {"trials": "many"}),
    "manifest: a ladder of words": ("manifest.json", {"ladder": ["a"]}),
    "manifest: no ladder": ("manifest.json", {"ladder": None}),
    "manifest: a list for a name": ("manifest.json", {"name": ["a"]}),
    "manifest: a task that is not": ("manifest.json", {"task": "xro"}),
    "manifest: a number for a trainer": ("manifest.json", {"trainer": 3}),
    "journal: no JSON": ("evaluations.jsonl", b"{\n{\n"),
    "journal: no text": ("evaluations.jsonl", b"\xff\xfe\n\xff\n"),
    "journal: a list": ("evaluations.jsonl", b"[]\n[]\n"),
    "journal: other fields": ("evaluations.jsonl", b'{"a": 1}\n{"a": 1}\n'),
    "space: removed": ("space.yaml", None),
    "space: no YAML": ("space.yaml", b"{a: [\n"),
    "space: no text": ("space.yaml", b"\xff\xfe"),
    "space: a list": ("space.yaml", b"- a\n"),
    "space: empty": ("space.yaml", b""),
    "report: a directory": ("report.md", DIRECTORY),
    "table: a directory": ("table.csv", DIRECTORY),
    "figures: a file": ("figures", b""),
}


def put(path, content):
    """Replace a file or a directory by other content, fields of JSON, a directory or nothing."""
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content).encode()
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if content is DIRECTORY:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("command", ON_A_RUN)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run(command, damage, tmp_path):
    """0 and no error, or 2 and one; nothing else, whatever is wrong with the files."""
    name, content = DAMAGES[damage]
    put(tmp_path / "run" / name, content)
    result = xortune(*ON_A_RUN[command])
    assert result.exit_code in (0, 2), result.output
    assert result.stderr.count("error: ") == (result.exit_code == 2), result.stderr
    assert "unexpected error" not in result.stderr
    if damage.startswith(("no such", "a ", "journal")) and command != "resume":
        assert (result.exit_code, result.stdout) == (2, "")


REFUSED = """
space nowhere.yaml
space .
search
search /dev/null
search run/evaluations.jsonl
search LONG.yaml
search space.yaml --output space.yaml
search space.yaml --output space.yaml/run
search space.yaml --output LONG
search space.yaml --output /proc/run
search space.yaml --output /dev/full
search space.yaml --output ''
search space.yaml --output nowhere://run
search space.yaml --trials BIG
search space.yaml --seed BIG
search space.yaml --trial-timeout 0s
search space.yaml --address nowhere:0
evaluate NETWORK --epochs 10 --seeds BIG
evaluate NETWORK --epochs 10 --seeds 4 --first-seed 4294967295
evaluate NETWORK --epochs 10 --task .
evaluate NETWORK --epochs 10 --task run/evaluations.jsonl
evaluate NETWORK --epochs BIG
report LONG
report ''
report nowhere://run
report /dev/null
certify run --seeds BIG
certify run --confidence nan
certify run --engine steam
certify run --trainer nowhere.py:f
certify run --trainer space.yaml:f
certify run --trial-timeout never
certify run --address nowhere:0
compare run other#nothing
compare run other --output space.yaml
"""
NETWORK = "--activation Tanh --loss MSELoss --optimizer Adam --lr 0.03 --hidden-dim 5"


@pytest.mark.parametrize("words", REFUSED.strip().splitlines())
def test_what_cannot_be_is_refused(words):
    for name, text in {"LONG": "x" * 300, "BIG": "1" * 30, "NETWORK": NETWORK}.items():
        words = words.replace(name, text)
    result = xortune(*shlex.split(words))
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert "error" in result.stderr.lower()
    assert "unexpected error" not in result.stderr


FUNCTION = """name: own
trainer: ./own.py:run
success: "accuracy >= 0.9"
parameters:
  lr: {low: 0.01, high: 1.0}
search: {sampler: random, trials: 2}
seeds: {ladder: [2]}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("random", "bayes", ", ".join(one.name for one in SAMPLERS) + "; fix: use one of these"),
        ("trainer", "require: {rate: 90}\ntrainer", "below 1; fix: write 0.9 for 90 %"),
        ('success: "accuracy >= 0.9"', "objectives: [acc]", "fix: write for instance acc_mean"),
        ('success: "accuracy >= 0.9"', "objectives: [acc_q5]", "fix: write for instance acc_q05"),
        (":run", ":runs", "own has no function 'runs'; allowed: run; fix: did you mean 'run'?"),
    ],
)
def test_a_mistake_in_a_space_has_a_fix(tmp_path, old, new, words):
    (tmp_path / "own.py").write_text("def run(config, seed):\n    return {'accuracy': 1.0}\n")
    (tmp_path / "own.yaml").write_text(FUNCTION.replace(old, new))
    assert words in xortune("search", "own.yaml", "--workers", "0", code=2).stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("gate run", "allowed: one of --min-rate, --min-mean, --min and --max"),
        ("gate run --min-rate 95", "--min-rate: 95.0 is out of range"),
        ("gate run --min-rate 95", "fix: write 0.95 for 95 %"),
        ("plan", "allowed: one of --rate and --between"),
        ("evaluate --lr 0.1", "fix: give activation a value (or a range in a space), or name your"),
    ],
)
def test_a_mistake_on_the_command_line_has_a_fix(command, words):
    refused(xortune(*command.split()), words)


def test_ray_and_this_process_contradict_each_other():
    words = ("search", "space.yaml", "--workers", "0", "--ray", "--output", "new")
    assert "error: --ray: True; allowed: only where" in xortune(*words, code=2).stderr


def test_resuming_where_no_run_is_says_that_a_new_one_begins():
    words = ("search", "space.yaml", "--workers", "0", "--output", "new", "--resume")
    assert "new holds no run yet: a new one begins" in xortune(*words, code=0).stderr


def test_a_search_without_a_solved_seed_says_how_they_failed(tmp_path):
    tiny_run(tmp_path / "none", [solved(0, 0, 4, epochs=30)])
    shown = " ".join(xortune("report", "none", code=0).stdout.split())
    assert "No seed was solved by any configuration: 4 wrong pattern." in shown
