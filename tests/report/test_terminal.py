from __future__ import annotations

import io

import pytest
from hand_made import CONFIG, done, failed, solved, write_run
from rich.console import Console

from xortune.reports.files import write_report
from xortune.reports.terminal import render_best


def rendered(run, width=80, **more):
    console = Console(file=io.StringIO(), width=width, **more)
    render_best(run, console)
    return console.file.getvalue()


def wide_point(i):
    return CONFIG | {
        "activation": ["Tanh", "LeakyReLU"][i % 2],
        "loss": ["BCEWithLogitsLoss", "MSELoss"][i % 2],
        "optimizer": "SGD",
        "momentum": 0.123456789 * (1 + i),
        "lr": 0.0123456789 * (1 + i),
        "hidden_dim": 2 + i,
    }


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_counts_are_never_cut(tmp_path, width):
    run = write_run(
        tmp_path / "r", [done(i, wide_point(i), solved(0, 120, 128)) for i in range(10)]
    )
    assert rendered(run, width).count("120/128") == 10


def test_bars_are_ascii_where_the_encoding_has_no_blocks(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 4, 4))])
    file = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    render_best(run, Console(file=file, width=80))
    file.seek(0)
    text = file.read()
    assert "4/4  #####-----" in text
    assert "░" not in text


def test_a_narrow_terminal_has_no_bars(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 4, 4))])
    assert "░" not in rendered(run, width=69)
    assert "Bars" not in rendered(run, width=69)
    assert "░" in rendered(run, width=70)


def test_nothing_finished(tmp_path):
    run = write_run(tmp_path / "r", [failed(0, CONFIG, 0, 2, final=False)])
    assert "No configuration has finished yet." in rendered(run)


def test_paths_are_on_one_line(tmp_path):
    run = write_run(tmp_path / ("long" * 40), [done(0, CONFIG, solved(0, 1, 2))])
    assert "report.md" not in rendered(run)
    write_report(run)
    lines = rendered(run).splitlines()
    for name in ("report.md", "table.csv", "seeds.parquet"):
        assert str(run.path / name) in lines


def test_no_color(tmp_path, monkeypatch):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))])
    assert "\x1b[" in rendered(run, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in rendered(run, force_terminal=True)


def test_markup_and_escapes_in_values_are_text(tmp_path):
    run = write_run(
        tmp_path / "r",
        [done(i, {"[red]a": f"[bold]{i}\x1b[31m\n"}, solved(0, 1, 2)) for i in range(2)],
    )
    text = rendered(run)
    assert "[red]a" in text
    assert "[bold]0\\x1b[31m\\n" in text
