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
from xortune.spaces.space import load_space

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


@pytest.mark.parametrize(
    ("program", "timeout", "ladder", "failed"),
    [
        (
            "run(config, seed):\n    while seed == 3: time.sleep(1)\n"
            "    if seed == 5: os._exit(0)\n    return True\n",
            *(1, 8, {3: "took longer than 1 s", 5: "ended its process (exit code 0)"}),
        ),
        (
            "run(config, seeds):\n    time.sleep(5 * (len(seeds) > 2))\n    return seeds >= 0\n",
            *(0.3, 3, dict.fromkeys(range(3), "took longer than 0.3 s for each of 3 seeds")),
        ),
    ],
)
def test_a_seed_has_its_time_and_many_at_once_that_of_all(folder, program, timeout, ladder, failed):
    """The process is killed then; the other seeds of a block are not concerned."""
    (folder / "slow.py").write_text(f"import os, time\n\ndef {program}")
    changes = {"parameters": {"x": 0}, "search": {"sampler": "grid"}, "seeds": {"ladder": [ladder]}}
    changes |= {"trainer": {"function": "./slow.py:run", "timeout": timeout}, "success": None}
    run = xt.search(written(folder, **changes), output=folder / "run")
    assert run.manifest["timeout"] == f"{timeout} s"
    [found] = run.results
    assert found.outcome.solved.tolist() == [seed not in failed for seed in range(ladder)]
    assert dict(found.outcome.details.failed) == failed


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
