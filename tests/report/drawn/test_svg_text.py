"""A compact SVG is the same picture with the same words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from io import StringIO

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from xortune.reports.drawing.matplotlib import compact

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
HOSTILE = 'a style="fill: #123456" x="1.23456" <use y="1.23456"/> & translate(1.23456 0) -->'


@pytest.fixture(scope="module")
def written() -> str:
    """Points, a line, a picture and words that look like what is rounded."""
    canvas, out = Figure(), StringIO()
    axes = canvas.add_subplot()
    axes.scatter(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2, alpha=0.6)
    axes.plot(np.linspace(0, 1, 50), np.sin(np.linspace(0, 9, 50)))
    axes.pcolormesh(np.arange(9.0).reshape(3, 3), rasterized=True)
    axes.set_title(HOSTILE)
    with mpl.rc_context({"svg.hashsalt": "x", "svg.fonttype": "path"}):
        canvas.savefig(out, format="svg", metadata={"Title": HOSTILE, "Date": None})
    return out.getvalue()


def styled(svg: str) -> list[tuple[str, dict[str, str]]]:
    """Each element with its attributes, its class replaced by what that stands for."""
    rules = dict(re.findall(r"\.(s[0-9a-f]+)\{([^}]*)\}", svg))
    found = []
    for element in ET.fromstring(svg).iter():
        attributes = dict(element.attrib)
        if "class" in attributes:
            attributes["style"] = rules[attributes.pop("class")]
        found.append((element.tag, attributes))
    return found


def test_each_element_is_where_it_was_and_looks_as_it_did(written):
    before, after = styled(written), styled(compact(written))
    assert len(before) == len(after) > 150
    for (tag, was), (other, now) in zip(before, after, strict=True):
        assert tag == other
        assert was.keys() == now.keys()
        for name, value in was.items():
            if name not in ("d", "x", "y", "transform"):
                assert now[name] == value
                continue
            assert NUMBER.sub("N", now[name]).split() == NUMBER.sub("N", value).split()
            numbers = [np.array(list(map(float, NUMBER.findall(v)))) for v in (value, now[name])]
            np.testing.assert_allclose(*numbers, atol=0.005 + 1e-9, rtol=0)


def test_scales_are_not_rounded(written):
    assert "scale(0.015625)" in written
    assert compact(written).count("scale(0.015625)") == written.count("scale(0.015625)")


def test_words_are_left_as_they_are(written):
    def words(svg: str) -> list[str]:
        texts = [text.strip() for text in ET.fromstring(svg).itertext() if "stroke" not in text]
        return [text for text in texts if text]

    assert HOSTILE in words(written)
    assert words(compact(written)) == words(written)
    comments = re.compile(r"<!--.*?-->", re.DOTALL)
    assert comments.findall(compact(written)) == comments.findall(written)


def test_it_is_smaller_and_compact_already_the_second_time(written):
    small = compact(written)
    assert len(small) < 0.8 * len(written)
    assert compact(small).count("class=") == small.count("class=")
    assert len(compact(small)) == len(small)


def test_a_text_without_a_style_sheet_keeps_its_styles():
    bare = "<svg>" + '<g style="fill: red"/>' * 9 + "</svg>\n"
    assert compact(bare) == bare
