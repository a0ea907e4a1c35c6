from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from commands import xortune
from hand_made import CONFIG, done, solved, write_run

import xortune as xt
from xortune.evaluation_purpose import Purpose
from xortune.journal import Journal
from xortune.point import Point
from xortune.run import JOURNAL, load_run

SPACE = """
name: small
epochs: 300
parameters: {activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.03, hidden_dim: 5}
search: {sampler: random, trials: 1}
"""
FIRST = Point({**CONFIG, "epochs": 300, "lr": 0.05})
SECOND = Point({**CONFIG, "epochs": 300, "lr": 0.02})


@pytest.fixture
def run(tmp_path):
    lines = [
        done(0, FIRST, solved(0, 8, 8, epochs=300)),
        done(1, SECOND, solved(0, 6, 8, epochs=300)),
    ]
    return write_run(tmp_path / "run", lines, space_text=SPACE, trainer="network", task="xor")


def certified(run):
    """A certificate by which the second is better."""
    purpose = Purpose("certify", 1, FIRST.key, 1, 2, 50, 0.95, False, 8, 8)
    other = Purpose("certify", 1, SECOND.key, 2, 2, 50, 0.95, False, 6, 8)
    with Journal.open(run.path / JOURNAL) as journal:
        for point, k, reason in ((FIRST, 45, purpose), (SECOND, 50, other)):
            line = done(0, point, solved(2**30 + 2**29, k, 50, epochs=300))
            journal.append(replace(line, purpose=reason))
    xt.write_report(load_run(run.path))
    return load_run(run.path)


def test_the_script_trains_what_the_run_counted_and_knows_nothing_of_us(run, tmp_path):
    script = xt.export(run)
    assert "xortune" not in script
    imported = [
        n for n in ast.walk(ast.parse(script)) if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    names = {a.name for n in imported for a in n.names} | {
        getattr(n, "module", "") for n in imported
    }
    assert names <= {"torch", "nn", "", None}
    assert f"# Config {FIRST.key}, task xor: 8 of 8 seeds solved in the search.\n" in script
    assert "lr=0.05" in script
    path = tmp_path / "best.py"
    path.write_text(script)
    ran = subprocess.run(
        [sys.executable, "-I", str(path)], capture_output=True, text=True, check=True
    )
    same = xt.evaluate(xt.Config.from_point(FIRST), [0])
    assert json.loads(ran.stdout) == same.predictions[0].astype(int).tolist()


def test_the_command_prints_it_or_writes_it(run, tmp_path):
    result = xortune("export", run.path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == xt.export(run.path)
    path = tmp_path / "out.py"
    result = xortune("export", run.path, "--output", path)
    assert (result.exit_code, result.output) == (0, "")
    assert path.read_text() == xt.export(run)


def test_a_key_chooses_another(run):
    result = xortune("export", run.path, "--key", SECOND.key)
    assert "lr=0.02" in result.stdout
    result = xortune("export", run.path, "--key", SECOND.key[:-1])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --key: no configuration has the key")
    assert f"did you mean '{SECOND.key}'?" in result.stderr


def test_a_certified_run_gives_the_config_that_a_gate_would_pass(run):
    loaded = certified(run)
    assert loaded.best.lr == 0.05
    result = xortune("export", run.path)
    assert "lr=0.02" in result.stdout
    told = "# On fresh seeds from 1610612736: 50 of 50, so at least 91.6"
    assert told in result.stdout
    assert " % of all seeds (confidence 0.95).\n" in result.stdout
    assert f"the search's first was {FIRST.key}" in result.stderr
    assert xt.gate(loaded, min_rate=0.9).key == SECOND.key
    assert xortune("export", run.path, "--key", FIRST.key).stderr == ""


def test_held_out_rows_are_judged(tmp_path):
    table = tmp_path / "data.csv"
    rows = [f"{i % 2},{i // 2 % 2},{(i % 2) ^ (i // 2 % 2)},{int(i >= 8)}" for i in range(12)]
    table.write_text("a,b,y,test\n" + "\n".join(rows) + "\n")
    space = SPACE.replace("epochs", f"task: {{csv: {table}, target: y, held_out: test}}\nepochs", 1)
    run = write_run(
        tmp_path / "run",
        [done(0, FIRST, solved(0, 8, 8, epochs=300))],
        space_text=space,
        trainer="network",
    )
    script = xt.export(run)
    path = tmp_path / "best.py"
    path.write_text(script)
    ran = subprocess.run(
        [sys.executable, "-I", str(path)], capture_output=True, text=True, check=True
    )
    same = xt.evaluate(xt.Config.from_point(FIRST), [0], task=run.asked.task)
    assert json.loads(ran.stdout) == same.predictions[0].astype(int).tolist()
    assert len(json.loads(ran.stdout)) == 4
    table.write_text("a,b,y,test\n" + "\n".join(rows[1:]) + "\n")
    changed = write_run(
        tmp_path / "changed",
        [done(0, FIRST, solved(0, 8, 8, epochs=300))],
        space_text=space,
        trainer="network",
        task_fingerprint=run.asked.task.fingerprint,
    )
    with pytest.raises(xt.InputError, match="no longer what the run learned"):
        xt.export(changed)


def test_what_cannot_be_exported(tmp_path, run):
    other = write_run(tmp_path / "other", [done(0, {"x": 1}, solved(0, 1, 2))], trainer="function")
    with pytest.raises(xt.InputError, match="something else than the built-in network"):
        xt.export(other)
    empty = write_run(tmp_path / "empty", [], space_text=SPACE, trainer="network")
    with pytest.raises(xt.InputError, match="no configuration is finished"):
        xt.export(empty)
    result = xortune("export", run.path, "--output", tmp_path / "no" / "where.py")
    assert result.exit_code == 2
    assert "where.py: cannot be written" in result.stderr


def test_a_config_that_solves_nothing_says_so(tmp_path):
    lines = [done(0, FIRST, solved(3, 0, 2, epochs=300))]
    run = write_run(tmp_path / "none", lines, space_text=SPACE, trainer="network")
    assert "# Trains seed 3, which is not solved, and prints" in xt.export(run)
