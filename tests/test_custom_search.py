"""A user's own function, searched, certified, compared and reported; nothing of it is special."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import Block, OutOfTime
from xortune.driver.jobs import trained
from xortune.driver.own_process import OwnProcess, let_go_after
from xortune.spaces.space import load_space
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import Given

ENGINE = Path(__file__).parent / "engine"
pytestmark = pytest.mark.usefixtures("no_ray")

SPACE = {
    "name": "own",
    "trainer": "./seedy.py:luck",
    "success": "accuracy >= 0.6",
    "parameters": {"n_layers": {"low": 1, "high": 6}, "k": {"choice": [1, 5, 20]}},
    "search": {"sampler": "random", "trials": 4},
    "seeds": {"ladder": [20]},
}


@pytest.fixture
def folder(tmp_path):
    """A space file with its trainer beside it."""
    for name in ("seedy.py", "seedy_parts.py"):
        shutil.copy(ENGINE / name, tmp_path / name)
    return tmp_path


def written(folder, **changes):
    path = folder / "space.yaml"
    values = {name: part for name, part in {**SPACE, **changes}.items() if part is not None}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def xortune(*words):
    """What it prints may be a traceback: that of the user's function."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def other(config, seed):
    return seed < config["k"]


def plain_loop(config, seeds):
    """Statuses by a loop that knows nothing of xortune."""
    sys.path.insert(0, str(ENGINE))
    import seedy

    found = []
    for seed in seeds:
        try:
            accuracy = seedy.luck(dict(config), seed)["accuracy"]
        except RuntimeError:
            found.append("crashed")
            continue
        found.append("diverged" if np.isnan(accuracy) else "solved" if accuracy >= 0.6 else "no")
    return found


def test_a_search_from_the_command_line_to_the_gate(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    space, run = written(folder), folder / "run"
    result = xortune("space", space)
    assert "./seedy.py:luck, called with (config, seed)" in result.stdout
    result = xortune("search", space, "--output", run)
    assert result.exit_code == 0, result.output
    assert "note: check of seed 0 with n_layers=" in result.stderr
    first = result.stderr[result.stderr.index("the first failure") :]
    assert "Traceback (most recent call last):\n  File " in first
    assert "site-packages" not in first
    assert first.count("the first failure") == 1
    loaded = xt.load_run(run)
    assert not loaded.is_network
    assert loaded.parameters == ("n_layers", "k")
    seeds = loaded.seeds
    for found in loaded.results:
        wanted = plain_loop(found.point, range(20))
        rows = seeds[seeds.key == found.key]
        assert rows.seed.tolist() == list(range(20))
        status = [s if s in ("solved", "diverged", "crashed") else "no" for s in rows.status]
        assert status == wanted
        assert found.outcome.successes == wanted.count("solved")
    table = (run / "table.csv").read_text().splitlines()
    assert table[0].startswith("n_layers,param_k,key,k,n,rate,low,high,epochs_to_solve,trials")
    result = xortune("certify", run, "--seeds", 30, "--top", 1)
    assert result.exit_code == 0, result.output
    best = xt.load_run(run).certificate.best
    fresh = plain_loop(best.point, range(best.first, best.first + 30))
    assert best.k == fresh.count("solved")
    assert xortune("gate", run, "--min-rate", 0.01).exit_code == 0
    for words in (("report", run), ("status", run), ("compare", run, run)):
        assert xortune(*words).exit_code in (0, 2), words
    result = xortune("export", run)
    assert result.exit_code == 2
    wanted = json.dumps(dict(best.point))
    assert f"its own function is the script; the config is {wanted}" in result.stderr


def test_a_search_for_the_worst_decile(folder, monkeypatch):
    """By a class that reports: what is best, kept and told is as by a plain loop."""
    monkeypatch.setenv("COLUMNS", "200")
    (folder / "kept.py").write_text(
        "import seedy\n\nclass Trainer:\n    def __init__(self, config):\n"
        "        self.config = config\n    def run(self, seed, report):\n"
        "        report({'loss': 1.0 + seed})\n"
        "        return {'accuracy': seedy.luck(self.config, seed)['accuracy']}\n"
    )
    goals = [{"name": "accuracy_q40"}]
    more = {"objectives": goals, "seeds": {"ladder": [5, 20]}, "trainer": "./kept.py:Trainer"}
    more["search"] = {"sampler": "tpe", "trials": 8}
    space = written(folder, **more)
    result = xortune("space", space)
    assert "a class, whose run is called with seed, report" in result.stdout
    assert "accuracy_q40 (maximize, a failed seed counts as worse than any number)" in result.stdout
    result = xortune("search", space, "--output", folder / "run")
    assert result.exit_code == 0, result.output
    run = xt.load_run(folder / "run")
    worth = {}
    for found in run.results:
        numbers = accuracies(found.point, found.outcome.n)
        worth[found.key] = quantile(numbers, 0.4)
    table = run.table.set_index("key")
    for key, value in worth.items():
        told = table.objective[key]
        assert told == pytest.approx(value) if np.isfinite(value) else np.isnan(told)
    full = [found.key for found in run.results if found.outcome.n >= 20]
    assert full
    assert [found.key for found in run.results][: len(full)] == full
    assert [worth[key] for key in full] == sorted((worth[key] for key in full), reverse=True)
    seeds = run.seeds
    assert (seeds.reports == 1).all()
    assert (seeds.loss == seeds.seed + 1.0).all()  # of failed seeds too
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert "The objective, accuracy_q40 (more is better)" in report


def accuracies(config, count):
    """Of a plain loop; -inf where a seed failed."""
    sys.path.insert(0, str(ENGINE))
    import seedy

    found = []
    for seed in range(count):
        try:
            accuracy = seedy.luck(dict(config), seed)["accuracy"]
        except RuntimeError:
            accuracy = np.nan
        found.append(-np.inf if np.isnan(accuracy) else accuracy)
    return found


def quantile(numbers, share):
    """By hand: between a failed seed and another one it is failed."""
    place = (len(numbers) - 1) * share
    low, high = (sorted(numbers)[int(f(place))] for f in (np.floor, np.ceil))
    return -np.inf if np.isinf(low) else low + (high - low) * (place % 1)


def test_a_changed_file_is_noticed(folder):
    space, run = written(folder), folder / "run"
    xt.search(space, output=run, trials=2)
    xt.search(space, output=run, trials=3, resume=True)
    parts = folder / "seedy_parts.py"
    parts.write_text(parts.read_text() + "# changed\n")
    with pytest.raises(xt.InputError, match=r"not what made the run:\n  source: \w+ -> \w+"):
        xt.search(space, output=run, trials=4, resume=True)
    parts.write_text("raise SystemExit('imported')\n")
    with pytest.raises(xt.InputError, match="not the one that trained the run"):
        xt.certify(run, top=1, seeds=10)


def test_fail_fast_ends_the_search_and_resume_goes_on(folder):
    space, run = written(folder), folder / "run"
    result = xortune("search", space, "--output", run, "--fail-fast", "--trials", 30)
    assert result.exit_code == 4, result.output
    assert "stopped: " in result.stderr
    assert (run / "report.html").exists()
    done = len(xt.load_run(run).evaluations)
    assert 0 < done < 30
    assert xt.load_run(run).manifest["complete"] is False
    result = xortune("search", space, "--output", run, "--trials", 30, "--resume", "--quiet")
    assert result.exit_code == 0, result.output
    assert sum(found.trials for found in xt.load_run(run).results) == 30


def test_a_function_given_from_python(folder):
    space = written(folder, trainer=None, success=None)

    def luck(config, seed):
        return (seed + config["n_layers"]) % 3 > 0

    run = xt.search(space, train=luck, output=folder / "run")
    for found in run.results:
        wanted = sum((seed + found.point["n_layers"]) % 3 > 0 for seed in range(20))
        assert found.outcome.successes == wanted
    with pytest.raises(xt.InputError, match="give it again: train="):
        xt.certify(run, top=1, seeds=12)
    assert xt.certify(run, top=1, seeds=12, train=luck).best.k == 8
    with pytest.raises(xt.InputError, match="not the one that trained the run"):
        xt.certify(run, top=1, seeds=12, train=other)
    two = [run, f"{run.path}#{run.results[1].key}"]
    with pytest.raises(xt.InputError, match="give it again: train="):
        xt.compare(two, seeds=30, output=folder / "compared")
    found = xt.compare(two, output=folder / "compared", train=luck, seeds=30)
    assert [one.outcome.successes for one in found.contestants] == [20, 20]
    again = xt.compare(two, seeds=30, output=folder / "compared", train=[luck, luck])
    assert again.pairs == found.pairs
    with pytest.raises(xt.InputError, match="1 functions for 2 configurations"):
        xt.compare(two, seeds=30, train=[luck])
    with pytest.raises(xt.InputError, match="given together with trainer"):
        xt.compare(two, seeds=30, train=luck, trainer=luck)
    with pytest.raises(xt.InputError, match="not the one that trained the run"):
        xt.compare(two, seeds=30, train=[luck, other], output=folder / "compared")


def test_the_command_line_names_the_function_of_a_run_from_python(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "mine.py").write_text("def run(config, seed):\n    return seed % 4 > 0\n")
    monkeypatch.syspath_prepend(folder)
    import mine

    run = xt.search(written(folder, trainer=None, success=None), train=mine.run, output="run")
    two = [run.path, f"{run.path}#{run.results[1].key}"]
    result = xortune("compare", *two, "--seeds", 40)
    assert result.exit_code == 2
    assert "--trainer ./train.py:run" in result.stderr
    found = xortune("compare", *two, "--seeds", 40, "--trainer", "./mine.py:run", "--json")
    assert found.exit_code == 0, found.output
    assert [pair["k_a"] for pair in json.loads(found.stdout)["pairs"]] == [30]
    result = xortune("certify", run.path, "--seeds", 8, "--top", 1, "--trainer", "mine:run")
    assert result.exit_code == 0, result.output
    assert xt.load_run(run.path).certificate.best.k == 6
    result = xortune("compare", *two, "--trainer", "./mine.py:run", "--no-train")
    assert "--trainer: with --no-train" in result.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "xor"}, r"space.yaml:[0-9]+: task: means nothing with a function of your own"),
        ({"epochs": 3}, r"epochs: means nothing .* write epochs below parameters"),
        ({"success": "accuracy"}, r"space.yaml:3: success: 'accuracy' is not a rule"),
        ({"trainer": "./none.py:luck"}, r"space.yaml:2: trainer: there is no file"),
        ({"trainer": "./seedy.py:luk"}, r"seedy has no function 'luk'"),
        ({"objectives": ["success_rate", "epochs_to_solve"]}, "epochs_to_solve is not known"),
        ({"trainer": None}, "success: a rule for success, but no trainer"),
        ({"objectives": ["acuracy_q10"]}, "acuracy_q10 without a direction"),
        (
            {"objectives": [{"name": "acuracy_q10", "direction": "maximize"}]},
            "'acuracy', which was not returned; .*did you mean 'accuracy'",
        ),
        (
            {"success": None},
            r"no rule says what a success is; .*add `success: \"accuracy >= 0\.9\"` to",
        ),
        ({"success": "acuracy >= 0.9"}, "did you mean 'accuracy'"),
        ({"trainer": "./seedy.py:broken"}, r"(?s)KeyError: 'lr'.*dry_run=False\nTraceback"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(folder, changes, words):
    path = written(folder, **changes)
    with pytest.raises(xt.InputError, match=words):
        xt.search(path, output=folder / "run")
    assert not (folder / "run").exists()


MANY = """
import numpy as np

def first(config, seeds):  # a generator for all
    rng = np.random.default_rng(seeds[0])
    return {"accuracy": rng.random(len(seeds))}

def first_verdict(config, seeds):
    return first(config, seeds)["accuracy"] > 0.5

def shared(config, seeds):  # as a normalisation over all seeds does
    x = own(config, seeds)["accuracy"]
    return {"accuracy": x - x.mean()}

def own(config, seeds):
    x = np.array([np.random.default_rng(s).random() for s in seeds])
    rounded = 1 + 1e-6 * len(seeds)
    return {"accuracy": rounded * x, "seconds": np.full(len(seeds), float(len(seeds)))}

def own_verdict(config, seeds):
    return own(config, seeds)["accuracy"] > 0.5
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "first",
            r"for seeds 0 and 1 at once, seed 1 comes to accuracy 0\.26\d*, and called for alone ",
        ),
        (
            "first_verdict",
            "at once, seed [0-9]+ comes to (solved|wrong_pattern), and called for alone",
        ),
        ("shared", "comes to accuracy .*default_rng.* for s in seeds"),
        ("own", None),
        ("own_verdict", None),
    ],
)
def test_seeds_at_once_must_come_to_what_each_comes_to_alone(folder, name, words):
    """By what is counted, and to rounding."""
    (folder / "many.py").write_text(MANY)
    success = None if "verdict" in name else "accuracy >= 0.6"
    path = written(folder, trainer=f"./many.py:{name}", success=success)
    if words is None:
        assert xt.search(path, output=folder / "run", trials=1).results
        return
    with pytest.raises(xt.InputError, match=words):
        xt.search(path, output=folder / "run")
    assert not (folder / "run").exists()


def test_what_is_printed_or_raised_without_end_is_kept_in_part(folder, capfd):
    """A seed that prints or raises much, and what is left of it on the terminal and in the run."""
    (folder / "much.py").write_text(
        "import sys\n\ndef run(config, seed):\n    print('begin', 'x' * 10**7, 'end')\n"
        "    print('x' * 10**7, file=sys.stderr)\n"
        "    if seed: raise ValueError('first ' + 'm' * 10**7 + ' last')\n    return True\n"
    )
    changes = {"parameters": {"x": 0}, "search": {"sampler": "grid"}, "seeds": {"ladder": [2]}}
    run = xt.search(
        written(folder, **changes, trainer="./much.py:run", success=None), output=folder / "run"
    )
    printed = capfd.readouterr().err
    assert len(printed) < 100_000
    assert "begin xxx" in printed
    assert "(19,9" in printed
    assert "characters left out) ..." in printed
    reason = run.seeds.reason[1]
    assert reason.startswith("ValueError: first mmm")
    assert reason.endswith("mmm last")
    assert "characters left out" in reason
    assert len(reason) <= 500
    size = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    assert size < 10**7


def test_a_seed_of_a_plain_function_has_its_time(folder):
    """Its process is killed then; the other seeds of its block are not concerned."""
    (folder / "slow.py").write_text(
        "import os, time\n\ndef run(config, seed):\n    while seed == 3: time.sleep(1)\n"
        "    if seed == 5: os._exit(0)\n    return seed % 2 == 0\n"
    )
    changes = {"parameters": {"x": 0}, "search": {"sampler": "grid"}, "seeds": {"ladder": [8]}}
    changes |= {"trainer": {"function": "./slow.py:run", "timeout": 1}, "success": None}
    run = xt.search(written(folder, **changes), output=folder / "run")
    assert run.manifest["timeout"] == "1 s"
    [found] = run.results
    assert found.outcome.solved.tolist() == [seed % 2 == 0 for seed in range(8)]
    reasons = {3: "took longer than 1 s", 5: "ended its process (exit code 0)"}
    assert dict(found.outcome.details.failed) == reasons


def test_all_seeds_at_once_have_the_time_of_all(folder):
    (folder / "slow.py").write_text(
        "import time\n\ndef run(config, seeds):\n    time.sleep(config['x'] * len(seeds))\n"
        "    return seeds >= 0\n"
    )
    changes = {"parameters": {"x": {"choice": [0, 5]}}, "search": {"sampler": "grid"}}
    changes |= {"trainer": {"function": "./slow.py:run", "timeout": 1}, "success": None}
    run = xt.search(written(folder, **changes, seeds={"ladder": [2]}), output=folder / "run")
    assert {r.point["x"]: r.outcome.successes for r in run.results} == {0: 2, 5: 0}
    assert run.seeds.reason.dropna().unique() == ["took longer than 1 s for each of 2 seeds"]


def test_train_and_what_the_space_says_must_go_together(folder):
    with pytest.raises(xt.InputError, match="train= is given too"):
        xt.search(written(folder), train=len)
    path = written(folder, trainer=None, task="xor", success=None)
    with pytest.raises(xt.InputError, match="task: means nothing"):
        xt.search(path, train=other)
    with pytest.raises(xt.InputError, match="an engine only for the built-in network"):
        xt.search(written(folder), engine="fused")


def test_loading_a_run_or_a_space_never_imports_the_trainer(folder):
    space, run = written(folder), folder / "run"
    xt.search(space, output=run, trials=1)
    (folder / "seedy.py").write_text("raise SystemExit('imported')\n")
    assert load_space(space).trainer == "./seedy.py:luck"
    loaded = xt.load_run(run)
    assert loaded.asked.trainer == "./seedy.py:luck"
    xt.write_report(loaded)
    for words in (("report", run), ("status", run)):
        assert xortune(*words).exit_code == 0
    assert Status.CRASHED.label in loaded.table.columns


def erratic(config, seed):
    """A larger x is better and slower; every fourth seed raises, every fifth has no number."""
    if seed % 4 == 3:
        raise ValueError(f"no luck with {config['x']}")
    accuracy = float("nan") if seed % 5 == 4 else config["x"] / 10
    return {"accuracy": accuracy, "steps": config["x"]}


ERRATIC = {
    "name": "erratic",
    "parameters": {"x": {"choice": [1, 2, 3, 4]}},
    "success": "accuracy >= 0.3",
    "objectives": [{"name": "steps_q50", "direction": "minimize"}],
    "search": {"sampler": "grid"},
    "seeds": {"ladder": [8]},
}


def test_status_counts_the_seeds_that_failed_and_names_the_leader_of_the_table(tmp_path):
    run = xt.search(ERRATIC, train=erratic, output=tmp_path / "run")
    found = json.loads(xortune("status", run.path, "--json").stdout)
    ended = run.seeds.status.value_counts()
    assert (found["crashed_seeds"], found["diverged_seeds"]) == (ended.crashed, ended.diverged)
    assert (ended.crashed, ended.diverged) == (4 * 2, 4 * 1)
    assert (found["crashed"], found["without_outcome"]) == (4, 0)  # evaluations
    assert found["last_error"].startswith("ValueError: no luck with")
    shown = " ".join(xortune("status", run.path).stdout.split())
    assert (
        "failures 8 seeds crashed in 4 evaluations, 4 seeds diverged; the last: ValueError" in shown
    )
    # x = 4 solves more seeds; the objective decides.
    first = (run.path / "table.csv").read_text().splitlines()[1]
    assert found["best"]["config"] == {"x": 1}
    assert f",{found['best']['key']}," in first


def test_the_blocks_of_a_batch_are_one_request_to_the_process_of_their_function(monkeypatch):
    asked, answer = [], OwnProcess._answer
    monkeypatch.setattr(
        OwnProcess, "_answer", lambda *given: asked.append(given[1]) or answer(*given)
    )
    trainer = custom_trainer(Given("erratic", erratic, "d"), parse_success("accuracy >= 0.3"))
    blocks = [Block(Point({"x": x}), first, 4) for x in (1, 2, 3) for first in (0, 4)]
    with let_go_after():
        found = trained(trainer, blocks, apart=True)
        over = trained(trainer, blocks[:2], apart=True, until=0.0)
    assert asked == ["trainer", "train"]
    here = trained(trainer, blocks)
    assert [(o.data, o.details.failed) for o in found] == [(o.data, o.details.failed) for o in here]
    assert [type(one) for one in over] == [OutOfTime, OutOfTime]
