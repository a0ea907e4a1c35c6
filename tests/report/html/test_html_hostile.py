"""Pages of runs and comparisons that mean to break them: whole, all said, and nothing runs."""

from __future__ import annotations

import re

import pytest
from hostile import COMPARISONS, RUNS, printable, sayings, squeezed
from html_documents import Parsed

from xortune.reports.comparison import comparison_document
from xortune.reports.html.page import page
from xortune.reports.run import run_document

HOSTILE = {**RUNS, **COMPARISONS}


def document_of(name, folder):
    found = HOSTILE[name](folder)
    return run_document(found) if name in RUNS else comparison_document(found)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_is_whole_and_says_all_that_its_document_says(tmp_path, name):
    document = document_of(name, tmp_path / "r")
    text = page(document)
    found = Parsed(text)  # each element is closed, and its JSON is JSON
    tags = {tag for tag, _ in found.elements}
    assert not {"img", "iframe", "object", "embed", "b", "i", "base"} & tags
    for _, attributes in found.elements:
        assert not [given for given in attributes if given.startswith("on")]
        assert not attributes.get("href", "").lower().startswith(("javascript", "data"))
    shown = squeezed(found.text)
    for said in sayings(document):
        assert squeezed(printable(said)) in shown, said
    assert not re.search(r"(?<![\w\\.])(nan|NaN|None|undefined)(?!\w)", found.text)
    text.encode()
    assert len(text) < 5_000_000
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S):
        assert not re.search(r"(?<![\w\"])(NaN|-?Infinity)(?![\w\"])", data), "no JSON"
        assert "<" not in data, "it would end its element"
