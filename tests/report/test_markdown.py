"""Whatever a text is, Markdown shows it as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from xortune.core.formats import plain
from xortune.reports.document import (
    Mono,
    escaped,
    fenced,
    in_markdown,
    markdown_table,
    numbers,
    table_of,
    texts,
)

LIBRARY = MarkdownIt("commonmark").enable(["table", "strikethrough"])

TEXTS = st.text(st.sampled_from("ab 1.#-+*_`~|<>[]()!&$\\\"'\n\té\U0001f600{%}"), max_size=20)

BLOCK = in_markdown().from_string("{% filter p %}{{ text }}{% endfilter %}")
STRONG = in_markdown().from_string("{% filter p %}It is {{ text | strong }}, so.{% endfilter %}")


def shown(token):
    """What one reads of inline content."""
    kinds = ("text", "code_inline")
    return "".join(child.content for child in token.children if child.type in kinds)


def squeezed(text):
    return " ".join(plain(text).split())


@pytest.mark.parametrize(
    "start",
    ["# h", "- l", "+ l", "* l", "1. l", "2) l", "> q", "    code", "=====", "---", "~~~", "| a |"],
)
def test_a_paragraph_stays_one_whatever_it_begins_with(start):
    [opened, inline, closed] = LIBRARY.parse(BLOCK.render(text=start))
    assert (opened.type, closed.type) == ("paragraph_open", "paragraph_close")
    assert shown(inline) == start.strip()


@given(TEXTS)
def test_a_reader_sees_the_text_as_it_is(text):
    tokens = LIBRARY.parse(BLOCK.render(text=text))
    assert [shown(token) for token in tokens if token.children] == [squeezed(text)] * bool(tokens)
    assert bool(tokens) == bool(squeezed(text))


@given(TEXTS, TEXTS)
def test_a_cell_stays_one_and_is_read_as_it_is(first, second):
    table = table_of([*texts("a"), *numbers("b")], [(first, Mono(second))])
    cells = [token for token in LIBRARY.parse(markdown_table(table)) if token.type == "inline"][2:]
    assert [shown(cell).strip() for cell in cells] == [plain(first).strip(), plain(second).strip()]


@given(TEXTS)
def test_strong_words_are_strong(text):
    [_, inline, _] = LIBRARY.parse(STRONG.render(text=text))
    marks = [child.type for child in inline.children if child.type.startswith("strong")]
    assert marks == ["strong_open", "strong_close"] * bool(plain(text).strip())
    assert squeezed(shown(inline)) == squeezed(f"It is {squeezed(text)}, so.")


@given(TEXTS)
def test_code_is_whole_and_ends_where_it_ends(text):
    [token] = LIBRARY.parse(fenced(text, "yaml"))
    assert token.info == "yaml"
    lines = text.rstrip("\r\n").split("\n")
    assert token.content.removesuffix("\n") == "\n".join(plain(line) for line in lines)


def test_escaped_keeps_plain_words_readable():
    assert escaped("hidden_dim 5, lr 1e-05") == "hidden_dim 5, lr 1e-05"
    assert escaped("_x_") == "\\_x\\_"
