"""A comparison of runs as a document: the same numbers in every form, the answer first."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from compared import certified_run, contestant, paired, unpaired
from hand_made import solved

import xortune as xt
from xortune.comparisons.contestants import RULE
from xortune.comparisons.runs import Contestant, compare_runs
from xortune.core.errors import InputError
from xortune.core.formats import interval, measured
from xortune.core.outcome import Details
from xortune.core.success import parse_success
from xortune.reports.comparison import comparison_document
from xortune.reports.document import Figure, Paragraph, Table, escaped, markdown_text
from xortune.reports.files import comparison_csv, comparison_tex, write_comparison
from xortune.reports.html.page import page
from xortune.reports.words import answer


@pytest.fixture
def comparison(tmp_path):
    certified_run(tmp_path / "tpe", [97, 99], sampler="tpe")
    certified_run(tmp_path / "gp", [80], sampler="gp")
    return xt.compare([tmp_path / "tpe", tmp_path / "gp"])


def section(document, name):
    return next(part for part in document.sections if part.id == name)


def tables(part):
    return [block for block in part.blocks if isinstance(block, Table)]


def cells(table):
    return [["".join(getattr(i, "text", i) for i in cell) for cell in row] for row in table.rows]


def test_the_answer_comes_first(comparison):
    document = comparison_document(comparison)
    assert document.title == "xortune: a comparison"
    assert document.subtitle == "tpe, gp"
    first = document.sections[0]
    assert first.blocks[0] == Paragraph((answer(comparison)[0],))
    assert cells(first.blocks[1]) == [
        ["tpe", "97/100", "97 %", "91–99 %", "8/8", "certificate"],
        ["gp", "80/100", "80 %", "71–87 %", "8/8", "certificate"],
    ]
    assert [part.id for part in document.sections] == [
        *("answer", "compared", "pairs", "speed", "apart", "words")
    ]


def test_what_was_compared_names_the_settings_that_differ(comparison):
    part = section(comparison_document(comparison), "compared")
    [table] = tables(part)
    assert [column.name for column in table.columns] == ["contestant", "key"]
    same, notes = part.blocks[1:]
    assert same.text[0].startswith("The same in all: activation Tanh, loss MSELoss")
    assert notes.items[0][0].startswith("tpe: its certificate puts ")


def test_the_pair_has_its_test_and_its_numbers(comparison):
    part = section(comparison_document(comparison), "pairs")
    [table] = tables(part)
    [row] = cells(table)
    assert row[:6] == ["tpe", "gp", "97/100", "80/100", "17", "0"]
    assert row[6:] == ["17", "[9, 26]", "< 0.001", "< 0.001", "tpe", ""]
    assert isinstance(part.blocks[0], Figure)
    assert "100 shared seeds: exact McNemar test; all two-sided." in part.blocks[-1].text[0]
    shown = comparison_document(unpaired(30, 40, 29, 40))
    [table] = tables(section(shown, "pairs"))
    assert cells(table)[0][4:6] == ["", ""]
    assert cells(table)[0][-2] == "cannot tell"
    assert int(cells(table)[0][-1].replace(",", "")) > 1000


def test_seeds_that_are_left_out_are_told_of():
    found = compare_runs([contestant("a", solved(0, 9, 10)), contestant("b", solved(2, 9, 10))])
    told = markdown_text(comparison_document(found))
    assert "a and b share only some of their seeds: 2 and 2 were left out" in told
    assert "share only some" not in markdown_text(comparison_document(paired(3, 1, 0, 1)))


def test_of_three_there_is_a_matrix_and_of_many_pairs_no_list():
    entries = [contestant(f"c{i}", solved(0, 60 + 8 * i, 100)) for i in range(5)]
    for count, plots in ((2, 1), (3, 2)):
        part = section(comparison_document(compare_runs(entries[:count])), "pairs")
        assert sum(isinstance(block, Figure) for block in part.blocks) == plots
    few = comparison_document(compare_runs(entries[:4])).sections[0]
    many = comparison_document(compare_runs(entries)).sections[0]
    assert (len(few.blocks), len(many.blocks)) == (3, 2)
    assert len(few.blocks[1].items) == 6


def test_runs_are_told_from_their_samplers(comparison):
    assert "One run is one run." in markdown_text(comparison_document(comparison))
    assert "One run is one run." not in markdown_text(comparison_document(paired(3, 1, 0, 1)))


def test_what_differs_besides(comparison):
    part = section(comparison_document(comparison), "apart")
    [table] = tables(part)
    assert [column.name for column in table.columns] == ["what", "tpe", "gp"]
    assert ["sampler", "tpe", "gp"] in cells(table)
    assert "The same for all: task: xor" in part.blocks[-1].text[0]
    given = section(comparison_document(paired(3, 1, 0, 1)), "apart")
    assert given.blocks[0].text[0].startswith("Nothing is known")


def test_every_form_has_the_same_numbers(comparison, tmp_path):
    files = xt.write_comparison(comparison, tmp_path / "out", formats=["md", "html", "csv", "tex"])
    assert [path.name for path in files] == [
        f"comparison.{ending}" for ending in ("md", "html", "csv", "tex")
    ]
    text, html, csv, tex = (path.read_text(encoding="utf-8") for path in files)
    for shown in ("97/100", "80/100", "9, 26"):
        assert all(shown in form for form in (text, html, tex))
    assert escaped(answer(comparison)[0]) in text
    assert answer(comparison)[0].replace("<", "&lt;") in html
    table = pd.read_csv(io.StringIO(csv), engine="pyarrow")
    assert (table["k_a"][0], table["k_b"][0], table["only_a"][0]) == (97, 80, 17)
    pd.testing.assert_frame_equal(table, comparison.table, check_dtype=False, check_exact=True)
    for name in re.findall(r"\]\((comparison-figures/\S+)\)", text):
        assert "<svg" in (tmp_path / "out" / name).read_text()
    assert text.count("](comparison-figures/") == 2
    assert tex.count(r"\begin{tabular}") == 4
    assert page(comparison_document(comparison)) == html


def test_names_are_only_names(tmp_path):
    hostile = paired(40, 9, 1, 10, labels=("<script>alert(1)</script>", "=1+1|\n`x`"))
    document = comparison_document(hostile)
    assert "<script>alert" not in markdown_text(document)
    assert "<script>alert" not in page(document)
    assert "\n=1" not in comparison_csv(hostile)
    assert "'=1+1|" in comparison_csv(hostile)
    assert "\\textless{}script" in comparison_tex(hostile)
    width = None
    for line in markdown_text(document).splitlines():
        found = line.count("|") if line.startswith("|") else None
        assert width is None or found in (None, width)
        width = found
    [written] = write_comparison(hostile, tmp_path / "out", formats=["csv"])
    assert written.parent == tmp_path / "out"


def test_files_go_to_runs_below_the_working_directory(comparison, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [path] = xt.write_comparison(comparison, formats=["csv"])
    assert path.as_posix() == "runs/compare-tpe-gp/comparison.csv"
    odd = paired(4, 1, 0, 1, labels=("../../etc", "é#/" * 80))
    [path] = xt.write_comparison(odd, formats=["csv"])
    assert path.parent.parent.as_posix() == "runs"
    assert len(path.parent.name) <= 100
    assert path.resolve().is_relative_to(tmp_path / "runs")


@pytest.mark.parametrize("formats", [["pdf"], []])
def test_other_formats_are_refused(comparison, formats, tmp_path):
    with pytest.raises(InputError) as caught:
        xt.write_comparison(comparison, tmp_path / "out", formats=formats)
    assert caught.value.field == "format"
    assert not (tmp_path / "out").exists()


def test_a_published_table_has_all_forms_too(tmp_path):
    run = certified_run(tmp_path / "run", [None, None])
    (tmp_path / "t.csv").write_text("lr,k\n0.01,90\n0.02,7\n")
    found = xt.compare(run, reference=tmp_path / "t.csv")
    files = xt.write_comparison(found, tmp_path / "out", formats=["md", "html", "tex"])
    text, html, tex = (path.read_text(encoding="utf-8") for path in files)
    for form in (text, html, tex):
        assert "90/100" in form
    assert "Cells compared." in tex
    drawn = tmp_path / "out" / "comparison-figures"
    assert {path.stem for path in drawn.iterdir()} == {"agreement", "cell-differences"}


def test_figures_of_an_earlier_comparison_go_and_nothing_else(tmp_path):
    figures = tmp_path / "out" / "comparison-figures"
    three = compare_runs([contestant(f"c{i}", solved(0, 9 - i, 9)) for i in range(3)])
    write_comparison(three, tmp_path / "out", formats=["md"])
    (figures / "mine.svg").write_text("mine")
    assert {path.stem for path in figures.iterdir()} == {"differences", "wins", "profile", "mine"}
    write_comparison(paired(3, 1, 0, 1), tmp_path / "out", formats=["md"])
    assert {path.stem for path in figures.iterdir()} == {"differences", "profile", "mine"}


def test_figures_do_not_leave_the_directory(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "comparison-figures").symlink_to(tmp_path)
    with pytest.raises(InputError, match="symbolic link"):
        write_comparison(paired(3, 1, 0, 1), tmp_path / "out", formats=["md"])
    assert not (tmp_path / "differences.svg").exists()


def test_what_own_trainers_tell_of_their_seeds_is_compared():
    rule = parse_success("accuracy >= 0.9")
    accuracy = np.linspace(0.7, 1, 20)
    found = compare_runs(
        [
            Contestant(name, "", None, told, "given", {RULE: str(rule)}, rule=rule)
            for name, told in zip("ab", map(_told, (accuracy, accuracy**2)), strict=True)
        ]
    )
    document = comparison_document(found)
    assert [part.id for part in document.sections] == [
        *("answer", "compared", "pairs", "speed", "numbers", "apart", "words")
    ]
    part = section(document, "numbers")
    assert isinstance(part.blocks[0], Figure)
    wins, means = (cells(table) for table in tables(part))
    [win] = found.numbers[0].wins
    assert wins == [
        ["a", "b", measured(win.probability, win.low, win.high), interval(win.low, win.high)]
    ]
    assert [row[:2] for row in means] == [["a", "20 of 20"], ["b", "20 of 20"]]
    text = markdown_text(document)
    assert "counts no epochs" in text
    assert "were a success by the rule of the space file" in text
    assert "right side of 0.5" not in text, "that is the built-in network's"
    assert "The same for all: rule for success: accuracy &gt;= 0.9." in text


def _told(accuracy):
    found = solved(0, int((accuracy >= 0.9).sum()), accuracy.size)
    return replace(found, epochs=0, details=Details({"accuracy": accuracy}))
