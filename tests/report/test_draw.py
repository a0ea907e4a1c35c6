"""Drawn figures: the same bytes, legal SVG and PNG, and what is in them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from xortune.report.draw import COLOURS, png, svg
from xortune.report.figure import Curves, Dots, Line, Mark, Series

CURVES = Curves(
    name="rates",
    title="Rates & <rates>",
    alt='One rises, "the other" falls & <stays>.',
    x_label="lr",
    x_log=True,
    y_label="solved",
    lines=(
        Line("first", (0.001, 0.1, 10.0), (0.0, 0.5, 1.0), (0.0, 0.4, 0.9), (0.1, 0.6, 1.0)),
        Line("second", (0.001, 0.1, 10.0), (0.9, 0.5, 0.2), (0.8, 0.4, 0.1), (1.0, 0.6, 0.3)),
    ),
    marks=(Mark(0.03, "0.03"),),
)
WHOLE = replace(
    CURVES,
    name="units",
    x_log=False,
    lines=(Line("one", (2.0, 3.0, 4.0), (0.1, 0.4, 0.7), (0.0, 0.3, 0.6), (0.2, 0.5, 0.8)),),
    marks=(),
)
DOTS = Dots(
    name="dots",
    title="Quoted and measured",
    alt="Both agree.",
    x_label="solved",
    rows=("T1", "T2", "T3"),
    series=(
        Series("quoted", "ring", (0, 1, 2), (0.1, 0.5, 0.9), (0.0, 0.4, 0.8), (0.2, 0.6, 1.0)),
        Series("measured", "dot", (0, 2), (0.15, 0.85), (0.1, 0.8), (0.2, 0.9)),
    ),
    gaps=(2,),
)
FIGURES = pytest.mark.parametrize("figure", [CURVES, WHOLE, DOTS], ids=lambda f: f.name)


@pytest.fixture
def drawn(monkeypatch):
    """The axes of what is drawn."""
    from matplotlib.figure import Figure

    kept, real = [], Figure.savefig

    def save(canvas, *args, **kwargs):
        kept.append(canvas)
        real(canvas, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", save)

    def draw(figure):
        svg(figure)
        return kept[-1].axes[0]

    return draw


@FIGURES
def test_svg_is_the_same_again(figure):
    first = svg(figure)
    assert svg(figure) == first
    assert svg(replace(figure, title="Another")) != first
    assert not re.search(r"[ \t]+$", first, re.MULTILINE)
    assert first.endswith("</svg>\n")


@FIGURES
def test_svg_says_what_it_shows(figure):
    root = ET.fromstring(svg(figure))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [text.strip() for text in root.itertext() if text.strip()]
    assert figure.title in texts
    assert figure.alt in texts
    assert not root.findall(".//{http://purl.org/dc/elements/1.1/}date")


@FIGURES
def test_png_is_one(figure):
    picture = png(figure, dpi=40)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width = int.from_bytes(picture[16:20], "big")
    assert width == 7 * 40


def test_a_curve_has_its_lines_bands_and_marks(drawn):
    axes = drawn(CURVES)
    assert axes.get_xscale() == "log"
    first, second, mark = axes.lines
    assert first.get_xydata().tolist() == [[0.001, 0.0], [0.1, 0.5], [10.0, 1.0]]
    assert second.get_ydata().tolist() == [0.9, 0.5, 0.2]
    assert list(mark.get_xdata()) == [0.03, 0.03]
    assert [first.get_color(), second.get_color()] == list(COLOURS[:2])
    bands = [band.get_paths()[0].get_extents() for band in axes.collections]
    assert [(band.y0, band.y1) for band in bands] == [(0.0, 1.0), (0.1, 1.0)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["first", "second"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("lr", "solved")
    assert "0.03" in [text.get_text() for text in axes.texts]
    low, high = axes.get_ylim()
    assert low < 0
    assert high > 1
    assert axes.yaxis.get_major_formatter()(0.5, 0) == "50%"


def test_whole_numbers_have_whole_ticks(drawn):
    axes = drawn(WHOLE)
    assert axes.get_xscale() == "linear"
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert axes.get_legend() is None
    between = drawn(replace(WHOLE, lines=(replace(WHOLE.lines[0], x=(2.0, 2.5, 3.0)),)))
    assert not all(float(tick).is_integer() for tick in between.get_xticks())


def test_dots_are_in_their_rows(drawn):
    axes = drawn(DOTS)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["T1", "T2", "T3"]
    bottom, top = axes.get_ylim()
    assert bottom > top, "the first row is at the top"
    intervals, quoted, more, measured = axes.collections
    offsets = quoted.get_offsets().tolist()
    assert [x for x, _ in offsets] == [0.1, 0.5, 0.9]
    assert [round(y) for _, y in offsets] == [0, 1, 2]
    assert [(x, round(y)) for x, y in measured.get_offsets().tolist()] == [(0.15, 0), (0.85, 2)]
    assert all(a[1] < b[1] for a, b in zip(offsets, measured.get_offsets().tolist(), strict=False))
    ends = [path.vertices[:, 0].tolist() for path in intervals.get_paths()]
    assert ends == [[0.0, 0.2], [0.4, 0.6], [0.8, 1.0]]
    assert [path.vertices[:, 0].tolist() for path in more.get_paths()] == [[0.1, 0.2], [0.8, 0.9]]
    assert quoted.get_facecolor().tolist()[0][:3] == [1.0, 1.0, 1.0], "a ring"
    assert measured.get_facecolor().tolist()[0][:3] != [1.0, 1.0, 1.0]
    [gap] = axes.lines
    assert list(gap.get_ydata()) == [1.5, 1.5]
    [legend] = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["quoted", "measured"]


def test_drawing_leaves_no_settings_behind():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    svg(DOTS)
    assert dict(mpl.rcParams) == before
