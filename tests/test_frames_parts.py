"""Tables of very many configs are made part by part, and are what they are in one."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hand_made import solved
from pyarrow import parquet

from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.reports import files as csv_text
from xortune.reports import tables
from xortune.reports.files import write_report
from xortune.runs import lines as run_lines
from xortune.runs import results as frames
from xortune.runs.evaluation import Evaluation
from xortune.runs.lines import Evaluations
from xortune.runs.results import ConfigResults
from xortune.runs.run import Run


def lines(sizes):
    """A config of so many seeds each."""
    for index, n in enumerate(sizes):
        point = Point({"lr": index / 8, "name": f"=a{index}"})
        found = solved(0, index % (n + 1), n)
        yield Evaluation(index, Block(point, 0, n), found, None, True, 0.1, "here:1")


def results(sizes):
    return ConfigResults(Evaluations.of(lines(sizes)))


SIZES = [3, 5, 5, 2, 7, 1, 4]


@pytest.mark.parametrize("part", [1, 2, 100])
def test_counts_are_the_same_in_parts(monkeypatch, part):
    monkeypatch.setattr(run_lines, "PART", part)
    found = results(SIZES)
    assert found.counts.status.tolist() == [[*r.outcome.counts.values()] for r in found]
    wanted = [r.outcome.epochs_to_solve or np.nan for r in found]
    np.testing.assert_array_equal(found.counts.epochs_to_solve, wanted)


@pytest.mark.parametrize("rows", [1, 6, 1000])
def test_seeds_are_the_same_in_parts(rows):
    found = results(SIZES)
    (whole,) = frames.seed_tables(found)
    parts = list(frames.seed_tables(found, rows))
    assert all(len(part) <= max(rows, 7) for part in parts)
    assert (len(parts) == 1) == (rows >= sum(SIZES))
    joined = pa.concat_tables(parts).unify_dictionaries().to_pylist()
    assert joined == whole.to_pylist()
    (nothing,) = frames.seed_tables(results([]), rows)
    assert nothing.schema == whole.schema


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_a_csv_is_the_same_in_parts(monkeypatch, rows):
    monkeypatch.setattr(csv_text, "ROWS", rows)
    table = frames.config_table(results(SIZES), ["lr", "name"])
    file = io.BytesIO()
    csv_text.write_csv(table, file)
    assert file.getvalue().decode() == csv_text.csv_text(table)
    empty = io.BytesIO()
    csv_text.write_csv(table.iloc[:0], empty)
    assert empty.getvalue().count(b"\n") == 1


NUMBERS = [1.5, np.nan, 1e-7, 1e16, -np.inf]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(NUMBERS),
        pd.Series([0, -3, 2**62, 4, 5]),
        pd.array([1, None, 3, None, 5], "Int64"),
        pd.array([True, None, False, True, True], "boolean"),
        pd.Series([True, False, True, True, True]),
        pd.Series(["a,b", 'q"q', " ", "-1.5", None]),
        pd.Series([None] * 5, dtype=object),
    ],
)
def test_a_csv_is_what_pandas_writes(column):
    for table in (pd.DataFrame({"x": column, "y": NUMBERS}), pd.DataFrame({"x": column})):
        assert csv_text.csv_text(table) == table.to_csv(index=False, lineterminator="\n")


def test_the_files_of_a_run_do_not_depend_on_the_parts(tmp_path, monkeypatch):
    names = ("table.csv", "report.md")
    found = []
    for part in (1, 100):
        folder = tmp_path / str(part)
        folder.mkdir()
        monkeypatch.setattr(csv_text, "ROWS", part)
        monkeypatch.setattr(tables, "PART", part)
        monkeypatch.setattr(frames.seed_tables, "__defaults__", (part,))
        write_report(
            Run(folder, {"trainer": "function", "name": "parts"}, Evaluations.of(lines(SIZES)))
        )
        seeds = parquet.read_table(folder / "seeds.parquet").to_pylist()
        found.append(([(folder / name).read_bytes() for name in names], seeds))
    assert found[0] == found[1]
    groups = [
        parquet.ParquetFile(tmp_path / name / "seeds.parquet").num_row_groups
        for name in ("1", "100")
    ]
    assert groups == [len(SIZES), 1]
