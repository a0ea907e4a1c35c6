"""The blocks of a document as HTML: which template draws each, and with what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xortune.report.document import (
    Block,
    Bullets,
    Code,
    ConfigTable,
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
)
from xortune.report.drawn.plotly_figure import plotly_json
from xortune.report.format import plain
from xortune.report.html.configs import embedded, rows_within
from xortune.report.html.embed import as_json
from xortune.report.html.figure_data import data_tables

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["Drawer", "DrawnSection"]


@dataclass(frozen=True)
class DrawnSection:
    """A section whose blocks are HTML."""

    id: str
    heading: str
    blocks: tuple[Markup, ...]


class Drawer:
    """Draws the blocks of one page; it knows what on the page has a name already."""

    def __init__(self, templates: Environment, tables: Sequence[ConfigTable]) -> None:
        self._macros: Any = templates.get_template("blocks.html.jinja").module
        self._labels: dict[str, int] = {}
        self._anchored: set[str] = set()
        # What links to a config: all that the page holds.
        self._keys = {row.key for table in tables for row in table.rows[: rows_within(table)]}

    @property
    def has_configs(self) -> bool:
        """Whether the page has a table of configs with rows."""
        return bool(self._keys)

    @staticmethod
    def plain(text: str) -> str:
        """The text on one line, without signs that are none to see."""
        return text if text.isprintable() else plain(text)

    def section(self, section: Section) -> DrawnSection:
        """The section; a table is called by its caption, or by the nearest heading above it."""
        heading = self.plain(section.heading)
        drawn, above = [], heading
        for block in section.blocks:
            if isinstance(block, Subheading):
                above = self.plain(block.text)
            drawn.append(self._block(block, above))
        return DrawnSection(section.id, heading, tuple(drawn))

    def _block(self, block: Block, above: str) -> Markup:
        macros = self._macros
        match block:
            case Paragraph(text):
                drawn = macros.paragraph(self._text(text))
            case Bullets(items):
                drawn = macros.bullets([self._text(item) for item in items])
            case Subheading(text):
                drawn = macros.subheading(self.plain(text))
            case Code(text, language):
                lines = (self.plain(line.rstrip("\r")) for line in text.rstrip("\r\n").split("\n"))
                drawn = macros.code("\n".join(lines), language, self._label(language or "code"))
            case Table():
                drawn = self._table(block, above)
            case ConfigTable():
                drawn = self._configs(block, above)
            case Figure():
                drawn = self._figure(block)
        return drawn  # type: ignore[no-any-return]

    def _table(self, table: Table, above: str) -> Markup:
        caption = self.plain(table.caption)
        rows = [[self._text(cell) for cell in row] for row in table.rows]
        columns = [
            (
                self.plain(column.name),
                "number" if column.numeric else "long" if _is_long(cells) else "",
                self.plain(column.about),
            )
            for column, cells in zip(table.columns, _turned(table), strict=True)
        ]
        label = self._label(caption or above)
        return self._macros.table(columns, rows, caption, label)  # type: ignore[no-any-return]

    def _configs(self, table: ConfigTable, above: str) -> Markup:
        if not table.rows:
            return self._block(Paragraph(("There are no configurations.",)), above)
        shown = embedded(table)
        anchors = [key not in self._anchored for key in shown.keys]
        self._anchored.update(shown.keys)
        return self._macros.configs(shown, anchors, self._label(above))  # type: ignore[no-any-return]

    def _figure(self, figure: Figure) -> Markup:
        plot = figure.plot
        tables = [self._table(table, plot.title) for table in data_tables(plot)]
        drawn = plotly_json(plot)
        return self._macros.figure(  # type: ignore[no-any-return]
            name=plot.name,
            title=self.plain(plot.title),
            alt=self.plain(plot.alt),
            note=self.plain(plot.note),
            height=drawn["wide"]["height"],
            narrow=(drawn["turned"] or {"layout": drawn["narrow"]})["layout"]["height"],
            room=drawn["room"],
            data=as_json(drawn),
            tables=tables,
        )

    def _label(self, text: str) -> str:
        """The text, told apart from its like: no two regions of a page are called the same."""
        times = self._labels[text] = self._labels.get(text, 0) + 1
        return text if times == 1 else f"{text} ({times})"

    def _text(self, text: Text) -> Markup:
        from markupsafe import Markup

        return Markup("").join(self._inline(part) for part in text)

    def _inline(self, part: Inline) -> Markup:
        from markupsafe import Markup, escape

        match part:
            case str():
                return escape(self.plain(part))
            case Strong(text):
                return Markup("<strong>{}</strong>").format(self.plain(text))
            case Mono(text) if text in self._keys:
                return Markup('<a class="key" href="#{0}"><code>{0}</code></a>').format(text)
            case Mono(text):
                return Markup("<code>{}</code>").format(self.plain(text))
            case Link(text, target):
                return Markup('<a href="{}">{}</a>').format(_href(target), self.plain(text))


LONG = 30  # signs; a cell of more is not squeezed below half a telephone


def _is_long(cells: Iterable[Text]) -> bool:
    return any(
        sum(len(part if isinstance(part, str) else part.text) for part in cell) > LONG
        for cell in cells
    )


def _turned(table: Table) -> list[list[Text]]:
    """The cells of each column."""
    return [[row[at] for row in table.rows] for at in range(len(table.columns))]


def _href(target: str) -> str:
    """Where a link leads: a place on the page, a file beside it, or a page on the web.

    Whatever else a target says becomes the name of a file: it runs nothing.
    """
    if target.startswith("#"):
        return f"#{quote(target[1:])}"
    if target.startswith("https://"):
        return quote(target, safe="/:#?&=%.,+~-_")
    return f"./{quote(target)}"
