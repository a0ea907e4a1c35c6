"""Every table is the same in Markdown and on the page."""

from html.parser import HTMLParser

from compared import certified_run, paired, unpaired
from compared_runs import networks, numbers, published
from markdown_it import MarkdownIt
from success_runs import fixed

import xortune as xt
from xortune.reports.comparison import comparison_document
from xortune.reports.document import markdown_text
from xortune.reports.html.page import page
from xortune.reports.run import run_document


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


def comparisons(folder):
    certified_run(folder / "tpe", [97, 99], sampler="tpe")
    certified_run(folder / "gp", [80], sampler="gp")
    yield xt.compare([folder / "tpe", folder / "gp"])
    yield from (networks(), numbers(), numbers(rule=None), paired(40, 9, 1, 10))
    yield unpaired(30, 40, 29, 40)
    yield published(folder)


def assert_same(document):
    shown, drawn = of_markdown(markdown_text(document)), tables(page(document))
    for table in shown:
        if table[0][:2] != ["", "solved"]:  # the table of all configs has a test of its own
            assert table in drawn, table[0]
    return shown


def test_the_tables_of_comparisons(tmp_path):
    for comparison in comparisons(tmp_path):
        assert len(assert_same(comparison_document(comparison))) >= 2


def test_the_tables_of_a_run(tmp_path):
    assert len(assert_same(run_document(fixed(tmp_path / "r")))) > 8
