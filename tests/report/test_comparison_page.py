"""What comparisons say, as far as golden/ does not show it, and where their files go."""

import io

import pandas as pd
import pytest
from compared import contestant, paired, unpaired
from hand_made import CONFIG, done, solved, write_run
from hypothesis import given
from hypothesis import strategies as st
from reported import compared, published
from test_goldens import is_golden

import xortune as xt
from xortune.comparisons.runs import answer, compare_runs, points, points_interval
from xortune.core.errors import InputError
from xortune.reports.comparison import comparison_document
from xortune.reports.document import markdown_text
from xortune.reports.files import csv_text
from xortune.reports.page import page


def three(*counts, n=100):
    return compare_runs([contestant(f"c{i}", solved(0, k, n)) for i, k in enumerate(counts)])


def test_what_is_answered():
    found = {
        "told apart": paired(841, 130, 2, 27),
        "the one that is ahead comes first": paired(841, 2, 130, 27, labels=("B", "A")),
        "not told apart": unpaired(80, 100, 70, 90, labels=("tpe", "random")),
        "equal": paired(10, 0, 0, 2),
        "close": paired(4000, 201, 200, 99),
        "odd names": paired(10, 0, 0, 2, labels=("a\nb\x1b[1m", "<b>*x*</b>")),
        "the first is the best of three": three(95, 80, 60),
        "the last is": three(60, 80, 95),
        "three alike": three(90, 90, 90),
        "two of four": three(90, 89, 40, 41),
        # c0 beats c2, and c1 is indistinguishable from either.
        "between two": three(90, 86, 83),
    }
    told = [f"# {name}\n\n" + "\n\n".join(answer(one)) for name, one in found.items()]
    is_golden("sentences.md", "\n\n".join(told) + "\n")


@given(st.floats(-1, 1), st.floats(0, 0.5))
def test_an_interval_is_rounded_outwards(difference, half):
    low, high = max(-1, difference - half), min(1, difference + half)
    shown = points_interval(low, high).strip("[]").split(", ")
    assert float(shown[0]) <= 100 * low + 1e-6
    assert float(shown[1]) >= 100 * high - 1e-6
    assert "-0.0" not in {*shown, points(difference, low, high)}
    assert float(shown[0]) <= float(points(difference, low, high)) <= float(shown[1])


def test_seeds_that_are_left_out_are_told_of():
    found = compare_runs([contestant("a", solved(0, 9, 10)), contestant("b", solved(2, 9, 10))])
    told = markdown_text(comparison_document(found))
    assert "a and b share only some of their seeds: 2 and 2 were left out" in told


def test_long_tables_are_cut_and_say_so(tmp_path):
    lrs = range(1, 151)
    lines = [done(lr, CONFIG | {"lr": lr}, solved(0, 0 if lr <= 120 else 50, 100)) for lr in lrs]
    run = write_run(tmp_path / "r", lines, trainer="network")
    path = tmp_path / "t.csv"
    path.write_text("lr,k\n" + "".join(f"{lr},50\n" for lr in lrs))
    text = markdown_text(comparison_document(xt.compare(run, reference=path)))
    _, differing, others, groups = text.rsplit("\n## ", 4)[:4]
    assert (differing.count("/100 |"), others.count("/100 |")) == (200, 40)
    assert "... and 20 more, in comparison.csv." in differing
    assert "... and 10 more, in comparison.csv." in others
    assert "... and 110 more values." in groups


# -------------------------------------------------------------------------------------------------
# Files.


def test_the_csv_is_the_frame(tmp_path):
    compared(tmp_path / "a")
    runs = xt.compare([tmp_path / "a" / name for name in ("tpe", "gp")])
    for frame in (runs.table, published(tmp_path / "b").cells):
        again = pd.read_csv(io.StringIO(csv_text(frame)), engine="pyarrow")
        pd.testing.assert_frame_equal(again, frame, check_dtype=False, check_exact=True)
    text = csv_text(paired(40, 9, 1, 10, labels=("<script>", "=1+1|\n`x`")).table)
    assert "'=1+1|" in text
    assert "\n=1" not in text


def test_files_go_beside_the_run_or_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xortune.reports.files.page", page)
    beside = published(tmp_path)
    files = xt.write_comparison(beside, formats=["md", "html"])
    assert files == (tmp_path / "sweep/comparison.md", tmp_path / "sweep/comparison.html")
    document = comparison_document(beside)
    assert files[0].read_text() == markdown_text(document, figures="comparison-figures/")
    assert files[1].read_text() == page(document)
    for place in (files[0], "a\0b"):
        with pytest.raises(InputError, match=r"cannot be written.*directory with output$"):
            xt.write_comparison(beside, place)
    [path] = xt.write_comparison(paired(3, 1, 0, 1), formats=["csv"])
    assert path.as_posix() == "runs/compare-A-B/comparison.csv"
    odd = paired(4, 1, 0, 1, labels=("../../etc", "é#/" * 80))
    [path] = xt.write_comparison(odd, formats=["csv"])
    assert path.parent.parent.as_posix() == "runs"
    assert len(path.parent.name) <= 100
    assert path.resolve().is_relative_to(tmp_path / "runs")


def test_other_formats_are_refused_and_figures_do_not_leave_the_directory(tmp_path):
    found, out = paired(3, 1, 0, 1), tmp_path / "out"
    for formats in (["pdf"], []):
        with pytest.raises(InputError) as caught:
            xt.write_comparison(found, out, formats=formats)
        assert caught.value.field == "format"
        assert not out.exists()
    out.mkdir()
    (out / "comparison-figures").symlink_to(tmp_path)
    with pytest.raises(InputError, match="symbolic link"):
        xt.write_comparison(found, out, formats=["md"])
    assert not (tmp_path / "differences.svg").exists()
