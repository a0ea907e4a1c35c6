"""The page: its structure, what it lets run, and that no text in it is more than text."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from importlib.resources import files

import pytest
from hand_made import CONFIG, done, solved, write_run
from html_documents import Parsed, every_block, network_table
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.formats import plain
from xortune.reports.document import Document, Link, Mono, Section, said
from xortune.reports.html.page import page
from xortune.reports.run import run_document

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"'><b onmouseover='x'>&amp;",
    "]]><!-- {{ 7 * 7 }} {% raw %}",
    "line\nbreak\u2028and\u2029tab\t\x00\x1b[31m",
    "emoji 🎲 and \u202eright to left",
    "long" * 50,
    "javascript:alert(1)",
    "NaN",
    "\ud800 lone",
]


@pytest.fixture(scope="module")
def parsed():
    return Parsed(page(every_block()))


def test_the_same_document_is_the_same_page():
    assert page(every_block()) == page(every_block())


def test_headings_are_in_order_and_say_where_one_is(parsed):
    levels = [int(tag[1]) for tag, _ in parsed.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert [text for _, text in parsed.headings] == [
        "xortune: plain",
        "The answer plain",
        "Configs",
        "The rest",
        "About plain",
    ]


def test_ids_are_unique_and_links_lead_somewhere(parsed):
    assert len(parsed.ids) == len(set(parsed.ids))
    held = {row[0] for data in parsed.data for row in data.get("rows", ())}
    inner = [a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")]
    # The empty one is of the row that the script copies.
    assert set(inner) - {""} <= set(parsed.ids) | held
    assert {"main", "answer", "configs", "rest"} < set(inner)


def test_every_table_has_heads_with_a_scope_and_a_name(parsed):
    tables = parsed.all("table")
    regions = [a for tag, a in parsed.elements if tag == "div" and a.get("class") == "scroll"]
    assert len(tables) == len(regions) > 5
    assert all(region["tabindex"] == "0" for region in regions)
    labels = [region["aria-label"] for region in regions]
    assert len(labels) == len(set(labels))
    assert all(labels)
    assert {head.get("scope") for head in parsed.all("th")} == {"col", "row"}


def test_a_figure_says_what_it_shows_without_being_drawn(parsed):
    [plot] = [a for _, a in parsed.elements if a.get("role") == "img"]
    assert plot["aria-label"] == "What is found about plain."
    assert "What is found about plain." in parsed.text
    assert "n = 3; 95 % intervals of plain." in parsed.text
    assert parsed.text.count("All kinds of plain") >= 2  # its title, and above its data


def test_only_what_the_policy_names_runs_and_nothing_is_fetched(parsed):
    [policy] = [a["content"] for a in parsed.all("meta") if "http-equiv" in a]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for tag, attributes, text in parsed.raw:
        if attributes.get("type") == "application/json":
            continue
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules[f"{tag}-src"]
    assert "unsafe" not in rules["script-src"] + rules["style-src"]
    for _, attributes in parsed.elements:
        assert not {"src", "srcset", "style", "action", "formaction", "data"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not parsed.all("link")


def test_plotly_is_there_only_for_figures():
    small = page(Document("t", "", (Section("answer", "A", (said("No figures."),)),)))
    assert len(small) < 40_000
    assert "unsafe-inline" not in small
    assert "plotly.js (basic - minified)" in page(every_block())


def test_what_others_made_is_as_they_published_it():
    folder = files("xortune.reports.html").joinpath("vendor")
    digest = hashlib.sha256(folder.joinpath("plotly-basic.min.js").read_bytes()).hexdigest()
    readme = folder.joinpath("README.md").read_text()
    assert f"`{digest}`" in readme
    head = folder.joinpath("plotly-basic.min.js").read_text()[:200]
    assert re.search(r"v([\d.]+)", head)[1] in readme
    assert "MIT License" in folder.joinpath("LICENSE.plotly.js").read_text()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_text(parsed, text):
    found = Parsed(page(every_block(text)))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in parsed.elements]
    assert f"The best is {plain(text)} (" in found.text
    assert found.headings[0] == ("h1", f"xortune: {plain(text)}")
    assert [data.keys() for data in found.data] == [data.keys() for data in parsed.data]


@settings(max_examples=25)
@given(st.text(min_size=1).filter(str.strip))
def test_any_text_leaves_the_structure_as_it_is(text):
    tags = [tag for tag, _ in Parsed(page(every_block("x", count=3))).elements]
    found_page = page(every_block(text, count=3))
    assert [tag for tag, _ in Parsed(found_page).elements] == tags
    found_page.encode()  # no lone surrogates
    for sign in "\u2028\u2029\u202e\x00":
        assert sign not in found_page


@pytest.mark.parametrize(
    ("target", "href"),
    [
        ("#answer", "#answer"),
        ("table.csv", "./table.csv"),
        ("a b/ü.csv", "./a%20b/%C3%BC.csv"),
        ("https://example.org/a?b=c#d", "https://example.org/a?b=c#d"),
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("//evil.example", ".///evil.example"),
        ('x" onclick="y', "./x%22%20onclick%3D%22y"),
    ],
)
def test_links_lead_to_places_in_the_page_files_beside_it_or_the_web(target, href):
    document = Document("t", "", (Section("answer", "A", (said(Link("there", target)),)),))
    assert [a["href"] for a in Parsed(page(document)).all("a")][-1] == href


def test_a_key_leads_to_its_row_where_the_page_has_it():
    table = network_table(3)
    key = table.rows[2].key
    blocks = (said(Mono(key), " and ", Mono("0123456789abcdef")), table)
    found = Parsed(page(Document("t", "", (Section("answer", "A", blocks),))))
    assert {"class": "key", "href": f"#{key}"} in found.all("a")
    assert not [a for a in found.all("a") if "0123456789abcdef" in a["href"]]


def test_the_report_of_a_run_is_a_page(tmp_path):
    other = CONFIG | {"lr": 0.5, "optimizer": "SGD", "momentum": 0.9}
    evaluations = [done(0, CONFIG, solved(0, 7, 8)), done(1, other, solved(0, 3, 8))]
    run = write_run(tmp_path / "r", evaluations, name="small", trainer="network", task="xor")
    found = Parsed(page(run_document(run)))
    assert found.headings[0] == ("h1", "xortune: small")
    assert {result.key for result in run.results} <= set(found.ids)


def test_a_run_without_a_result_is_a_page(tmp_path):
    found = Parsed(page(run_document(write_run(tmp_path / "r", [], name="none"))))
    assert "No configuration has finished yet" in found.text
