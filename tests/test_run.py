"""The run directory: made, found and loaded, and what follows from its journal."""

import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hand_made import (
    CONFIG,
    RIGHT,
    TINY_SPACE,
    WRONG,
    ZERO,
    done,
    failed,
    outcome,
    solved,
    write_run,
)
from pyarrow import parquet

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.reports.files import write_report
from xortune.runs.manifest import update_manifest
from xortune.runs.run import (
    Run,
    create,
    fresh_directory,
    holds_run,
    load_run,
    refuse_files_of_others,
)


def test_create_then_load(tmp_path):
    path = create(tmp_path / "a" / "b", space_text="name: é\n", manifest={"seed": 1})
    assert (path / "space.yaml").read_text(encoding="utf-8") == "name: é\n"
    assert not holds_run(path)
    run = load_run(str(path))
    assert run.manifest == {"format": 1, "seed": 1}
    assert (len(run.evaluations), len(run.results)) == (0, 0)
    assert sorted(p.name for p in path.iterdir()) == ["manifest.json", "space.yaml"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a\\b", "nul\0"])
def test_hostile_directory_names(tmp_path, name):
    with pytest.raises(InputError, match="not a directory name"):
        fresh_directory(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_update_manifest_keeps_the_rest(tmp_path):
    create(tmp_path, space_text="", manifest={"a": 1, "b": 2})
    update_manifest(tmp_path, b=3, c={"d": None})
    assert load_run(tmp_path).manifest == {"format": 1, "a": 1, "b": 3, "c": {"d": None}}
    for found in (2, "1", None):
        (tmp_path / "manifest.json").write_text(json.dumps({"format": found}))
        with pytest.raises(InputError, match=r"manifest.json: format: has the .*a newer one"):
            load_run(tmp_path)


def test_load_from_the_journal_alone(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))])
    for name in ("space.yaml", "manifest.json"):
        (run.path / name).unlink()
    assert load_run(run.path).table["k"].tolist() == [1]
    with pytest.raises(InputError, match=r"space\.yaml: cannot be read"):
        _ = load_run(run.path).space_text


def test_blocks_that_contradict_each_other(tmp_path):
    lines = done(0, CONFIG, solved(0, 1, 2)), done(0, CONFIG, solved(2, 1, 2, epochs=9))
    with pytest.raises(InputError, match=rf"{Point(CONFIG).key}: blocks of different epochs"):
        _ = Run(tmp_path, {}, lines).results


def test_the_order_is_bound_then_epochs_then_key_and_each_proposal_counts_once(tmp_path):
    outcomes = {
        "none": solved(0, 0, 8),
        "zilch": solved(0, 0, 99),
        "uncounted": solved(0, 8, 8, epochs=0),  # of a user's trainer
        "small": solved(0, 8, 8),
        "twin": solved(0, 8, 8),
        "slow": solved(0, 8, 8, epoch=301),
        "large": solved(0, 100, 100),
    }
    lines = [done(i, {"p": name}, found) for i, (name, found) in enumerate(outcomes.items())]
    lines.append(done(7, {"p": "large"}, solved(200, 50, 50)))
    lines.append(done(6, {"p": "large"}, solved(100, 99, 100)))
    lines.append(failed(8, {"p": "slow"}, 8, 4, final=False))  # it is tried again
    results = Run(tmp_path, {}, tuple(lines)).results
    twins, hopeless = (
        sorted(names, key=lambda name: Point({"p": name}).key)
        for names in (["small", "twin"], ["none", "zilch"])
    )
    order = [result.point["p"] for result in results]
    assert order == ["large", *twins, "slow", "uncounted", *hopeless]
    trials = {result.point["p"]: result.trials for result in results}
    assert trials == dict.fromkeys(outcomes, 1) | {"large": 2}


def test_values_keep_their_type(tmp_path):
    values = {
        "whole": [1, 2],
        "huge": [2**70, 1],
        "real": [1, 0.5],
        "flag": [True, False],
        "mixed": [1, "1"],
        "yes": [True, 1],
        "null": [None, None],
        "half": [None, 3],
    }
    points = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    lines = [done(i, point, solved(0, 2 - i, 2)) for i, point in enumerate(points)]
    run = write_run(tmp_path / "r", lines)
    write_report(run)
    table = parquet.read_table(run.path / "table.parquet")
    found = {name: table[name].to_pylist() for name in values}
    texts = {"mixed": ["1", "1"], "yes": ["true", "1"]}
    assert found == values | {"huge": [float(2**70), 1.0]} | texts
    assert found["flag"][0] is True


def test_an_objective_that_no_seed_has_is_an_empty_column(tmp_path):
    goal = {"number": "steps", "statistic": "q50", "name": "steps_q50", "direction": "minimize"}
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))], objectives=[goal])
    assert run.table["objective"].isna().tolist() == [True]


TOLD = ("key", "seed", "solved", "status", "solved_epoch", "pattern", "reason")


def test_the_seeds_file(tmp_path):
    run = write_run(
        tmp_path / "r",
        [
            done(0, {"x": 1}, outcome(3, [RIGHT, WRONG, ZERO], diverged=[2])),
            failed(0, {"x": 1}, 0, 1),
            done(1, {"x": 2}, solved(0, 2, 2)),
        ],
    )
    write_report(run)
    table = parquet.read_table(run.path / "seeds.parquet")
    assert table.column_names == [*TOLD[:5], "final_loss", *TOLD[5:]]
    one, two = Point({"x": 1}).key, Point({"x": 2}).key
    *rows, losses = (table[name].to_pylist() for name in (*TOLD, "final_loss"))
    assert list(zip(*rows, strict=True)) == [
        (two, 0, True, "solved", 300, "0110", None),
        (two, 1, True, "solved", 300, "0110", None),
        (one, 0, False, "crashed", None, None, "it broke"),
        (one, 3, True, "solved", 300, "0110", None),
        (one, 4, False, "wrong_pattern", None, "0111", None),
        (one, 5, False, "diverged", None, "0000", None),
    ]
    np.testing.assert_array_equal(losses, [0, 1, np.nan, 0, 0.5, 1])
    frame = run.seeds
    assert frame["solved_epoch"].dtype == "Int32"
    assert frame["pattern"].isna().tolist() == [False, False, True, False, False, False]


def test_a_journal_with_a_torn_line_alone_holds_no_run(tmp_path):
    made = "0" * 8  # what says that a manifest is a run's
    create(tmp_path, space_text="", manifest={"made": {made: {}}, "sessions": [{"made": made}]})
    (tmp_path / "evaluations.jsonl").write_text('{"proposal":0,')
    assert not holds_run(tmp_path)
    refuse_files_of_others(tmp_path)


def test_what_was_asked_finds_the_files_of_the_original_space(tmp_path):
    (tmp_path / "data.csv").write_text("a,b,y\n0,1,1\n1,1,0\n")
    text, place = f"task: {{csv: data.csv}}{TINY_SPACE}", str(tmp_path / "space.yaml")
    run = write_run(tmp_path / "runs" / "r", [], space_text=text, space_file=place)
    assert run.asked.name == "tiny"
    assert run.asked.task.inputs.tolist() == [[0, 1], [1, 1]]


DERIVED = [f"{name}.parquet" for name in ("table", "seeds")]
DERIVED += ["table.csv", "table.tex", "report.html", "report.md"]


POINTS = [CONFIG | {"lr": 0.01 * 2**number} for number in range(6)]
LINES = [done(i, point, solved(0, i, 8)) for i, point in enumerate(POINTS)]
LINES += [done(i, point, solved(8, 2 * i, 24)) for i, point in enumerate(POINTS)]


def test_derived_files_are_rebuilt_the_same(tmp_path):
    run = write_run(tmp_path / "r", LINES, trainer="network", task="xor", ladder=[8, 32])
    write_report(run)
    figures = [f"figures/{path.name}" for path in (run.path / "figures").iterdir()]
    assert "figures/ranking.svg" in figures
    first = {name: (run.path / name).read_bytes() for name in [*DERIVED, *figures]}
    for name in first:
        (run.path / name).unlink()
    write_report(load_run(run.path))
    assert {name: (run.path / name).read_bytes() for name in first} == first
    assert sorted(p.name for p in run.path.iterdir()) == sorted(
        [*DERIVED, "figures", "evaluations.jsonl", "manifest.json", "space.yaml"]
    )


@pytest.mark.parametrize("trainer", ["network", "function"])
def test_no_config_still_gives_files(tmp_path, trainer):
    run = write_run(tmp_path / "r", [], trainer=trainer)
    write_report(run)
    header = (run.path / "table.csv").read_text()
    assert header.count("\n") == 1
    assert "key,k,n,rate,low,high,epochs_to_solve,trials" in header
    assert len(pd.read_parquet(run.path / "table.parquet")) == 0
    assert len(pd.read_parquet(run.path / "seeds.parquet")) == 0
    assert len(run.seeds) == 0


def test_figures_are_not_written_to_where_a_link_leads(tmp_path):
    run = write_run(tmp_path / "r", LINES)
    (tmp_path / "elsewhere").mkdir()
    (run.path / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="figures: is a symbolic link"):
        write_report(run)
    assert list((tmp_path / "elsewhere").iterdir()) == []


KILLED = """
import os, signal, sys
os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["xortune", "report", sys.argv[1]]
from xortune.cli import main
main()
"""


def test_a_report_that_is_killed_as_it_writes_leaves_nothing_behind(tmp_path):
    run = write_run(tmp_path / "r", LINES, trainer="network", task="xor", ladder=[8, 32])
    before = sorted(run.path.rglob("*"))
    killed = subprocess.run([sys.executable, "-c", KILLED, run.path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path for path in sorted(run.path.rglob("*")) if path.is_file()] == before
