"""docs/own-trainer.md tells the truth: its program is run as printed, from an empty folder."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.core.outcome import Status
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import Block
from xortune.spaces.space import parse_space
from xortune.trainers.function import custom_trainer
from xortune.trainers.source import named_source

PAGE = (Path(__file__).parents[1] / "docs" / "own-trainer.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.long
def test_the_page_works_as_printed(tmp_path, capsys):
    program, again, *_ = blocks("python")
    space, _ = blocks("yaml")
    [commands] = blocks("sh")
    (tmp_path / "train.py").write_text(program)
    (tmp_path / "space.yaml").write_text(space)
    with contextlib.chdir(tmp_path):
        for command in commands.splitlines():
            result = CliRunner().invoke(app, shlex.split(command)[1:])
            assert result.exit_code == 0, result.output
            assert "the first failure" not in result.stderr
        exec(compile(again, "own-trainer.md", "exec"), {})
    sys.path.remove(str(tmp_path))
    printed = capsys.readouterr().out
    assert "accuracy_q10" in printed
    run = xt.load_run(tmp_path / "runs" / "moons")
    scope: dict = {}
    exec(compile(program, "train.py", "exec"), scope)
    for found in run.results[:3]:
        alone = [scope["run"](dict(found.point), seed)["accuracy"] for seed in range(10)]
        assert (found.outcome.solved[:10] == [accuracy >= 0.95 for accuracy in alone]).all()
    assert len({found.outcome.rate for found in run.results}) > 1  # the example tells something
    seeds = pd.read_parquet(run.path / "seeds.parquet")
    assert {"accuracy", "largest weight"} <= set(seeds.columns)
    assert run.certificate.best.n == 200


def test_the_columns_named_are_there(tmp_path):
    (tmp_path / "train.py").write_text("def run(config, seed):\n    return {'accuracy': seed}\n")
    space = "name: a\ntrainer: ./train.py:run\nsuccess: accuracy >= 5\nparameters: {x: 1}\n"
    (tmp_path / "s.yaml").write_text(
        space + "search: {sampler: grid}\nseeds: {ladder: [10]}\n", encoding="utf-8"
    )
    table = xt.search(tmp_path / "s.yaml", output=tmp_path / "run").table
    named = set(re.findall(r"`(accuracy_\w+)`", PAGE))
    assert len(named) == 6
    assert named <= set(table.columns)
    assert table.epochs_to_solve.isna().all()


@pytest.mark.parametrize(
    ("name", "words", "numbers"),
    [
        ("Trainer", "config: a class, whose run is called with seed", {"accuracy"}),
        ("stepwise", "config, seed: a generator", {"accuracy", "step", "reports"}),
        ("reporting", "config, seed, report", {"accuracy", "step", "reports"}),
    ],
)
def test_the_other_forms_are_called_as_it_says(tmp_path, name, words, numbers):
    _, _, *others = blocks("python")
    (tmp_path / "forms.py").write_text("\n\n".join(others))
    rule = None if name == "reporting" else parse_success("accuracy > 0.9")
    trainer = custom_trainer(named_source(f"./forms.py:{name}", tmp_path), rule)
    sys.modules.pop("forms", None)
    assert trainer.form.words == words
    outcome = trainer.train([Block(Point({"lr": 0.3}), 0, 9)])[0]
    assert set(outcome.details.values) == numbers
    assert 0 < outcome.successes < 9
    assert outcome.counts[Status.CRASHED] == 0
    if name != "Trainer":
        assert outcome.solved.tolist() == [seed % 3 > 0 for seed in range(9)]
        assert set(outcome.details.values["reports"]) == {20}


def test_each_objective_of_the_page_is_one():
    _, page = blocks("yaml")
    lines = page.splitlines()
    assert len(lines) == 3
    space = "name: a\ntrainer: ./t.py:run\nsuccess: accuracy > 0.9\nparameters: {x: 1}\n"
    found = [
        parse_space(f"{space}search: {{sampler: grid}}\n{line}\n").objectives[0] for line in lines
    ]
    assert [(o.name, o.maximize, o.failed) for o in found] == [
        ("accuracy_q10", True, None),
        ("loss_mean", False, None),
        ("accuracy_mean", True, 0.0),
    ]
