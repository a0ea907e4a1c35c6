"""What a run's report works out and says, as a page and in a terminal; its words are in golden/."""

import contextlib
import io
import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from figure_runs import EPOCHS, HIDDEN, INTERVALS, RATE, RESAMPLED, in_front, scored
from hand_made import CONFIG, done, failed, solved, write_run
from reported import certified, plain
from rich.console import Console
from scipy.stats import binom, bootstrap
from typer.testing import CliRunner

import xortune as xt
from xortune.cli import app
from xortune.core.config import ACTIVATIONS, LOSSES
from xortune.core.errors import InputError
from xortune.core.outcome import Status, wilson
from xortune.core.seeds import HAND
from xortune.core.task import Task
from xortune.core.trainer import PROVEN_WORSE
from xortune.reports import parameters
from xortune.reports.document import markdown_text
from xortune.reports.files import write_report
from xortune.reports.page import page
from xortune.reports.parameters import MOST_LEVELS
from xortune.reports.progress import status_rows
from xortune.reports.run import config_table, run_document, table_tex
from xortune.reports.scripts import evaluate_command, fresh_seeds, plain_script
from xortune.reports.terminal import render_best
from xortune.runs.columns import MISSING, Form, column_names
from xortune.runs.run import Run, load_run


def markdown(run):
    return markdown_text(run_document(run))


@pytest.mark.parametrize(
    ("entry", "edited"),
    [
        ("importance", {"lr": "most"}),
        ("importance", {"lr": 57.0}),
        ("importance_resampled", {"intervals": INTERVALS}),
        ("importance_resampled", RESAMPLED | {"intervals": {"lr": [0.5]}}),
        ("importance_resampled", RESAMPLED | {"intervals": {"lr": [0.5, 1e308]}}),
        ("importance_resampled", RESAMPLED | {"better": "five"}),
        ("not_certified", "no time"),
        ("not_certified", {"why": "no time"}),
        ("command", ["xortune", 1]),
        ("objectives", []),
        ("objectives", [{"name": "success_rate", "direction": "up"}]),
        ("ladder", "x"),
        ("sessions", None),
        ("sessions", ["first"]),
    ],
)
def test_a_manifest_that_somebody_edited_is_refused_in_a_sentence(tmp_path, entry, edited):
    run = certified(tmp_path / "r")
    place = run.path / "manifest.json"
    manifest = json.loads(place.read_text()) | {"importance_resampled": RESAMPLED}
    place.write_text(json.dumps(manifest))
    assert markdown(load_run(run.path))
    place.write_text(json.dumps(manifest | {entry: edited}))
    with pytest.raises(InputError, match=rf"manifest\.json: {entry}.* is damaged"):
        markdown(load_run(run.path))


@pytest.mark.parametrize(
    ("task", "fingerprint", "flag", "script"),
    [
        ("xor", Task.xor().fingerprint, "--epochs 1000 --seeds", True),
        ("parity-3", Task.parity(3).fingerprint, "--task parity-3", True),
        ("xor", "of a file xor.csv", "--task FILE.csv", False),
        ("mine", "of a file mine.csv", "--task FILE.csv", False),
    ],
)
def test_only_a_task_that_its_name_defines_is_written_out(
    tmp_path, task, fingerprint, flag, script
):
    text = markdown(plain(tmp_path / "r", [(1, 2)], task=task, task_fingerprint=fingerprint))
    assert flag in text
    assert ("import torch" in text) == script
    assert ("writes a plain PyTorch script only for" in text) != script


# Only what is shown is explained, and what is said of numbers is so.


def explained(run):
    section = markdown(run).partition("## What the numbers mean, and how they mislead\n")[2]
    return set(re.findall(r"^- \*\*(.+?)\*\*", section, re.MULTILINE))


def test_only_what_is_shown_is_explained(tmp_path):
    always = {"solved", "95 % interval", "epochs to solve", "How seeds failed"}
    one = always | {"The band of a curve"}
    parts = {"Which parameters matter", "Seeds are shared."}
    two = one | parts | {"The winner's count is optimistic."}
    cases = [
        ([(4, 8)], {}, one),
        ([(8, 8), (4, 8)], {}, two | {"The best subset"}),
        ([(8, 8), (4, 8)], {"importance": {"lr": 1.0}}, two | {"The best subset", "importance"}),
        ([(16, 16), (2, 4)], {"ladder": [4, 16]}, two | {"Several looks."}),
        ([(0, 8), (0, 8)], {}, always | parts),
    ]
    for at, (counts, more, expected) in enumerate(cases):
        assert explained(plain(tmp_path / str(at), counts, **more)) == expected
    assert explained(write_run(tmp_path / "empty", [])) == {"solved"}
    again = [done(i, CONFIG, solved(4 * i, 2, 4)) for i in range(2)]
    assert explained(write_run(tmp_path / "again", again)) == one | {"trials"}


def test_what_is_said_of_eight_of_eight_and_of_the_winner_is_so(tmp_path):
    text = markdown(plain(tmp_path, [(8, 8), (4, 8)]))
    assert "8 of 8 seeds is 67.5 % or more" in text
    assert 0.675 <= float(wilson(8, 8)[0]) < 0.676
    assert "200 configurations that are all truly 90 %" in text
    assert "the best count of 100 seeds shows about 97 %" in text
    below = binom.cdf(np.arange(101), 100, 0.9) ** 200  # the best of 200 is at most k
    best = np.sum(np.arange(101) * np.diff(below, prepend=0.0))
    assert best == pytest.approx(97, abs=0.5)


def test_what_is_said_of_how_often_an_interval_misses_is_so(tmp_path):
    """In 5 of 100 on average over rates, in up to 21 where less than one failure is expected."""
    text = markdown(plain(tmp_path, [(8, 8), (4, 8)]))
    assert "In 5 of 100 such intervals it does not, on average over rates; in up to 21" in text
    worst = []
    for n in (1, 2, 8, 32, 128, 512):
        k = np.arange(n + 1)
        low, high = wilson(k, n)
        even = (np.arange(1000) + 0.5) / 1000
        just_outside = np.concatenate([low - 1e-9, high + 1e-9]).clip(1e-12, 1 - 1e-12)
        rates = np.concatenate([even, just_outside])
        outside = (low[:, None] > rates) | (high[:, None] < rates)
        missed = (binom.pmf(k[:, None], n, rates) * outside).sum(axis=0)
        assert n < 8 or missed[:1000].mean() == pytest.approx(0.05, abs=0.005)
        worst.append(missed.max())
        at = rates[missed.argmax()]
        assert n * min(at, 1 - at) < 1
    assert 0.2 < max(worst) < 0.21
    assert min(worst) > 0.16


def test_a_long_error_is_cut(tmp_path):
    lines = [done(0, CONFIG, solved(0, 1, 2)), failed(1, CONFIG | {"lr": 1}, 0, 8, error="e" * 400)]
    run = write_run(tmp_path / "r", lines)
    assert f"| {'e' * 150}…{'e' * 149} |" in markdown(run)
    [text] = [text for label, text in status_rows(xt.status(run.path)) if label == "failures"]
    assert text.endswith(f" {'e' * 197}...")


# The table of all configs.


def test_equal_values_of_other_kinds_are_told_apart(tmp_path):
    given = [True, 1, "1", None, False, 0.5]
    lines = [done(i, {"x": x, "y": i}, solved(0, 1, 2)) for i, x in enumerate(given)]
    lines.append(done(9, {"y": 9}, solved(0, 1, 2)))
    run = write_run(tmp_path / "r", lines)
    table = config_table(run)
    x = next(column for column in table.columns if column.name == "x")
    found = {(type(row["x"]), x.cell(row)) for row in table.rows}
    assert found >= {(bool, "true"), (bool, "false"), (int, "1"), (str, "1"), (float, "0.5")}
    assert found >= {(type(None), "null"), (type(MISSING), "")}  # null is said; not active is empty
    assert table.task is None
    numeric = {one.text: one.numeric for one in table.table(Form.REPORT).headings}
    assert (numeric["x"], numeric["y"]) == (False, True)


def own(path, *seeds, **manifest):
    """A run of a user's trainer whose seeds have this score and crashed where it is None."""
    lines = []
    for at, scores in enumerate(seeds):
        status = [int(Status.CRASHED) if s is None else int(s < 0.5) for s in scores]
        lines.append(done(at, {"lr": at}, scored(np.array(scores, float), statuses=status)))
    return write_run(path, lines, trainer="./train.py:run", success="score >= 0.5", **manifest)


def test_the_number_stands_beside_k_of_n_in_every_table(tmp_path):
    run = own(tmp_path / "r", [0.5, 0.9, None, 0.7], [0.1, 0.9, 0.2, 0.3], [None] * 4)
    table = config_table(run)
    frame = run.table.set_index("key")
    for row in table.rows:
        for name in ("score_median", "score_q10"):
            np.testing.assert_array_equal(row[name], frame.loc[row["key"], name])
    text = markdown(run)
    assert "| 1 | 3/4 | 75 % | 30–96 % | 0.7 | 0.54 |" in text
    assert "| 3 | 0/4 | 0 % | 0–49 % | – | – |" in text
    assert "k/n counts it, these two do not" in text
    assert " & 0.7 & 0.54 " in table_tex(run)
    assert "score_<wbr>median" in page(run_document(run))


def test_what_says_nothing_is_not_there(tmp_path):
    """No section without a word, no row or column of dashes, no figure of one bar."""
    run = own(tmp_path / "r", [0.9, 0.8, 0.1], [0.9, 0.1, 0.2], [None] * 3)
    text = markdown(run)
    assert "| `" + run.results[2].key + "` | 0 of 3 |" not in text
    fewer = markdown(own(tmp_path / "s", [0.9, 0.8, 0.1]))
    whole = markdown(own(tmp_path / "t", [0.9, 0.8, 0.7]))
    none = "## (Evaluations without an outcome|Which parameters matter|The best subset)"
    assert not re.search(none, fewer + whole)
    assert ["## How seeds failed" in found for found in (fewer, whole)] == [True, False]
    # Of the fewer all that is known is that they were no success.
    assert ["failures.svg" in found for found in (text, fewer)] == [True, False]
    for found in (text, fewer, whole):
        assert not re.search(r"^## [^\n]*\n+(?=## |\Z)", found, re.MULTILINE)
        assert not re.search(r"^\|[^|]*\|(?: – \|)+$", found, re.MULTILINE)


# In a terminal.


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
    paths = {str(run.path / name) for name in ("report.md", "table.csv", "seeds.parquet")}
    assert paths <= set(rendered(run).splitlines())


NAMES = ("learning_rate", "weight_decay", "scheduler", "batch_size", "dropout", "width", "kind")


def wide(i):
    """A config of seven parameters and two that are the same, one of them in the best ten only."""
    values = (0.123456 / (i + 1), 0.0001234 * (i + 1), f"cosine with {i} restarts and a warmup")
    rest = (8 * i, 0.1 * i, 10 + i, "only" if i < 10 else "other")
    return dict(zip(NAMES, (*values, *rest), strict=True)) | {"epochs": 1000}


@pytest.fixture
def crowded(tmp_path):
    lines = [done(i, wide(i), solved(0, 128 - i, 128, epoch=i + 1)) for i in range(12)]
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


def test_a_pipe_gets_all_columns(crowded, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    text = CliRunner().invoke(app, ["report", str(crowded.path)]).stdout
    assert "No room" not in text
    [head] = [line for line in text.splitlines() if "95 % CI" in line]
    assert set(head.split()) >= set(NAMES) - {"kind"}
    assert "cosine with 9 restarts and a warmup" in text
    monkeypatch.setenv("COLUMNS", "80")  # asked for
    assert "No room" in CliRunner().invoke(app, ["report", str(crowded.path)]).stdout


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


# What the levels of parameters have in common.


def results(tmp_path, rows):
    """Of a run of (point, k, n), or of (point, outcome)."""
    lines = []
    for i, (point, *found) in enumerate(rows):
        lines.append(done(i, point | {"id": i}, solved(0, *found) if found[1:] else found[0]))
    return Run(tmp_path, {}, tuple(lines)).results


def effects(found, names, importance=None):
    columns = {name: parameters.column_of(found.values(name, MISSING)) for name in names}
    return parameters.parameter_effects(columns, found.counts.rate, importance or {})


def effect(tmp_path, rows):
    return effects(results(tmp_path, rows), ["p"])[0]


def test_configs_are_equally_weighted(tmp_path):
    # 1/1 and 0/99: the mean over configs is a half, over seeds it would be a hundredth.
    found = effect(tmp_path, [({"p": "a"}, 1, 1), ({"p": "a"}, 0, 99), ({"p": "b"}, 1, 4)])
    levels = [(one.label, one.configs, one.rate, one.interval) for one in found.levels]
    assert levels == [("a", 2, 0.5, None), ("b", 1, 0.25, None)]


@pytest.mark.parametrize(
    ("k", "n", "ratio"),
    [
        ([100, 0, 1], [100, 100, 1], 1.0),  # seeds of a config agree: more of them say no more
        ([50, 51, 49, 1, 0], [100, 100, 100, 1, 1], 100.0),  # they do not: each says as much
        ([3, 4], [8, 8], 1.0),
    ],
)
def test_a_config_weighs_as_its_seeds_differ(k, n, ratio):
    weights = parameters.seed_weights(np.array(k), np.array(n))
    assert weights.max() == 1
    assert weights.max() / weights.min() == pytest.approx(ratio, rel=0.02)


def test_numbers_come_in_quartile_bins(tmp_path):
    rows = [({"p": float(i)}, i, 10) for i in range(9)] + [({}, 3, 10), ({"p": None}, 3, 10)]
    found = effect(tmp_path, rows).levels
    bins = {"[0, 2]": 3, "(2, 4]": 2, "(4, 6]": 2, "(6, 8]": 2, "(not active)": 1, "null": 1}
    assert [(level.label, level.configs) for level in found] == [*bins.items()]
    assert [round(level.rate, 9) for level in found[:4]] == [0.1, 0.35, 0.55, 0.75]


def test_values_that_look_alike_stay_apart(tmp_path):
    values = [0.12301, 0.12302, True, "true", None, "null"]
    found = effect(tmp_path, [({"p": given}, 1, 2) for given in values]).levels
    assert sorted(level.label for level in found) == sorted(map(repr, values))


def test_without_an_importance_the_one_whose_levels_differ_most_comes_first(tmp_path):
    # Only q separates the configs; p's levels have one config each, r's levels the same mean.
    rates = [2, 4, 8, 6]
    rows = [({"p": i, "q": i // 2, "r": (0, 1, 0, 1)[i]}, k, 10) for i, k in enumerate(rates)]
    found = effects(results(tmp_path, rows), ["p", "r", "q"])
    assert [effect.name for effect in found] == ["q", "p", "r"]
    assert [effect.spread for effect in found] == pytest.approx([0.2, 0, 0])
    known = effects(results(tmp_path, rows), ["p", "r", "q"], {"r": 0.1})
    assert [effect.name for effect in known] == ["r", "q", "p"]


def test_the_bootstrap_is_scipys(tmp_path):
    rates = [0, 0, 0, 1, 3, 3, 4, 7, 9, 10] * 8
    rows = [*(({"p": "a"}, k, 10) for k in rates), ({"p": "b"}, 5, 10)]
    found = next(level for level in effect(tmp_path, rows).levels if level.label == "a")
    drawn = bootstrap((np.array(rates) / 10,), np.mean, method="percentile", n_resamples=20_000)
    np.testing.assert_allclose(found.interval, drawn.confidence_interval, atol=0.01)


def test_of_very_many_levels_the_most_frequent_are_shown(tmp_path):
    often = [({"p": f"often {i:02d}"}, i, 24) for i in range(MOST_LEVELS) for _ in range(5)]
    once = [({"p": f"text {i}"}, i % 5, 4) for i in range(400)]
    found = effect(tmp_path, [*once, *often])
    best_first = [f"often {i:02d}" for i in reversed(range(MOST_LEVELS))]
    assert [level.label for level in found.levels] == best_first
    assert found.left_out == 400
    # One config alone says nothing.
    assert found.spread == pytest.approx(np.std(np.arange(25) / 24))
    assert effect(tmp_path, often).left_out == 0


def test_a_text_that_is_another_in_each_config_costs_little(tmp_path):
    found = results(tmp_path, [({"p": f"text {i}"}, i % 5, 4) for i in range(2_000)])
    began = time.process_time()
    [one] = effects(found, ["p"])
    assert time.process_time() - began < 2  # 0.02 on an idle core; a bootstrap each takes 8
    assert one.left_out == 2_000 - MOST_LEVELS


LADDER = {"ladder": [4, 8], "complete": True}

THREE = "3 configurations got fewer than 8 seeds"
COMPARED = "3 configurations have too few seeds for any test to tell; it may be one of them. "


@pytest.mark.parametrize(
    ("worse", "manifest", "said"),
    [
        (2, LADDER, THREE + ": 2 were proven worse by the race; 1 was paused, because more seeds "),
        (
            0,
            LADDER,
            THREE + ": none was proven worse by the race; all were paused, because more seeds ",
        ),
        (3, LADDER, THREE + ": 3 were proven worse by the race."),
        (
            1,
            LADDER | {"complete": False},
            THREE + ": 1 was proven worse by the race; 2 had fewer seeds ",
        ),
        (0, {"complete": True}, THREE + "."),
    ],
)
def test_how_many_are_proven_worse_and_how_many_only_paused(tmp_path, worse, manifest, said):
    points = [CONFIG | {"hidden_dim": 2 + i} for i in range(5)]
    counts = [(8, 8), (8, 8), (4, 4), (3, 4), (1, 4)]
    lines = [done(i, points[i], solved(0, k, n)) for i, (k, n) in enumerate(counts)]
    lines += [
        failed(i, points[i], 4, 4, error=PROVEN_WORSE, final=False) for i in range(5 - worse, 5)
    ]
    run = write_run(tmp_path / "run", lines, trainer="network", **manifest)
    text = markdown(run)
    assert COMPARED + said in text
    assert ("promised little" in text) == ("because more seeds" in said)


# The front.

ROWS = [(5, 16, 16, 300), (5, 16, 16, 200), (3, 12, 16, 100), (4, 11, 16, 900), (2, 4, 4, 10)]


@pytest.mark.parametrize(
    ("rows", "objectives", "front"),
    [
        # Equal in both objectives: both. The one with fewer seeds is not compared.
        (ROWS, (RATE, HIDDEN), [True, True, True, False, False]),
        (ROWS, (RATE, EPOCHS), [False, True, False, False, False]),
        # Without a success the epochs are infinite.
        ([(5, 3, 16, 1), (3, 0, 16, 1), (2, 0, 16, 1)], (EPOCHS, HIDDEN), [True, False, True]),
    ],
)
def test_the_column(tmp_path, rows, objectives, front):
    table = in_front(tmp_path / "r", rows, objectives, ladder=[4, 16]).table
    assert table.columns[-1] == "front"
    assert table.sort_values("lr")["front"].tolist() == front


@pytest.mark.parametrize(
    ("objectives", "place", "sizes"),
    [
        (({"name": "hidden_dim", "direction": "maximize"}, RATE), 2, ["5", "4", "3"]),
        ((HIDDEN, EPOCHS), 2, ["3", "4"]),
        ((EPOCHS, HIDDEN), 3, ["4 |", "3 |"]),
    ],
)
def test_the_first_objective_sorts(tmp_path, objectives, place, sizes):
    rows = [(3, 13, 16, 500), (4, 12, 16, 200), (5, 11, 16, 100)]
    text = markdown(in_front(tmp_path / "r", rows, objectives))
    section = text.split("## The Pareto front")[1]
    cells = [line.split(" | ") for line in section.split("\n## ")[0].splitlines()]
    assert [row[place] for row in cells if row[0].startswith("| lr")] == sizes


def test_column_names_never_collide():
    names = column_names(["k", "param_k", "lr", "key", "crashed"])
    assert list(names.values()) == ["param_param_k", "param_k", "lr", "param_key", "param_crashed"]
    assert column_names(["front"]) == {"front": "front"}
    both = {"front": "param_param_front", "param_front": "param_front"}
    assert column_names([*both], ["front"]) == both


def test_a_long_front_is_cut(tmp_path):
    run = in_front(tmp_path / "r", [(2 + i, i, 40, 100) for i in range(40)], ladder=[40])
    for shown in markdown(run), rendered(run):
        assert "... and 10 more" in shown


# How to do it again.


def printed(script):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(script, {})
    return json.loads(out.getvalue())


def test_the_script_trains_xor(make_config):
    script = plain_script(make_config(lr=0.1, epochs=300), Task.xor(), 0)
    assert printed(script) == [0, 1, 1, 0]
    assert script.count("\n") <= 14


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")  # torch on KLDivLoss
@pytest.mark.parametrize(
    "changes",
    [{"activation": one} for one in (None, *ACTIVATIONS)] + [{"loss": one} for one in LOSSES],
)
def test_every_activation_and_loss_runs(make_config, changes):
    momentum = {"optimizer": "SGD", "momentum": 0.9, "zero_grad": False}
    script = plain_script(make_config(epochs=2, **momentum, **changes), Task.parity(3), 5)
    assert "zero_grad" not in script
    assert "momentum=0.9" in script
    assert len(printed(script)) == 8


def test_no_script_for_a_task_too_large_or_judged_elsewhere(make_config):
    x, y = np.eye(3), np.eye(3)[:, :1]
    assert plain_script(make_config(), Task.parity(6), 0) is None
    assert plain_script(make_config(), Task("t", x, y, x, y, 0.5), 0) is None
    assert "[0.0, 1.0, 0.0]" in plain_script(make_config(), Task("t", x, y), 0)


def test_the_command_says_all_that_is_not_the_default(make_config):
    config = make_config(optimizer="SGD", momentum=0.5, zero_grad=False)
    assert evaluate_command(config, "parity-3") == (
        "xortune evaluate --activation Tanh --loss MSELoss --optimizer SGD --lr 0.03 "
        "--momentum 0.5 --hidden-dim 5 --epochs 1000 --no-zero-grad --task parity-3 "
        f"--seeds 1000 --first-seed {HAND.start}"
    )
    assert evaluate_command(make_config(), "a b.csv").count("'a b.csv'") == 1


def smooth(config, seed):
    noise = np.random.default_rng([seed, int(1e6 * config["x"])]).standard_normal()
    return {"score": 2 - 4 * abs(config["x"] - 0.5) + 0.5 * noise}


@pytest.mark.parametrize(
    ("seconds", "workers", "seeds", "takes"),
    [
        (None, 2, 1000, ""),  # not measured, as of imported seeds
        (0.01, 1, 1000, ", about 10 s on 1 worker"),
        (0.004, 1, 1000, ""),
        (8.0, 2, 100, ", about 6.7 min on 2 workers"),
        (8.0, 16, 1000, ", about 8.3 min on 16 workers"),
        (3600.0, 1, 20, ", about 20 h on 1 worker"),
    ],
)
def test_the_seeds_that_are_suggested_fit_what_a_seed_takes(
    tmp_path, seconds, workers, seeds, takes
):
    """1,000 seeds of 8 seconds are hours: fewer are suggested, and how long they take is said."""
    lines = [done(0, CONFIG, solved(0, 8, 8)), done(1, {**CONFIG, "lr": 0.5}, solved(0, 2, 8))]
    lines = [replace(line, seconds=8 * (seconds or 0)) for line in lines]
    sessions = [{"number": 1, "made": "b" * 8, "workers": workers}]
    noted = {"sessions": sessions, "made": {"b" * 8: {}}}
    run = write_run(tmp_path / "r", lines, trainer="network", task="xor", **noted)
    report = markdown_text(run_document(run))
    assert f"on fresh seeds{takes}; RUN is" in report
    assert f"--seeds {seeds} --first-seed" in report
    shown = " ".join(rendered(run, width=200).split())
    assert re.search(rf"is optimistic by about [\d.]+ points; on fresh seeds{takes}:", shown)
    assert f"--seeds {seeds} --first-seed" in shown


def test_a_certificate_costs_the_seeds_of_all_its_finalists(tmp_path):
    lines = [done(i, {"x": i}, solved(0, 8 - i, 8)) for i in range(7)]
    run = write_run(
        tmp_path / "r",
        [replace(line, seconds=8 * 0.8) for line in lines],
        space_text="name: a\ntrainer: a.py:run\nsuccess: accuracy > 0\nparameters: {x: [0, 9]}\n",
        trainer="function",
        success="accuracy > 0",
    )
    assert fresh_seeds(run, 5).seeds == 100  # 5 x 100 x 0.8 s
    assert fresh_seeds(run).seeds == 500


@pytest.mark.parametrize(("trials", "is_told"), [(14, True), (11, False)])
def test_what_the_neighbours_of_the_best_may_solve(tmp_path, trials, is_told):
    space = {"name": "near", "parameters": {"x": {"low": 0.0, "high": 1.0}}}
    space |= {"search": {"sampler": "random", "trials": trials}, "seeds": {"ladder": [8]}}
    space["success"] = "score >= 0.5"
    run = xt.search(space, train=smooth, output=tmp_path / "run", workers=0, verbose=0)
    text = markdown(run).replace("`", "")
    assert ("Are the neighbours of the best good too?" in text) is is_told
    told = re.findall(r"\| (\w{16}) \| 8/8 \| (\d+\.?\d*) % \| x (0\.\d+) \|", text)
    assert len(told) == (5 if is_told else 0)
    at = {result.key: result.point["x"] for result in run.results}
    for key, rate, x in told:
        assert abs(abs(float(x) - at[key]) - 0.05) < 1e-3
        assert abs(float(x) - 0.5) > abs(at[key] - 0.5) - 0.05
        assert float(rate) > 70
