"""The files that are made from a run's journal: the same again, for any run, or refused."""

import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hand_made import CONFIG, done, solved, write_run
from test_run import run_of

from xortune.core.errors import InputError
from xortune.reports.files import write_report
from xortune.runs.run import load_run

DERIVED = (
    *("table.csv", "table.tex", "table.parquet", "seeds.parquet"),
    *("report.html", "report.md"),
)


def many(count=6):
    rng = np.random.default_rng(1)
    evaluations = []
    for number in range(count):
        point = CONFIG | {"lr": float(10.0 ** rng.uniform(-4, 0))}
        k = int(rng.integers(0, 9))
        evaluations += [
            done(number, point, solved(0, k, 8)),
            done(number, point, solved(8, 2 * k, 24)),
        ]
    return evaluations


@pytest.mark.usefixtures("pictures")
def test_derived_files_are_rebuilt_the_same(tmp_path):
    run = write_run(tmp_path / "r", many(), trainer="network", task="xor", ladder=[8, 32])
    write_report(run)
    figures = [f"figures/{path.name}" for path in (run.path / "figures").iterdir()]
    assert "figures/ranking.svg" in figures
    assert "<path" in (run.path / "figures" / "ranking.svg").read_text()
    first = {name: (run.path / name).read_bytes() for name in [*DERIVED, *figures]}
    for name in first:
        (run.path / name).unlink()
    write_report(load_run(run.path))
    assert {name: (run.path / name).read_bytes() for name in first} == first
    assert sorted(p.name for p in run.path.iterdir()) == sorted(
        [*DERIVED, "figures", "evaluations.jsonl", "manifest.json", "space.yaml"]
    )


def test_the_order_of_the_journal_does_not_matter(tmp_path):
    evaluations = many()
    one = run_of(tmp_path, *evaluations, trainer="network")
    two = run_of(tmp_path, *evaluations[::-1], trainer="network")
    pd.testing.assert_frame_equal(one.table, two.table)
    assert one.seed_table.equals(two.seed_table)


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
    run = write_run(tmp_path / "r", many())
    (tmp_path / "elsewhere").mkdir()
    (run.path / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="figures: is a symbolic link"):
        write_report(run)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_unwritable_derived_files(tmp_path):
    run = write_run(tmp_path / "r", many())
    (run.path / "table.csv").mkdir()
    with pytest.raises(InputError, match=r"table\.csv: cannot be written"):
        write_report(run)
    assert not [p for p in run.path.iterdir() if p.name.startswith(".")]


KILLED = """
import os, signal, sys
os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["xortune", "report", sys.argv[1]]
from xortune.cli import main
main()
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has files without a name (O_TMPFILE)"
)
def test_a_report_that_is_killed_as_it_writes_leaves_nothing_behind(tmp_path):
    run = write_run(tmp_path / "r", many(2), trainer="network", task="xor", ladder=[8, 32])
    before = sorted(run.path.rglob("*"))
    killed = subprocess.run([sys.executable, "-c", KILLED, run.path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path for path in sorted(run.path.rglob("*")) if path.is_file()] == before
