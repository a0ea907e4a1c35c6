"""What matplotlib draws: the plot's values, the same bytes again, labels as they are."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from plots import BARS, CELLS, CURVES, PLOTS, RANKING, SURFACE, marks, of
from reported import compared

from xortune.reports.drawing.matplotlib import matplotlib_axes, pdf, png, shown, svg
from xortune.reports.drawing.model import COLOURS, Axis, Panel, Series
from xortune.reports.figures.comparisons import profile

EVERY = pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)


@pytest.fixture(autouse=True)
def _leaves_no_figure_open():
    yield
    plt.close("all")


@EVERY
def test_svg_says_what_it_shows(plot):
    first = svg(plot)
    assert not re.search(r"[ \t]+$", first, re.MULTILINE)
    assert first.replace("\n", "").isprintable()
    root = ET.fromstring(first)
    assert not root.findall(".//{*}script")
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [text.strip() for text in root.itertext() if text.strip()]
    assert {plot.title, plot.alt} <= set(texts)
    assert not root.findall(".//{http://purl.org/dc/elements/1.1/}date")


def test_pictures_and_pages_are_the_same_again():
    assert svg(RANKING) == svg(RANKING)
    page = pdf(BARS)
    assert page == pdf(BARS)
    assert page.startswith(b"%PDF-")
    assert b"CreationDate" not in page
    picture = png(BARS, dpi=40)
    assert picture == png(BARS, dpi=40)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(picture[16:20], "big") == 376, "9.4 inches"


def test_a_layout_does_not_depend_on_memory(tmp_path):
    """The solver orders its variables by address: each time the last digits may differ."""
    plot = profile(compared(tmp_path / "c"))
    kept, drawn = [], set()
    for count in range(12):
        kept.append([object() for _ in range(1000 * count + 37)])
        drawn.add(svg(plot))
    assert len(drawn) == 1


def test_lines_with_their_bands():
    first, second = matplotlib_axes(CURVES)
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")
    rising, stepped, help_, *rules = first.lines
    assert rising.get_xydata().tolist() == [[0.001, 0.0], [0.1, 0.5], [10.0, 1.0]]
    assert [line.get_drawstyle() for line in (rising, stepped)] == ["default", "steps-post"]
    assert (rising.get_linestyle(), help_.get_linestyle()) == ("-", "--")
    assert [rising.get_color(), stepped.get_color()] == [COLOURS["a"], COLOURS["b"]]
    assert [rules[0].get_xdata()[0], rules[1].get_ydata()[0]] == [0.03, 0.9]
    extents = first.collections[0].get_paths()[0].get_extents()
    assert (extents.y0, extents.y1) == (0.0, 1.0)
    assert [text.get_text() for text in first.texts] == ["0.03"]
    assert all(float(tick).is_integer() for tick in second.get_xticks())
    intervals = second.collections[1]
    assert [path.vertices[:, 1].tolist() for path in intervals.get_paths()] == [
        [0.0, 0.2],
        [0.5, 0.75],
    ]
    assert first.get_title(loc="left") == "By $lr$"
    assert first.xaxis.get_major_formatter()(1e-5, 0) == "1e-05"


def test_cells_and_their_texts():
    [axes] = matplotlib_axes(CELLS)
    [mesh] = axes.collections
    assert mesh.get_array().mask.tolist() == [[False, True], [False, False]]
    assert mesh.get_array().compressed().tolist() == [0.25, 1.0, 0.0]
    assert [text.get_text() for text in axes.texts] == ["25", "<b>", "$0$"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (0, 1), (1, 1)]
    assert [text.get_color() for text in axes.texts] == ["white", "black", "white"]
    assert axes.figure.axes[-1].get_xlabel() == "mean <rate>"
    assert mesh.get_clim() == (0, 1)
    cells = replace(CELLS.panels[0].layers[0], scale="difference")
    plot = replace(CELLS, panels=(replace(CELLS.panels[0], layers=(cells,)),))
    assert matplotlib_axes(plot)[0].collections[0].get_clim() == (-1, 1)


def test_points_are_seen_on_cells_whose_edge_is_sharp():
    [axes] = matplotlib_axes(SURFACE)
    mesh, dot, ring = axes.collections
    assert mesh.get_array().compressed().tolist() == [0.01, 0.02, 0.49, 0.51, 1.0, 1.0, 0.99]
    assert to_hex(dot.get_edgecolor()[0]) == to_hex(ring.get_facecolor()[0]) == "#ffffff"
    assert mesh.get_zorder() < dot.get_zorder() < ring.get_zorder()
    below, above = (mesh.cmap(value) for value in (0.495, 0.505))
    assert max(abs(a - b) for a, b in zip(below, above, strict=True)) > 0.1


def test_very_many_cells_are_one_picture():
    row = tuple(i / 30 for i in range(30))
    middles = tuple(map(float, range(30)))
    cells = replace(SURFACE.panels[0].layers[0], x=middles, y=middles, values=(row,) * 30)
    plot = replace(SURFACE, panels=(replace(SURFACE.panels[0], layers=(cells,)),))
    drawn = svg(plot)
    assert drawn.count("<image") == 2, "the cells, the scale"
    assert len(drawn) < 80_000


def test_labels_are_shown_as_they_are():
    [axes] = matplotlib_axes(RANKING)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[1] == r"$x^2$ and $\\frac{1}{0}".replace(r"\\", "\\")
    assert labels[2] == r"two\nlines"
    assert max(map(len, labels)) <= 60
    assert (labels[4][:3], labels[4][-3:]) == ("LLL", "RRR")
    for text in [*axes.get_yticklabels(), *axes.texts]:
        assert not text.get_parse_math(), "a formula"


@settings(max_examples=25)
@given(st.text(max_size=30))
def test_whatever_the_text_is_it_is_text(text):
    canvas = Figure(figsize=(1, 1), dpi=20)
    canvas.text(0, 0, shown(text), parse_math=False)
    canvas.draw_without_rendering()  # a missing glyph would be a warning


def test_in_a_notebook_a_figure_has_its_note():
    axes = matplotlib_axes(CURVES)
    assert len(axes) == 2
    [legend] = axes[0].figure.legends
    assert legend.get_title().get_text() == CURVES.note
    assert matplotlib_axes(CELLS)[0].figure.get_supxlabel() == CELLS.note, "it has no legend"
    assert len(plt.get_fignums()) == 2, "pyplot shows them"


def test_numbers_within_a_decade_are_written_as_they_are():
    values = Series("found", marks([15.0, 80.0], [1.0, 2.0]))
    panel = Panel(Axis("epochs", "log"), Axis("pair"), (values,))
    [axes] = matplotlib_axes(of(panel))
    axes.figure.canvas.draw()
    written = [label.get_text() for label in axes.get_xticklabels(minor=True)]
    assert {"20", "30", "40"} <= set(written)
    assert "$" not in "".join(written)
