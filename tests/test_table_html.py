"""What a notebook shows of a run, an outcome, a comparison: its numbers, and no markup in them."""

import re
from xml.etree import ElementTree

import pandas as pd
from compared import in_step
from hand_made import CONFIG, done, outcome, solved, write_run
from hypothesis import given
from hypothesis import strategies as st
from pages import Parsed

import xortune as xt
from xortune.core.formats import FIRST_ROWS, as_html, interval, measured
from xortune.core.outcome import wilson

TAGS = {"p", "div", "style", "table", "thead", "tbody", "tr", "th", "td"}
HOSTILE = '<script>alert(1)</script> & "quotes" $x^2$ \ud800'


def read(value):
    found = value._repr_html_()
    assert {tag for tag, _ in Parsed(found).elements} <= TAGS
    return found


def table_of(text):
    rows = ElementTree.fromstring(f"<div>{text}</div>").iter("tr")
    header, *rows = [["".join(cell.itertext()) for cell in row] for row in rows]
    return pd.DataFrame(rows, columns=header).replace({"\N{NO-BREAK SPACE}": " "}, regex=True)


def test_a_run(tmp_path):
    rows = [done(i, CONFIG | {"lr": 0.01 * (i + 1)}, solved(0, i, 16)) for i in range(13)]
    run = write_run(tmp_path / "run", rows, trainer="network")
    text = read(run)
    assert "13 configurations, 208 seeds" in text
    assert "The first 10 of 13 rows." in text
    frame = table_of(text)
    assert len(frame) == FIRST_ROWS
    for name in ("key", "k", "n"):
        assert [str(v) for v in frame[name]] == [str(v) for v in run.table[name][:FIRST_ROWS]]
    assert frame["rate"][0] == "75 %"
    for name, sign in (("low", -1), ("high", 1)):
        shown = [float(v.removesuffix(" %")) / 100 for v in frame[name]]
        for seen, true in zip(shown, run.table[name], strict=False):
            assert 0 <= sign * (seen - true) <= 0.01, "rounded outwards"


def test_a_run_whose_values_are_hostile(tmp_path):
    rows = [done(i, {"name": name}, solved(0, 3, 4)) for i, name in enumerate((HOSTILE, "n\new"))]
    text = read(write_run(tmp_path / "<b>run", rows, trainer="custom"))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in text
    assert "&lt;b&gt;run" in text
    text.encode()  # a lone surrogate would not be UTF-8
    for part in re.findall(r"<(?:table|p)[^>]*>", text):
        assert "mathjax_ignore" in part or part == "<p>", "no formulas"


def test_an_outcome():
    found = outcome(0, [(0, 1, 1, 0)] * 5 + [(0, 0, 0, 0)] * 2 + [(0, 1, 1, 1)], diverged=(7,))
    text = read(found)
    assert "5/8 solved" in text
    assert table_of(text).to_numpy().tolist() == [
        ["solved", "5", "62.5 %"],
        ["all_zero", "2", "25.0 %"],
        ["diverged", "1", "12.5 %"],
    ]


@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_rates_are_rounded_as_in_every_report(k, failed):
    n = max(k + failed, 1)
    low, high = map(float, wilson(k, n))
    row = pd.DataFrame([{"rate": k / n, "low": low, "high": high}])
    [rate, least, most] = table_of(as_html("", row)).iloc[0]
    assert rate == measured(k / n, low, high)
    assert f"{least.removesuffix(' %')}–{most}" == interval(low, high)


@given(st.text(), st.text(max_size=50))
def test_any_text_is_text(sentence, cell):
    rows = pd.DataFrame({"a": [cell], cell or "b": ["x"]})
    found = Parsed(as_html(sentence, rows))
    assert {tag for tag, _ in found.elements} <= TAGS
    kept = sentence.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" not in kept and kept.isprintable():
        assert kept in found.text


def test_all_that_is_answered_shows_itself_with_its_sentence(tmp_path):
    run = write_run(tmp_path / "run", [done(0, CONFIG, solved(0, 50, 100))], trainer="network")
    for value, shown in (
        (xt.plan(rate=0.95, measure=False), ["59"]),
        (xt.plan(between=(0.9, 0.95), measure=False), ["466", "463"]),
        (xt.status(run.path), ["50/100"]),
        (xt.compare([solved(0, 19, 20), solved(0, 2, 20)]), ["k_a", "95 % against", "McNemar"]),
        (in_step([[True] * 9, [True] * 2 + [False] * 7], 9)[0], ["a 8/8, b 2/8"]),
    ):
        text = read(value).replace("\N{NO-BREAK SPACE}", " ")
        assert not [part for part in shown if part not in text], text
        if str(value) != repr(value):  # a status says it otherwise
            assert Parsed(as_html(str(value))).text.strip() in Parsed(text).text
