"""A document as GitHub draws Markdown: it draws the values, and computes none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from xortune.core.formats import plain
from xortune.reports.document import (
    Block,
    Bullets,
    Code,
    ConfigTable,
    Document,
    Figure,
    Inline,
    Link,
    Mono,
    Paragraph,
    Section,
    Strong,
    Subheading,
    Table,
    Text,
    first_rows,
)

Places = Mapping[str, str]
"""Where a link within the document leads: anchors of headings as GitHub makes them, by `#id`."""


def markdown_text(document: Document, figures: str = "figures/") -> str:
    """The document as Markdown; the same text for an equal document.

    Args:
        document: what is drawn.
        figures: the folder of its figures, NAME.svg each, from where the text lies.
    """
    places = {f"#{part.id}": f"#{_anchor(part.heading)}" for part in document.sections}
    parts = [f"# {escaped(document.title)}"]
    if document.subtitle:
        parts.append(_line((document.subtitle,), places))
    for section in document.sections:
        parts += _section(section, figures, places)
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """The text as it is, on one line, wherever Markdown or HTML would read something into it."""
    text = plain(text)
    for sign, entity in zip(
        "&<>|`*$", ["&amp;", "&lt;", "&gt;", "&#124;", "&#96;", "&#42;", "&#36;"], strict=True
    ):
        text = text.replace(sign, entity)
    text = re.sub(r"([\\\[\]~])", r"\\\1", text)
    # Inside a word an underscore means nothing: hidden_dim stays readable.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table whose last `numbers` columns are aligned right; cells are escaped already."""
    return _table(header, rows, [index >= len(header) - numbers for index in range(len(header))])


def fenced(text: str, language: str) -> str:
    """A block of code, whatever is in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(plain(line.rstrip("\r")) for line in text.rstrip("\r\n").split("\n"))
    return f"{fence}{language}\n{lines}\n{fence}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[bool]) -> str:
    lines = [header, ["--:" if at_right else ":--" for at_right in right], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _section(section: Section, figures: str, places: Places) -> list[str]:
    blocks = [drawn for block in section.blocks for drawn in _block(block, figures, places)]
    return [f"## {escaped(section.heading)}", *blocks]


def _block(block: Block, figures: str, places: Places) -> list[str]:
    match block:
        case Paragraph(text):
            return [_line(text, places)]
        case Bullets(items):
            return ["\n".join(f"- {_line(item, places)}" for item in items)] if items else []
        case Subheading(text):
            return [f"### {escaped(text)}"]
        case Code(text, language):
            return [fenced(text, language)]
        case Table():
            return _captioned(block, places)
        case ConfigTable():
            return _captioned(first_rows(block), places)
        case Figure(plot):
            picture = f"![{escaped(plot.alt)}]({figures}{plot.name}.svg)"
            return [picture, *([_line((plot.note,), places)] if plot.note else [])]


def _captioned(given: Table, places: Places) -> list[str]:
    header = [escaped(column.name) for column in given.columns]
    rows = [[_text(cell, places) for cell in row] for row in given.rows]
    drawn = _table(header, rows, [column.numeric for column in given.columns])
    return [_line((given.caption,), places), drawn] if given.caption else [drawn]


def _line(text: Text, places: Places) -> str:
    """A paragraph, which must not begin like a heading, a list or an indented block."""
    line = _text(text, places).strip()
    return re.sub(r"^(?:(?=[#+=-])|(\d+)(?=[.)]))", r"\1\\", line)


def _text(text: Text, places: Places) -> str:
    return "".join(_inline(part, places) for part in text)


def _inline(part: Inline, places: Places) -> str:
    match part:
        case str():
            return escaped(part)
        case Strong(text):
            words = plain(text).strip()  # next to a blank, asterisks are no marks
            return f"**{escaped(words)}**" if words else ""
        case Mono(text):
            # A code span in a table takes a `|` for the end of its cell.
            safe = re.fullmatch(r"[\w ./:=+,@%-]*\w[\w ./:=+,@%-]*", text) and text == plain(text)
            return f"`{text.strip()}`" if safe else f"<code>{escaped(text)}</code>"
        case Link(text, target):
            # Rows of a table have no anchors here: a link to a config is its name.
            place = places.get(target) if target.startswith("#") else _quoted(target)
            return escaped(text) if place is None else f"[{escaped(text)}]({place})"


def _quoted(target: str) -> str:
    from urllib.parse import quote

    return quote(target, safe="/:#?&=.-_")


def _anchor(heading: str) -> str:
    """What GitHub calls a heading: lower case, no punctuation, `-` for each space."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
