"""The run directory: made, found and loaded, and what follows from its journal."""

import json
import random

import numpy as np
import pandas as pd
import pytest
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run
from pyarrow import parquet

from xortune.core.config import Config
from xortune.core.counts import wilson
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.reports.files import write_report
from xortune.runs.evaluation import Evaluation
from xortune.runs.manifest import update_manifest
from xortune.runs.results import column_names
from xortune.runs.run import Run, create, fresh_directory, holds_run, load_run


def run_of(path, *evaluations, **manifest):
    return Run(path, manifest, tuple(evaluations))


BEGUN = {"made": {}, "sessions": []}
"""What says that a manifest is a run's."""


def test_create_then_load(tmp_path):
    path = create(tmp_path / "a" / "b", space_text="name: é\n", manifest={"seed": 1})
    assert (path / "space.yaml").read_text(encoding="utf-8") == "name: é\n"
    assert not holds_run(path)
    run = load_run(str(path))
    assert run.manifest == {"format": 1, "seed": 1}
    assert (len(run.evaluations), len(run.results)) == (0, 0)
    assert sorted(p.name for p in path.iterdir()) == ["manifest.json", "space.yaml"]


def test_create_again_is_for_an_unused_directory_only(tmp_path):
    write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))])
    assert holds_run(tmp_path / "r")
    with pytest.raises(InputError, match="resume=True"):
        create(tmp_path / "r", space_text="", manifest={})
    create(tmp_path / "empty", space_text="1", manifest=BEGUN)
    create(tmp_path / "empty", space_text="2", manifest=BEGUN)
    assert (tmp_path / "empty" / "space.yaml").read_text() == "2"


@pytest.mark.parametrize("name", ["file/below", "file", "nul\0"])
def test_create_where_nothing_can_be_written(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        create(tmp_path / name, space_text="", manifest={})


def test_fresh_directories(tmp_path):
    names = [fresh_directory(tmp_path / "runs", "xor").name for _ in range(3)]
    assert names == ["xor", "xor-2", "xor-3"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a\\b", "nul\0"])
def test_hostile_directory_names(tmp_path, name):
    with pytest.raises(InputError, match="not a directory name"):
        fresh_directory(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_fresh_directory_below_a_file(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(InputError):
        fresh_directory(tmp_path / "runs", "xor")


def test_update_manifest_keeps_the_rest(tmp_path):
    create(tmp_path, space_text="", manifest={"a": 1, "b": 2})
    update_manifest(tmp_path, b=3, c={"d": None})
    assert load_run(tmp_path).manifest == {"format": 1, "a": 1, "b": 3, "c": {"d": None}}
    for found in (2, "1", None):
        (tmp_path / "manifest.json").write_text(json.dumps({"format": found}))
        with pytest.raises(
            InputError, match=r"manifest.json: format: has the format .*a newer one"
        ):
            load_run(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 1', "\xff"])
def test_a_damaged_manifest(tmp_path, text):
    create(tmp_path, space_text="", manifest={})
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"manifest\.json"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["", "none", "file", "nul\0"])
def test_load_where_there_is_no_run(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"holds no run|is not a directory"):
        load_run(tmp_path / name)


def test_load_from_the_journal_alone(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))])
    for name in ("space.yaml", "manifest.json"):
        (run.path / name).unlink()
    assert load_run(run.path).table["k"].tolist() == [1]
    with pytest.raises(InputError, match=r"space\.yaml: cannot be read"):
        _ = load_run(run.path).space_text


def test_blocks_of_a_config_become_one_result(tmp_path):
    run = run_of(
        tmp_path,
        done(5, CONFIG, solved(4, 3, 4)),
        done(0, CONFIG, solved(0, 1, 4)),
        failed(5, CONFIG, 8, 2, final=False),
        failed(5, CONFIG, 8, 2),
    )
    (result,) = run.results
    assert result.key == Point(CONFIG).key
    assert result.trials == 2
    assert result.outcome.seeds.tolist() == list(range(10))
    assert result.outcome.successes == 4
    assert [int(n) for n in result.outcome.counts.values()] == [4, 4, 0, 0, 0, 2]
    assert result.outcome.patterns[-3:] == ["0111", "", ""]
    # 4 solved at epoch 300, 6 failures at the full 1,000
    assert result.outcome.epochs_to_solve == (4 * 300 + 6 * 1000) / 4


def test_a_config_that_only_crashed_counts(tmp_path):
    run = run_of(tmp_path, failed(0, CONFIG, 0, 3), failed(1, {"x": 1}, 0, 3, final=False))
    (result,) = run.results
    assert (result.outcome.n, result.outcome.successes, result.outcome.epochs) == (3, 0, 1000)
    assert run.table["crashed"].tolist() == [3]


def test_blocks_that_contradict_each_other(tmp_path):
    run = run_of(
        tmp_path, done(0, CONFIG, solved(0, 1, 2)), done(0, CONFIG, solved(2, 1, 2, epochs=9))
    )
    with pytest.raises(InputError, match=rf"{Point(CONFIG).key}: blocks of different epochs"):
        _ = run.results


def test_the_order_is_bound_then_epochs_then_key(tmp_path):
    points = {
        "small": solved(0, 8, 8),
        "large": solved(0, 127, 128),
        "slow": solved(0, 8, 8, epoch=301),
        "none": solved(0, 0, 8),
        "zilch": solved(0, 0, 99),
    }
    evaluations = [done(i, {"p": name}, found) for i, (name, found) in enumerate(points.items())]
    evaluations.append(done(9, {"p": "twin"}, solved(0, 8, 8)))
    random.Random(0).shuffle(evaluations)
    order = [result.point["p"] for result in run_of(tmp_path, *evaluations).results]
    twins = sorted(["small", "twin"], key=lambda name: Point({"p": name}).key)
    hopeless = sorted(["none", "zilch"], key=lambda name: Point({"p": name}).key)
    assert order == ["large", *twins, "slow", *hopeless]


def test_best(tmp_path):
    evaluation = done(0, CONFIG, solved(0, 2, 2))
    assert run_of(tmp_path, evaluation, trainer="network").best == Config(**CONFIG)
    assert run_of(tmp_path, evaluation).best == Point(CONFIG)
    with pytest.raises(InputError, match="no configuration is finished"):
        _ = run_of(tmp_path).best


def test_the_columns(tmp_path):
    sgd = CONFIG | {"optimizer": "SGD", "momentum": 0.9, "activation": None}
    run = write_run(
        tmp_path / "r",
        [
            done(0, CONFIG, outcome(0, [RIGHT, WRONG, ZERO, ONE, ONE], diverged=[4])),
            done(1, sgd, solved(0, 4, 4)),
        ],
        trainer="network",
    )
    write_report(run)
    parameters = "activation,loss,optimizer,lr,momentum,hidden_dim,epochs,zero_grad"
    lines = (run.path / "table.csv").read_text().splitlines()
    assert lines[0] == (
        f"{parameters},key,k,n,rate,low,high,epochs_to_solve,trials,"
        "wrong_pattern,all_zero,all_one,diverged,crashed"
    )
    assert lines[1].startswith(f",MSELoss,SGD,0.03,0.9,5,1000,True,{Point(sgd).key},4,4,1.0,")
    assert lines[2].startswith(f"Tanh,MSELoss,Adam,0.03,,5,1000,True,{Point(CONFIG).key},1,5,0.2,")
    assert lines[2].endswith(",4300.0,1,1,1,1,1,0")
    low = [float(line.split(",")[12]) for line in lines[1:]]  # as pandas 2 does not read it
    assert low == wilson([4, 1], [4, 5])[0].tolist()
    pd.testing.assert_frame_equal(
        pd.read_parquet(run.path / "table.parquet"), run.table, check_dtype=False
    )


def test_no_success_is_empty_not_infinite(tmp_path):
    run = write_run(tmp_path / "r", [done(0, {"x": 1}, solved(0, 0, 4))])
    write_report(run)
    assert (run.path / "table.csv").read_text().splitlines()[1].endswith(",,1,4,0,0,0,0")


def test_column_names_never_collide():
    names = column_names(["k", "param_k", "lr", "key", "crashed"])
    assert list(names.values()) == ["param_param_k", "param_k", "lr", "param_key", "param_crashed"]


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
    run = write_run(
        tmp_path / "r",
        [
            done(0, {name: value[0] for name, value in values.items()}, solved(0, 2, 2)),
            done(1, {name: value[1] for name, value in values.items()}, solved(0, 1, 2)),
        ],
    )
    write_report(run)
    table = parquet.read_table(run.path / "table.parquet")
    found = {name: table[name].to_pylist() for name in values}
    assert found == values | {
        "huge": [float(2**70), 1.0],
        "mixed": ["1", "1"],
        "yes": ["true", "1"],
    }
    assert found["flag"][0] is True


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
    assert table.column_names == [
        *("key", "seed", "solved", "status", "solved_epoch", "final_loss", "pattern", "reason")
    ]
    one, two = Point({"x": 1}).key, Point({"x": 2}).key
    rows = table.to_pylist()
    assert [row["key"] for row in rows] == [two, two, one, one, one, one]
    assert [row["seed"] for row in rows] == [0, 1, 0, 3, 4, 5]
    assert [row["solved"] for row in rows] == [True, True, False, True, False, False]
    assert [row["status"] for row in rows[2:]] == [
        *("crashed", "solved", "wrong_pattern", "diverged")
    ]
    assert [row["solved_epoch"] for row in rows] == [300, 300, None, 300, None, None]
    assert [row["pattern"] for row in rows] == ["0110", "0110", None, "0110", "0111", "0000"]
    assert [row["reason"] for row in rows] == [None, None, "it broke", *[None] * 3]
    assert np.isnan(rows[2]["final_loss"])
    assert [row["final_loss"] for row in rows[3:]] == [0, 0.5, 1]
    frame = run.seeds
    assert frame["solved_epoch"].dtype == "Int32"
    assert frame["pattern"].isna().tolist() == [False, False, True, False, False, False]


def test_a_million_seeds_without_a_loop(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.array([RIGHT, WRONG, ZERO, ONE])[rng.integers(0, 4, 1_000_000)]
    run = run_of(tmp_path, done(0, {"x": 1}, outcome(0, rows)))
    table = run.seed_table
    assert table.num_rows == 1_000_000
    assert table["pattern"].combine_chunks().dictionary.to_pylist() == [
        *("0000", "0110", "0111", "1111")
    ]
    some = slice(0, 2000)
    shown = ["".join(map(str, row)) for row in rows[some].tolist()]
    assert table["pattern"][some].to_pylist() == shown


def test_blocks_judged_on_different_rows(tmp_path):
    narrow = solved(0, 1, 2)
    wide = Evaluation(0, Block(Point({"x": 1}), 2, 1), _wide(), None, True, 0.1, "h:1")
    run = run_of(tmp_path, done(0, {"x": 1}, narrow), wide)
    with pytest.raises(InputError, match="judged on different rows"):
        _ = run.results


def _wide():
    found = outcome(2, [RIGHT])
    return type(found)(
        *(found.seeds, found.epochs, found.status, found.solved_epoch, found.final_loss),
        np.zeros((1, 7), dtype=bool),
    )


def test_a_journal_with_a_torn_line_alone_holds_no_run(tmp_path):
    create(tmp_path, space_text="", manifest=BEGUN)
    (tmp_path / "evaluations.jsonl").write_text('{"proposal":0,')
    assert not holds_run(tmp_path)
    create(tmp_path, space_text="", manifest={**BEGUN, "again": True})
    assert load_run(tmp_path).manifest == {"format": 1, **BEGUN, "again": True}


def test_what_was_asked_finds_the_files_of_the_original_space(tmp_path):
    (tmp_path / "data.csv").write_text("a,b,y\n0,1,1\n1,1,0\n")
    text = (
        "name: mine\ntask: {csv: data.csv}\nepochs: 10\nparameters:\n  activation: Tanh\n"
        "  loss: MSELoss\n  optimizer: Adam\n  lr: {low: 0.01, high: 0.1}\n  hidden_dim: 3\n"
        "search: {sampler: random, trials: 2}\nseeds: {ladder: [8]}\n"
    )
    run = write_run(
        tmp_path / "runs" / "r", [], space_text=text, space_file=str(tmp_path / "space.yaml")
    )
    assert run.asked.name == "mine"
    assert run.asked.task.inputs.tolist() == [[0, 1], [1, 1]]
