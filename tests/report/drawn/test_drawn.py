"""What a plot becomes: matplotlib's figures and files, and what plotly.js is given.

The plots have one layer of each kind, with labels that somebody may have chosen to do harm.
"""

import html
import json
import math
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from reported import compared

from xortune.reports.drawing import model
from xortune.reports.drawing.matplotlib import matplotlib_axes, pdf, png, shown, svg
from xortune.reports.drawing.model import COLOURS, Axis, Cells, Guide, Mark, Panel, Series
from xortune.reports.drawing.plotly import GREY, plotly_figure, plotly_json
from xortune.reports.figures.comparisons import profile
from xortune.reports.page import Link, asset, colours, data_tables

GOLDEN = Path(__file__).with_name("golden.json")
HOSTILE = (
    "<script>alert('x')</script> & \"co\"",
    "$x^2$ and $\\frac{1}{0}",
    "two\nlines",
    "emoji 😀 and ⁢ and \U0001fae0",
    "L" * 120 + "R" * 80,
    "_hidden %{y} <b>",
)
RATE = Axis("seeds solved", "rate", model.RATES)


def named(*categories, title=""):
    return Axis(title, "category", categories=categories)


def of(name, *panels):
    about = "What <one> sees & $pays$", 'It "says" <this> & that.', "n = 9."
    return model.Plot(name, *about, panels, columns=len(panels))


def panel(x, y, *layers, title=""):
    return Panel(x, y, layers, title=title)


def marks(x, y, low=(), high=(), **more):
    """Marks at these places; with ends of y."""
    ends = zip(low, high, strict=True) if low else [None] * len(x)
    return tuple(Mark(*place, y_ends=e, **more) for *place, e in zip(x, y, ends, strict=True))


RATES_OF = ((1.0, 0.9, 1.0), (0.9, 0.8, 0.95), (0.8, 0.7, 0.9), (0.5, 0.4, 0.6), (0.25, 0.2, 0.3))
RANKED = tuple(
    Mark(rate, float(row), x_ends=(low, high), text=f"{HOSTILE[row]} again", key=f"k{row}")
    for row, (rate, low, high) in enumerate((*RATES_OF, (0.0, 0.0, 0.125)))
)
RANKED_PANEL = panel(
    RATE,
    named(*HOSTILE),
    Guide("y", -0.5, HOSTILE[0], to=1.5),
    Series(HOSTILE[1], RANKED, marker="ring"),
    Series(HOSTILE[5], (Mark(0.875, 0.25),), role="best", marker="diamond"),
    Guide("x", 0.95, HOSTILE[2]),
)
LRS = (0.001, 0.1, 10)
DASHED = Series("", marks((0.001, 10), (0.25, 0.75)), "line", role="neutral", dashed=True)
BY_LR = panel(
    Axis("lr", "log"),
    RATE,
    Series("first", marks(LRS, (0, 0.5, 1), (0, 0.4, 0.9), (0.1, 0.6, 1)), "line"),
    Series(
        "second", marks(LRS, (0.9, 0.5, 0.2), (0.8, 0.4, 0.1), (1.0, 0.6, 0.3)), "steps", role="b"
    ),
    DASHED,
    Guide("x", 0.03, "0.03"),
    Guide("y", 0.9),
    title="By $lr$",
)
BY_UNITS = panel(
    Axis("units", whole=True),
    RATE,
    Series("first", marks((2, 3, 4), (0.1, 0.4, 0.7)), "line"),
    Series("", marks((2, 4), (0.1, 0.7), (0.0, 0.5), (0.2, 0.75))),
    Guide("x", 2.5, to=3.5),
    title="By units",
)
WRONG = (Mark(3, 0, x_ends=(0, 3), key="p"), Mark(5, 1, x_ends=(0, 5), key="q"))
DIVERGED = (Mark(2, 0, x_ends=(3, 5)), Mark(1, 1, x_ends=(5, 6)))
LYING = panel(
    Axis("seeds", whole=True),
    named("one", "two"),
    Series("wrong", WRONG, "bars", role="b"),
    Series("diverged", DIVERGED, "bars", role="neutral"),
)
STANDING = panel(
    named("8", "32", "128", title="seeds each"),
    Axis("configs"),
    Series("", marks((0, 1, 2), (50, 20, 7), (0, 0, 0), (50, 20, 7)), "bars"),
)
COUNTED = Cells(
    (0.0, 1.0),
    (0.0, 1.0),
    ((0.25, math.nan), (1.0, 0.0)),
    "mean <rate>",
    texts=(("25", ""), ("<b>", "$0$")),
    notes=(("2 of 8", ""), ("<b>8</b>", "none")),
)
OUTPUTS = ((0.01, 0.02, 0.49, 0.51), (1.0, math.nan, 1.0, 0.99))
LEARNED = Cells((0.5, 1.5, 2.5, 3.5), (0.5, 1.5), OUTPUTS, "output", "class")
TARGETS = (
    Series("target 1", (Mark(0.5, 1.5),), role="best"),
    Series("target 0", (Mark(1.5, 0.5),), role="best", marker="ring"),
)
THREE = model.Lines(
    ((0.0, 0.5, 1.0), (1.0, 0.125, 0.975), (0.25, 0.25, 0.125)),
    (1.0, 0.975, 0.125),
    "seeds solved",
    texts=("<one>", "two", "three"),
    keys=("k1", "k2", "k3"),
)
ENDS = (Mark(0, 0, text="<b>$low$"), Mark(1, 1, text="a name much longer than that"))
WRITTEN = Series("", ENDS, role="neutral", marker="ring", written=True)
PARALLEL = panel(named("lr", "units", "rate"), Axis("", limits=(0.0, 1.0)), THREE, WRITTEN)
PLOTS = (
    RANKING := of("ranking", RANKED_PANEL),
    CURVES := of("curves", BY_LR, BY_UNITS),
    BARS := of("bars", LYING, STANDING),
    CELLS := of("cells", panel(named("0.01", "0.1", title="lr"), named("a", "b"), COUNTED)),
    SURFACE := of(
        "surface", panel(Axis("input 1"), Axis("input 2"), LEARNED, *TARGETS, title="solved")
    ),
    of("parallel", PARALLEL),
)
EVERY = pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)


def with_layer(plot, layer, **axes):
    """The plot with its first panel alone, and this layer alone in that."""
    alone = replace(plot.panels[0], layers=(layer,), **axes)
    return replace(plot, panels=(alone,), columns=1)


DRAWN = {
    **{plot.name: plot for plot in PLOTS},
    "a line of one point": with_layer(CURVES, replace(DASHED, marks=DASHED.marks[:1])),
    "differences": with_layer(CELLS, replace(COUNTED, scale="difference", notes=())),
    "a log axis with limits": with_layer(
        CURVES, DASHED, x=replace(CURVES.panels[0].x, limits=(0.1, 10.0))
    ),
}


# Matplotlib: the plot's values, the same bytes again, labels as they are.


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
    page, picture = pdf(BARS), png(BARS)
    assert (page, picture) == (pdf(BARS), png(BARS))
    assert (page[:5], picture[:8]) == (b"%PDF-", b"\x89PNG\r\n\x1a\n")
    assert b"CreationDate" not in page
    assert int.from_bytes(picture[16:20], "big") == 1410, "9.4 inches"


def test_a_layout_does_not_depend_on_memory(tmp_path, monkeypatch):
    """The solver orders its variables by address, so last digits may differ: none is kept."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda *of, **how: saved.append(of[0]) or save(*of, **how)
    )
    svg(profile(compared(tmp_path / "c")))
    [canvas] = saved
    places = np.array([axes.get_position(original=True).bounds for axes in canvas.axes])
    assert places.shape[0] > 1
    np.testing.assert_allclose(places, places.round(9), rtol=0, atol=1e-14)


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
    ends = [path.vertices[:, 1].tolist() for path in second.collections[1].get_paths()]
    assert ends == [[0.0, 0.2], [0.5, 0.75]]
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
    [axes] = matplotlib_axes(DRAWN["differences"])
    assert axes.collections[0].get_clim() == (-1, 1)


def test_points_are_seen_on_cells_whose_edge_is_sharp():
    [axes] = matplotlib_axes(SURFACE)
    mesh, dot, ring = axes.collections
    assert mesh.get_array().compressed().tolist() == [0.01, 0.02, 0.49, 0.51, 1.0, 1.0, 0.99]
    assert to_hex(dot.get_edgecolor()[0]) == to_hex(ring.get_facecolor()[0]) == "#ffffff"
    assert mesh.get_zorder() < dot.get_zorder() < ring.get_zorder()
    below, above = (mesh.cmap(value) for value in (0.495, 0.505))
    assert max(abs(a - b) for a, b in zip(below, above, strict=True)) > 0.1


def test_very_many_cells_are_one_picture():
    at = tuple(map(float, range(30)))
    values = (tuple(i / 30 for i in range(30)),) * 30
    drawn = svg(with_layer(SURFACE, replace(LEARNED, x=at, y=at, values=values)))
    assert drawn.count("<image") == 2, "the cells, the scale"
    assert len(drawn) < 80_000


def test_labels_are_shown_as_they_are():
    [axes] = matplotlib_axes(RANKING)
    labels = [label.get_text().replace("\n", "") for label in axes.get_yticklabels()]
    assert labels[1] == r"$x^2$ and $\\frac{1}{0}".replace(r"\\", "\\")
    assert labels[2] == r"two\nlines"
    assert max(map(len, labels)) <= 108
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
    first, _ = matplotlib_axes(CURVES)
    [legend] = first.figure.legends
    assert legend.get_title().get_text() == CURVES.note
    assert matplotlib_axes(CELLS)[0].figure.get_supxlabel() == CELLS.note, "it has no legend"
    assert len(plt.get_fignums()) == 2, "pyplot shows them"


def test_numbers_within_a_decade_are_written_as_they_are():
    found = Series("found", marks([15.0, 80.0], [1.0, 2.0]))
    [axes] = matplotlib_axes(of("plot", panel(Axis("epochs", "log"), Axis("pair"), found)))
    axes.figure.canvas.draw()
    written = [label.get_text() for label in axes.get_xticklabels(minor=True)]
    assert {"20", "30", "40"} <= set(written)
    assert "$" not in "".join(written)


# Plotly: the plot's values, trace types of its cartesian bundle, no markup.


def test_golden():
    """What plotly.js is given, and the same data as tables.

    To renew it after a wanted change: GOLDEN=renew, and read the diff.
    """

    def told(cell):
        return [cell, cell.key] if isinstance(cell, Link) else cell

    found = {}
    for name, plot in DRAWN.items():
        found[name] = {**plotly_json(plot), "tables": {}}
        for about, table in data_tables(plot):
            rows = ([*map(told, row)] for row in table.rows)
            found[name]["tables"][about] = [[column.name for column in table.columns], *rows]
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("GOLDEN") == "renew":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


@EVERY
def test_a_page_and_a_notebook_have_the_same_marks(plot):
    assert json.loads(plotly_figure(plot).to_json())["data"] == plotly_json(plot)["data"]


@EVERY
def test_panels_do_not_lie_over_each_other(plot):
    layout = plotly_json(replace(plot, panels=plot.panels * 3))["layout"]
    numbers = ["", *range(2, 1 + 3 * len(plot.panels))]
    found = [[layout[f"{axis}axis{number}"]["domain"] for axis in "xy"] for number in numbers]
    assert all(0 <= low < high <= 1 for both in found for low, high in both)
    for (x, y), (others_x, others_y) in pairwise(found):
        assert x[1] < others_x[0] or others_y[1] < y[0]
    assert layout["height"] > plotly_json(plot)["layout"]["height"] > 100


@EVERY
def test_nothing_is_read_as_markup(plot):
    figure = plotly_figure(plot)
    for text in strings(figure.to_plotly_json()):
        tags = set(re.findall(r"<[^>]*>?", text))
        assert tags <= {"<br>", "<b>", "</b>"}, text
        assert "$" not in text, "LaTeX"
    texts = map(html.unescape, strings(figure.to_plotly_json()))
    assert any("What <one> sees & $pays$" in text for text in texts)


# Colours are told apart and seen, whoever looks and on whatever ground.

# Machado, Oliveira and Fernandes (2009), IEEE TVCG 15(6): colour vision without one kind of cone,
# as a matrix on linear RGB.
VISION = {
    "all": np.eye(3),
    "no red": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "no green": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "no blue": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip


def linear(colour):
    """Linear RGB of #rrggbb."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(colour, vision):
    """CIE L*a*b* (D65) of what is seen."""
    seen = np.clip(VISION[vision] @ linear(colour), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    """WCAG 2.2's contrast of two colours, from 1 to 21."""
    luminances = [float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)]
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def along(scale):
    """Its colours at a hundred places."""
    colours = LinearSegmentedColormap.from_list(scale, list(model.SCALES[scale]), N=512)
    return [to_hex(colours(place / 100)) for place in range(101)]


@pytest.mark.parametrize("ground", ["#ffffff", "#15181c"])
def test_every_mark_is_seen(ground):
    assert ground in asset("assets/page.css"), "the grounds of the page"
    names = {name for part in get_args(model.Role) for name in get_args(part)}
    assert set(COLOURS) == names
    assert f"--best:{COLOURS['best']};" in colours(), "a page names the same"
    for colour in (*COLOURS.values(), *along("lines"), GREY):
        assert contrast(colour, ground) >= 3, colour


TOGETHER = (
    "abcdef",
    ("failed", "pattern", "neutral", "all_zero", "all_one", "diverged", "crashed", "stopped"),
    ("other", "solved", "stopped", "best", "proven", "refuted", "failed", "neutral"),
    ("neutral", "other", "void"),
)
"""What one figure shows: chosen configurations; how seeds failed; why a configuration got no more
seeds, and what is proven of it; what a worker did."""


@pytest.mark.parametrize("vision", VISION)
def test_roles_are_told_apart_and_a_higher_rate_is_lighter(vision):
    pairs = {pair for shown in TOGETHER for pair in combinations(shown, 2)}
    pairs |= {("a", "best"), ("b", "best"), ("best", "crashed")}
    for one, other in pairs:
        seen = lab(COLOURS[one], vision) - lab(COLOURS[other], vision)
        assert np.linalg.norm(seen) > 10, (one, other)
    lightness = [lab(colour, vision)[0] for colour in along("rate")]
    assert all(a < b for a, b in pairwise(lightness[::5]))


def test_a_surface_has_an_edge_at_one_half():
    colours = along("class")
    assert np.linalg.norm(lab(colours[49], "all") - lab(colours[51], "all")) > 15
