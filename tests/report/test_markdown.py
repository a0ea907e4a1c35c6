from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run

from xortune.core.task import Task
from xortune.reports.document import Figure, escaped, markdown_text
from xortune.reports.figures.all import figures_of
from xortune.reports.run import run_document
from xortune.runs.run import Run

GOLDEN = Path(__file__).with_name("golden.md")


def markdown(run):
    return markdown_text(run_document(run))


def words_of(run):
    """The report without its figures, whose words are tested where they are made."""
    document = run_document(run)
    sections = [
        replace(part, blocks=tuple(b for b in part.blocks if not isinstance(b, Figure)))
        for part in document.sections
    ]
    return markdown_text(replace(document, sections=tuple(sections)))


@pytest.fixture
def small_run(tmp_path) -> Run:
    """Four configs: the best, one tied with it, one beaten, one stopped early; one block broke."""
    tied = CONFIG | {"lr": 0.1}
    beaten = CONFIG | {"lr": 0.001}
    stopped = CONFIG | {"optimizer": "SGD", "momentum": 0.9}
    first = outcome(8, [RIGHT] * 4 + [WRONG, WRONG, ZERO, ONE], diverged=[7])
    return write_run(
        tmp_path / "r",
        [
            done(0, CONFIG, solved(0, 8, 8, epoch=120)),
            done(0, CONFIG, outcome(8, [RIGHT] * 8, epoch=140)),
            done(1, tied, solved(0, 8, 8)),
            failed(1, tied, 8, 8, error="worker died | signal 9", final=False),
            done(1, tied, outcome(8, [RIGHT] * 7 + [WRONG])),
            done(2, beaten, solved(0, 5, 8)),
            done(2, beaten, first),
            failed(3, stopped, 0, 8, error="<CUDA>\nout of memory"),
            done(4, CONFIG, solved(16, 8, 8)),
        ],
        space_text="name: golden\n# a comment with ```\n",
        name="golden",
        trainer="network",
        task="xor",
        engine="reference",
        sampler="tpe",
        trials=5,
        ladder=[8, 16],
        seed=0,
        started="2026-01-02T03:04:05+00:00",
        finished="2026-01-02T03:04:07+00:00",
        command=["xortune", "search", "my space.yaml"],
        versions={"xortune": "0.1.0", "torch": "2.6"},
        importance={"lr": 0.75, "optimizer": 0.25},
    )


def test_golden(small_run):
    # To renew it after a wanted change: write words_of(small_run) to golden.md, and read the diff.
    assert words_of(small_run) == GOLDEN.read_text(encoding="utf-8")


def test_every_figure_stands_in_its_section_with_its_note(small_run):
    plots = figures_of(small_run)
    assert len(plots) >= 4
    text = markdown(small_run)
    for plot in plots:
        picture = f"![{escaped(plot.alt)}](figures/{plot.name}.svg)\n\n{escaped(plot.note)}\n"
        assert text.count(picture) == 1
    assert "## More figures" not in text  # each is in SECTION_OF
    ranking = text.index("(figures/ranking.svg)")
    assert text.index("## The configurations") < ranking < text.index("| trials | key |")


def test_tables_are_rectangular(small_run):
    columns = None
    for line in markdown(small_run).splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        found = line.count("|")
        assert columns in (None, found), line
        columns = found


def test_no_config(tmp_path):
    text = markdown(write_run(tmp_path / "r", []))
    assert "No configuration has finished yet" in text
    assert "nan" not in text


def test_only_failed_tries(tmp_path):
    text = markdown(write_run(tmp_path / "r", [failed(0, {"x": 1}, 0, 3, final=False)]))
    assert "No configuration has finished yet" in text
    assert "| it broke | 0 | 1 |" in text


def test_one_config(tmp_path):
    space = "name: r\nparameters: {x: 1}\nsearch: {sampler: grid}\n"
    line = done(0, {"x": 1}, solved(0, 1, 1))
    text = markdown(write_run(tmp_path / "r", [line], space_text=space))
    assert "The only configuration, **x 1** (`" in text
    assert "it solved" not in text
    assert "1 of 1 seed, 100 % (95 % interval 20–100 %)" in text
    assert "Only one configuration got the full 1 seed;" in text
    assert "xortune certify RUN --seeds 1000 --trainer FILE.py:FUNCTION" in text


def test_where_nothing_says_what_trains_no_command_is_shown(tmp_path):
    text = markdown(write_run(tmp_path / "r", [done(0, {"x": 1}, solved(0, 1, 1))]))
    assert "The only configuration, **x 1** (`" in text
    assert "xortune certify" not in text


def test_no_success(tmp_path):
    run = write_run(tmp_path / "r", [done(i, {"x": i}, solved(0, 0, 4)) for i in range(3)])
    text = markdown(run)
    assert "Nothing solved the task: 3 configurations trained, 12 seeds in all" in text
    assert not re.search(r"\b(nan|inf|None)\b", text)
    assert "No seed was solved, so nothing can be told apart." in text
    assert "fresh seeds:" not in text


def test_a_point_without_parameters(tmp_path):
    assert "the only setting" in markdown(write_run(tmp_path / "r", [done(0, {}, solved(0, 1, 2))]))


def test_many_tied_and_many_reasons_are_cut(tmp_path):
    found = [done(i, {"x": i}, solved(0, 2, 2)) for i in range(30)]
    broken = [failed(99, {"x": 99}, i, 1, error=f"reason {i}") for i in range(25)]
    text = markdown(write_run(tmp_path / "r", [*found, *broken], ladder=[2]))
    assert "... and 11 more." in text  # 30 tied, and the one that broke, less 20
    assert "... and 5 other reasons." in text
    assert text.count("| 2/2 |") == 10 + 20


HOSTILE = "a|b`c<script>\n# head\r*x* [l](u) \x1b[31m \ud800 $m$ _i_ \\"


def test_hostile_text_everywhere(tmp_path):
    points = [{HOSTILE: HOSTILE, "y": i} for i in range(2)]
    evaluations = [done(i, point, solved(0, 1, 2)) for i, point in enumerate(points)]
    evaluations.append(failed(2, points[0], 2, 2, error=HOSTILE))
    run = write_run(
        tmp_path / "r",
        evaluations,
        name=HOSTILE,
        sampler=HOSTILE,
        command=[HOSTILE],
        versions={HOSTILE: HOSTILE},
        importance={HOSTILE: 1.0},
        space_text="name: '````' <script>\n\x1b\n",
    )
    text = markdown(run)
    text.encode()
    assert text.replace("\n", "").isprintable()
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "<" not in outside
    assert "\n# head" not in outside
    test_tables_are_rectangular(run)


@pytest.mark.parametrize(
    "manifest",
    [
        {"ladder": "x"},
        {"ladder": []},
        {"importance": 3},
        {"command": []},
        {"task": {"csv": "t"}},
        {"versions": None},
        {"name": 7},
        {"trials": None},
    ],
)
def test_an_odd_manifest_is_shown_not_fatal(tmp_path, manifest):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))], **manifest)
    assert "## Do it again" in markdown(run)


@pytest.mark.parametrize(
    ("task", "task_fingerprint", "flag", "script"),
    [
        ("xor", Task.xor().fingerprint, "--epochs 1000 --seeds", True),
        ("parity-3", Task.parity(3).fingerprint, "--task parity-3", True),
        ("xor", "of a file xor.csv", "--task FILE.csv", False),
        ("mine", "of a file mine.csv", "--task FILE.csv", False),
    ],
)
def test_only_a_task_that_its_name_defines_is_written_out(
    tmp_path, task, task_fingerprint, flag, script
):
    manifest = {"trainer": "network", "task": task, "task_fingerprint": task_fingerprint}
    text = markdown(write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))], **manifest))
    assert flag in text
    assert ("import torch" in text) == script
    assert ("There is no plain PyTorch script here" in text) != script


def test_an_interrupted_search_says_so(tmp_path):
    run = write_run(tmp_path / "r", [done(0, CONFIG, solved(0, 1, 2))], complete=False)
    assert "`--resume` continues it" in markdown(run)
