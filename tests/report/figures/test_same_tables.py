"""Every table is the same in Markdown, on the page and, where it is in it, in LaTeX; and in CSV."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from compared import certified_run, paired, unpaired
from compared_runs import networks, numbers, published
from latex_read import read
from markdown_it import MarkdownIt
from success_runs import fixed

import xortune as xt
from xortune.comparisons.reference import Comparison
from xortune.core.formats import estimated, interval, measured, number, span
from xortune.reports.comparison import comparison_document
from xortune.reports.document import markdown_text
from xortune.reports.files import comparison_tex, csv_text
from xortune.reports.html.page import page
from xortune.reports.run import run_document
from xortune.reports.tables import rate_of
from xortune.reports.words import points, points_interval, wanted_seeds


class Tables(HTMLParser):
    """The cells of each table: its heads, then its rows; what the script fills is left out."""

    def __init__(self, html):
        super().__init__()
        self.found, self._cell, self._hidden = [], False, 0
        self.feed(html)

    def handle_starttag(self, tag, _):
        if tag == "table":
            self.found.append([])
        elif tag == "tr" and self.found:
            self.found[-1].append([])
        elif tag in ("th", "td") and self.found and self.found[-1]:
            self.found[-1][-1].append("")
            self._cell = True
        elif tag == "template":
            self._hidden += 1

    def handle_endtag(self, tag):
        if tag in ("th", "td", "table"):
            self._cell = False
        elif tag == "template":
            self._hidden -= 1

    def handle_data(self, data):
        if self._cell and not self._hidden:
            self.found[-1][-1][-1] += data


def tables(html):
    return [[[" ".join(c.split()) for c in row] for row in t] for t in Tables(html).found]


def of_markdown(text):
    return tables(MarkdownIt("commonmark").enable("table").render(text))


def of_latex(text):
    found = []
    for body in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        lines = [line.strip() for line in body.split("\\\\\n") if line.strip()]
        rows = [line.removeprefix("\\midrule").strip() for line in lines]
        rows = [row for row in rows if row]
        cells = [[read(_bare(cell)) for cell in re.split(r"(?<!\\) & |^& | &$", r)] for r in rows]
        found.append([[" ".join(cell.split()) for cell in row] for row in cells])
    return found


def _bare(cell):
    return re.sub(r"\\text(?:tt|bf)\{(.*)\}", r"\1", cell).replace("$-$", "−").strip()


def comparisons(folder):
    certified_run(folder / "tpe", [97, 99], sampler="tpe")
    certified_run(folder / "gp", [80], sampler="gp")
    yield xt.compare([folder / "tpe", folder / "gp"])
    yield from (networks(), numbers(), numbers(rule=None), paired(40, 9, 1, 10))
    yield unpaired(30, 40, 29, 40)
    yield published(folder)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return list(comparisons(tmp_path_factory.mktemp("same")))


def assert_same(document, latex=""):
    shown, drawn = of_markdown(markdown_text(document)), tables(page(document))
    for table in shown:
        if "trials" not in table[0]:  # the table of all configs has a test of its own
            assert table in drawn, table[0]
    printed = of_latex(latex)
    assert printed == [table for table in shown if table in printed], "as in the report"
    return shown, printed


def test_the_tables_of_comparisons(compared):
    for comparison in compared[:-1]:
        latex = comparison_tex(comparison)
        shown, printed = assert_same(comparison_document(comparison), latex)
        assert len(printed) == latex.count(r"\toprule") >= 2
        assert len(shown) >= len(printed)


def test_the_tables_of_a_published_table(compared):
    """In the report cells that differ stand apart from the others; in LaTeX in one table."""
    shown, _ = assert_same(comparison_document(compared[-1]))
    differing, others = (t for t in shown if t[0][:2] == ["optimizer", "lr"])
    [printed] = of_latex(comparison_tex(compared[-1]))
    assert printed == [*differing, *others[1:]]


def test_the_tables_of_a_run(tmp_path):
    assert len(assert_same(run_document(fixed(tmp_path / "r")))[0]) > 8


def csv_of(comparison):
    table = comparison.cells if isinstance(comparison, Comparison) else comparison.table
    return pd.read_csv(io.StringIO(csv_text(table)), engine="pyarrow")


def table_of(comparison, *heads):
    """The rows of the table that begins with these heads, as dicts."""
    shown = of_markdown(markdown_text(comparison_document(comparison)))
    [table] = [t for t in shown if tuple(t[0][: len(heads)]) == heads]
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def _whole(cell):
    return "" if pd.isna(cell) else f"{int(cell):,}"


def test_pairs_are_what_the_csv_has(compared):
    runs = [comparison for comparison in compared if hasattr(comparison, "pairs")]
    assert len(runs) == len(compared) - 1
    for comparison in runs:
        shown = table_of(comparison, "A", "B", "A solved")
        for row, exact in zip(shown, csv_of(comparison).to_dict("records"), strict=True):
            assert row["A solved"] == f"{exact['k_a']:,}/{exact['n_a']:,}"
            assert row["B solved"] == f"{exact['k_b']:,}/{exact['n_b']:,}"
            assert row["only A"] == _whole(exact["only_a"])
            ends = exact["low"], exact["high"]
            assert row["difference"] == points(exact["difference"], *ends)
            assert row["95 % interval"] == points_interval(*ends)
            for name, column in (("p", "p"), ("p (Holm)", "p_holm")):
                p = exact[column]
                assert row[name] == ("< 0.001" if p < 0.001 else number(p))
            more = exact["more_seeds"]
            assert row["more seeds"] == ("" if pd.isna(more) else wanted_seeds(int(more)))
            assert (row["ahead"] == "neither") == (not exact["differs"])


def test_contestants_are_what_the_csv_has(compared):
    for comparison in compared[:-1]:
        rates = {}
        for exact in csv_of(comparison).to_dict("records"):
            for side in "ab":
                k, n = exact[f"k_{side}"], exact[f"n_{side}"]
                assert exact[f"rate_{side}"] == k / n
                rates[exact[side]] = (
                    (f"{k:,}/{n:,}", rate_of(k, n)),
                    (interval(exact[f"low_{side}"], exact[f"high_{side}"])),
                )
        for row in table_of(comparison, "contestant", "solved"):
            assert ((row["solved"], row["rate"]), row["95 % interval"]) == rates[row["contestant"]]


def test_epochs_and_numbers_are_what_the_csv_has(compared):
    network, own = compared[1], compared[2]
    for comparison, name, wins, mean in (
        (network, "epochs", "sooner", "epochs"),
        (own, "accuracy", "accuracy_wins", "mean"),
    ):
        exact = csv_of(comparison)
        shown = of_markdown(markdown_text(comparison_document(comparison)))
        found = next(t for t in shown if t[0] == ["A", "B", "probability", "95 % interval"])
        for row, line in zip(found[1:], exact.to_dict("records"), strict=True):
            ends = line[f"{wins}_low"], line[f"{wins}_high"]
            assert row[2:] == [measured(line[wins], *ends), interval(*ends)]
        found = next(t for t in shown if mean in t[0] and t[0][0] == "contestant")
        of = {}
        for line in exact.to_dict("records"):
            for side in "ab":
                of[line[side]] = [line[f"{name}_iqm{end}_{side}"] for end in ("", "_low", "_high")]
        for row in found[1:]:
            middle, low, high = of[row[0]]
            if np.isnan(middle):
                assert row[-1] == ""
            else:
                ends = [None if np.isnan(end) else end for end in (low, high)]
                assert row[-2:] == [estimated(middle, *ends), span(*ends)]


def test_cells_are_what_the_csv_has(compared):
    comparison = compared[-1]
    shown = [
        table[1:]
        for table in of_markdown(markdown_text(comparison_document(comparison)))
        if table[0][:2] == ["optimizer", "lr"]
    ]
    rows = [row for table in shown for row in table]
    for row, exact in zip(rows, csv_of(comparison).to_dict("records"), strict=True):
        ends = exact["difference_low"], exact["difference_high"]
        assert row == [
            exact["optimizer"],
            number(exact["lr"]),
            f"{exact['k']}/{exact['n']}",
            interval(exact["low"], exact["high"]),
            f"{exact['reference_k']}/{exact['reference_n']}",
            interval(exact["reference_low"], exact["reference_high"]),
            f"{points(exact['difference'], *ends)} {points_interval(*ends)}",
            number(exact["p"]),
            number(exact["p_holm"]),
        ]
