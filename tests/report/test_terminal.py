from __future__ import annotations

import io
import shlex

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


def test_a_few_parameters_have_columns(tmp_path):
    run = write_run(
        tmp_path / "r",
        [done(i, CONFIG | {"lr": 0.0123456 * (1 + i)}, solved(0, 4 - i, 4)) for i in range(3)],
        trainer="network",
        ladder=[4],
    )
    lines = rendered(run).splitlines()
    assert lines[0].split() == ["solved", "95", "%", "interval", "epochs", "lr"]
    assert lines[1].split() == ["1", "4/4", "█████░░░░░", "51–100", "%", "300", "0.0123"]
    # 2 of 4: 15 to 85 %. The bar begins where that of the first does.
    assert lines[3].index("█▌░░░░░░░ ") == lines[1].index("█████░░░░░")
    assert any("loss MSELoss" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    assert (
        "Of 3 configurations with the full 4 seeds, 2 others are indistinguishable from the best"
        in text
    )


def test_many_parameters_are_folded_into_one_column_at_80(tmp_path):
    points = [wide_point(i) for i in range(12)]
    run = write_run(tmp_path / "r", [done(i, p, solved(0, 3, 4)) for i, p in enumerate(points)])
    text = rendered(run)
    assert max(map(len, text.split("fresh seeds")[0].splitlines())) <= 80  # a command is one line
    assert "configuration" in text.splitlines()[0]
    assert "0.0123," in text
    assert "0.012345" not in text.split("fresh seeds")[0]
    assert "11 " not in [line[:3] for line in text.splitlines()]
    assert "momentum" in rendered(run, width=200).splitlines()[0]


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


def test_no_success_and_a_failure(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 0, 2)), failed(0, CONFIG, 2, 2)])
    text = rendered(run)
    assert "No seed was solved by any configuration." in text
    assert "1 evaluation produced no outcome" in text
    assert "nan" not in text
    assert "None" not in text


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


def test_a_function_of_ones_own_has_no_epochs_and_a_command_that_can_be_copied(tmp_path):
    blocks = [done(i, {"lr": 0.1 * (1 + i)}, solved(0, 4 - i, 4)) for i in range(2)]
    run = write_run(
        tmp_path / "a run",
        blocks,
        space_text="name: a\ntrainer: ./train.py:run\n"
        "parameters: {lr: {choice: [0.1, 0.2]}}\nsearch: {sampler: grid}\n",
        trainer="./train.py:run",
        ladder=[4],
    )
    text = rendered(run, width=100)
    assert "epochs" not in text
    [command] = [line.strip() for line in text.splitlines() if "xortune certify" in line]
    assert shlex.split(command)[:3] == ["xortune", "certify", str(run.path)]
