import io
import re

import pytest
from hand_made import CONFIG, done, solved, write_run
from rich.console import Console

from xortune.reports.files import write_report
from xortune.reports.terminal import render_best


def rendered(run, width=80, **more):
    console = Console(file=io.StringIO(), width=width, **more)
    render_best(run, console)
    return console.file.getvalue()


def test_a_narrow_terminal_has_no_bars(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 4, 4))])
    assert not re.search("░|Bars", rendered(run, width=69))
    assert "░" in rendered(run, width=70)


def test_paths_are_on_one_line(tmp_path):
    run = write_run(tmp_path / ("long" * 40), [done(0, CONFIG, solved(0, 1, 2))])
    assert "report.md" not in rendered(run)
    write_report(run)
    lines = rendered(run).splitlines()
    for name in ("report.md", "table.csv", "seeds.parquet"):
        assert str(run.path / name) in lines


NAMES = ("learning_rate", "weight_decay", "scheduler", "batch_size", "dropout", "width", "kind")


def many(i):
    """A config of seven parameters and two that are the same, one of them in the best ten only."""
    values = (0.123456 / (i + 1), 0.0001234 * (i + 1), f"cosine with {i} restarts and a warmup")
    rest = (8 * i, 0.1 * i, 10 + i, "only" if i < 10 else "other")
    return dict(zip(NAMES, (*values, *rest), strict=True)) | {"epochs": 1000}


@pytest.fixture
def crowded(tmp_path):
    lines = [done(i, many(i), solved(0, 128 - i, 128, epoch=i + 1)) for i in range(12)]
    return write_run(tmp_path / "r", lines, importance={"scheduler": 0.9, "width": 0.1})


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_config_has_one_row_with_its_key_whatever_the_width(crowded, width):
    text = rendered(crowded, width)
    rows = [line for line in text.splitlines() if "/128 " in line]
    assert [row.split()[1] for row in rows] == [f"{128 - i}/128" for i in range(10)]
    assert [row.split()[-1] for row in rows] == [key[:6] for key in crowded.results.keys[:10]]
    assert all(len(line) <= width for line in text.splitlines() if "xortune" not in line)
    assert "The same in all: epochs 1000" in text
    assert "The same in these 10: kind only" in text
    head = text[: text.index("128/128")]
    assert "scheduler" in head  # what matters most has room first
    left = text.partition("No room here for ")[2].partition(": table.csv")[0]
    names = " ".join(left.split()).split(", ")
    for name in ("scheduler", "dropout", "width"):
        assert (name in head) != (name in names), name


def test_keys_that_begin_alike_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("xortune.reports.terminal.KEY", 1)
    run = write_run(tmp_path / "r", [done(i, {"a": i}, solved(0, 1, 2)) for i in range(40)])
    rows = [line.split()[-1] for line in rendered(run).splitlines() if "1/2" in line]
    assert len(set(rows)) == 10
    assert all(sum(k.startswith(row) for k in run.results.keys) == 1 for row in rows)


def test_counts_are_coloured_by_what_is_known_of_them(crowded):
    text = rendered(crowded, force_terminal=True)
    assert "\x1b[32m128/128" in text
    assert "\x1b[36m" in text
