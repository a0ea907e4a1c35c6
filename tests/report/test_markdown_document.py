from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from xortune.core.formats import plain
from xortune.reports.document import (
    Bullets,
    Code,
    Column,
    ConfigRow,
    ConfigTable,
    Document,
    Figure,
    Link,
    Mono,
    Paragraph,
    Section,
    Strong,
    Subheading,
    Table,
    markdown_text,
    said,
    table_of,
)
from xortune.reports.plot import Axis, Panel, Plot

LIBRARY = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def drawn(*blocks, **more):
    return markdown_text(Document("T", "", (Section("s", "A heading", blocks),)), **more)


def body(*blocks, **more):
    return drawn(*blocks, **more).removeprefix("# T\n\n## A heading\n\n").removesuffix("\n")


def parsed(text):
    """The tokens of the text of a document after its two headings."""
    return LIBRARY.parse(text)[6:]


def shown(token):
    """What one reads of inline content."""
    return "".join(
        child.content for child in token.children if child.type in ("text", "code_inline")
    )


def test_every_kind_of_block():
    plot = Plot(
        "a-b", "Title", "What [one] sees.", "n = 3 | 4.", (Panel(Axis("x"), Axis("y"), ()),)
    )
    row = ConfigRow("k1", ("0.5", ""), (0.5, None), 3, 4, 0.3, 0.95, 12.4, 2, "tied")
    assert body(
        said("A ", Strong("b*"), " ", Mono("c_d"), " ", Link("e", "f g.md"), "."),
        Bullets((("one",), ("two",))),
        Subheading("h_"),
        Code("a\n```\n", "sh"),
        table_of([Column("x|y"), Column("n", numeric=True)], [("a|b", "1")], "What it has"),
        ConfigTable(("lr", "m"), (row, row), (), first=1),
        Figure(plot),
        figures="../f/",
    ) == (
        """A **b&#42;** `c_d` [e](f%20g.md).

- one
- two

### h\\_

````sh
a
```
````

What it has

| x&#124;y | n |
| :-- | --: |
| a&#124;b | 1 |

The first 1 of 2 configurations.

|  | solved | rate | 95 % interval | epochs to solve | lr | m |  | trials | key |
| --: | --: | --: | --: | --: | --: | --: | :-- | --: | :-- |
| 1 | 3/4 | 75 % | 30–95 % | 12 | 0.5 |  | tied | 2 | `k1` |

![What \\[one\\] sees.](../f/a-b.svg)

n = 3 &#124; 4."""
    )


def test_links_within_lead_to_headings_and_others_are_names():
    text = drawn(said(Link("up", "#s"), " ", Link("k1", "#k1")))
    assert "[up](#a-heading) k1" in text


def test_the_subtitle_is_a_paragraph():
    text = markdown_text(Document("T", "# not a heading", ()))
    assert text == "# T\n\n\\# not a heading\n"


STARTS = (
    "# h",
    "- l",
    "+ l",
    "* l",
    "1. l",
    "2) l",
    "> q",
    "    code",
    "=====",
    "---",
    "~~~",
    "| a |",
)


@pytest.mark.parametrize("start", STARTS)
def test_a_paragraph_stays_one_whatever_it_begins_with(start):
    [opened, inline, closed] = parsed(drawn(Paragraph((start,))))
    assert (opened.type, closed.type) == ("paragraph_open", "paragraph_close")
    assert shown(inline) == start.strip()


TEXTS = st.text(st.sampled_from("ab 1.#-+*_`~|<>[]()!&$\\\"'\n\té\U0001f600"), max_size=20)


@given(TEXTS)
def test_a_reader_sees_the_text_as_it_is(text):
    wanted = plain(text).strip()
    if not wanted:
        return
    [_, inline, _] = parsed(drawn(Paragraph((text,))))
    assert shown(inline) == wanted


@given(TEXTS, TEXTS)
def test_a_cell_stays_one_and_is_read_as_it_is(first, second):
    columns = (Column("a"), Column("b"))
    table = Table(columns, (((first,), (Mono(second),)),))
    cells = [token for token in parsed(drawn(table)) if token.type == "inline"][2:]
    assert len(cells) == 2
    assert shown(cells[0]) == plain(first).strip()
    seen = "".join(c.content for c in cells[1].children if c.type in ("text", "code_inline"))
    assert seen.strip() == plain(second).strip()


@given(TEXTS)
def test_strong_words_are_strong(text):
    if not plain(text).strip():
        return
    [_, inline, _] = parsed(drawn(said("It is ", Strong(text), ", so.")))
    assert [c.type for c in inline.children if c.type.startswith("strong")] == [
        "strong_open",
        "strong_close",
    ]
