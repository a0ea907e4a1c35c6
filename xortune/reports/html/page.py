"""A document as one HTML file that needs nothing beside it and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xortune.core.config import Config
from xortune.core.formats import interval, measured, number, percent, plain
from xortune.reports.document import (
    EPOCHS,
    Block,
    Bullets,
    Code,
    Column,
    ConfigRow,
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
    epochs_text,
    parameter_columns,
)
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.plot import (
    Axis,
    Bars,
    Cells,
    Layer,
    Line,
    Lines,
    Panel,
    Plot,
    Points,
    Rule,
    Span,
)
from xortune.reports.tables import FRESH_SEED, FRESH_SEEDS

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


# -------------------------------------------------------------------------------------------------
# Values inside a page, for its scripts.


def as_json(values: Any) -> str:
    """The values as JSON that no HTML parser takes for the end of its script.

    Raises:
        ValueError: a number that is not finite, which JSON does not have.
    """
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign, escape in (("<", r"\u003c"), ("\u2028", r"\u2028"), ("\u2029", r"\u2029")):
        text = text.replace(sign, escape)
    return "".join(map(_visible, text)) if not text.isprintable() else text


def finite(number: float | None) -> float | None:
    """The number, or None where JSON has none for it."""
    return number if number is not None and math.isfinite(number) else None


def literal(value: float | str | None) -> str:
    """A parameter's value as JSON, which Python (but for null and booleans) and YAML read too.

    What is no finite number is a string: JSON has no other place for it.
    """
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(sign: str) -> str:
    """A sign within JSON's strings, escaped where it is none to see; so are lone surrogates."""
    return sign if sign.isprintable() else json.dumps(sign)[1:-1]


# -------------------------------------------------------------------------------------------------
# The data of a figure as tables: for those who do not see it, and for those who want numbers.

SHOWN = 40
"""Rows of each panel; a picture of more is not read value by value."""

Row = tuple[str, str, str, str, Inline]


def data_tables(plot: Plot) -> tuple[Table, ...]:
    """One table for each panel that has marks."""
    return tuple(_table(panel, panel.title or plot.title) for panel in plot.panels if panel.layers)


def _table(panel: Panel, title: str) -> Table:
    rows = [row for layer in panel.layers for row in _rows(layer, panel)]
    names = ("", panel.x.label, panel.y.label, "from, to", "more")
    # A column in which nothing stands says nothing.
    kept = [at for at in range(len(names)) if any(row[at] for row in rows[:SHOWN])]
    x, y = panel.x.kind != "category", panel.y.kind != "category"
    numbers = (False, x, y, x and y, False)
    columns = tuple(Column(names[at] or "what", numeric=numbers[at]) for at in kept)
    cells: list[tuple[Text, ...]] = [tuple((row[at],) for at in kept) for row in rows[:SHOWN]]
    more = f"; the first {SHOWN} of {len(rows):,} rows" if len(rows) > SHOWN else ""
    return Table(columns, tuple(cells), f"Data: {title}{more}")


def _rows(layer: Layer, panel: Panel) -> Iterator[Row]:
    x, y = panel.x, panel.y
    match layer:
        case Points():
            for i, (across, up) in enumerate(zip(layer.x, layer.y, strict=True)):
                ends = [
                    _between(axis, low[i], high[i])
                    for axis, low, high in (
                        (x, layer.x_low, layer.x_high),
                        (y, layer.y_low, layer.y_high),
                    )
                    if low and high
                ]
                more = _more(layer.texts, layer.keys, i)
                yield layer.label, _at(x, across), _at(y, up), "; ".join(ends), more
        case Line():
            for i, (across, up) in enumerate(zip(layer.x, layer.y, strict=True)):
                ends_of = _between(y, layer.low[i], layer.high[i]) if layer.low else ""
                yield layer.label, _at(x, across), _at(y, up), ends_of, _more(layer.texts, (), i)
        case Lines():
            for i, values in enumerate(layer.ys):
                path = ", ".join(
                    f"{_at(x, place)} {_at(y, up)}"
                    for place, up in zip(layer.x, values, strict=True)
                    if not math.isnan(up)
                )
                said = f"{layer.value_label} {percent(layer.values[i])}"
                yield said, "", "", "", _more(layer.texts, layer.keys, i) or path
        case Bars():
            bases = layer.base or (0.0,) * len(layer.at)
            along, beside = (x, y) if layer.across else (y, x)
            for i, (at, length) in enumerate(zip(layer.at, layer.length, strict=True)):
                ends_of = _between(along, bases[i], bases[i] + length) if bases[i] else ""
                pair = _at(along, length), _at(beside, at)
                more = _more(layer.texts, layer.keys, i)
                yield layer.label, *(pair if layer.across else pair[::-1]), ends_of, more
        case Cells():
            yield from _cells(layer, x, y)
        case Rule(axis, at, label):
            on = x if axis == "x" else y
            yield (label, *((_at(on, at), "") if axis == "x" else ("", _at(on, at))), "", "")
        case Span(axis, low, high, label):
            yield label, "", "", _between(x if axis == "x" else y, low, high), ""


def _cells(layer: Cells, x: Axis, y: Axis) -> Iterator[Row]:
    for r, values in enumerate(layer.values):
        for c, value in enumerate(values):
            if math.isnan(value):
                continue
            noted = layer.notes[r][c] if layer.notes else ""
            text = layer.texts[r][c] if layer.texts else ""
            shown = percent(value) if layer.scale != "difference" else f"{100 * value:+.1f}"
            across = _cell(x, layer.x[c], layer.x[c + 1])
            up = _cell(y, layer.y[r], layer.y[r + 1])
            yield layer.value_label, across, up, "", noted or text or shown


def _cell(axis: Axis, low: float, high: float) -> str:
    if axis.kind == "category":
        return _at(axis, (low + high) / 2)
    return _between(axis, low, high)


def _between(axis: Axis, low: float, high: float) -> str:
    return f"{_at(axis, low)} – {_at(axis, high)}"


def _at(axis: Axis, place: float) -> str:
    if math.isnan(place):
        return "–"
    if axis.kind == "rate":
        return percent(place)
    if axis.kind == "category":
        near = round(place)
        return axis.categories[near] if 0 <= near < len(axis.categories) else number(place)
    return number(place)


def _more(texts: Iterable[str], keys: Iterable[str], at: int) -> Inline:
    texts, keys = tuple(texts), tuple(keys)
    text = " ".join(texts[at].split()) if texts else ""
    return Link(text or keys[at], f"#{keys[at]}") if keys and keys[at] else text


# -------------------------------------------------------------------------------------------------
# The table of all configs in a page: its first rows as HTML, all of them as JSON.
#
# Every text in it is made here, with the same functions as in Markdown; the page's script sorts,
# filters and places, and writes no number of a result down by itself.

PAGE = 25
"""Rows at first: those that are there without a script."""

BUDGET = 2_500_000
"""Characters that the rows of a page may take; 10,000 rows of a network take about half of it."""


@dataclass(frozen=True)
class ShownRow:
    """A row as text, and where its bar lies, in percent."""

    place: int
    key: str
    solved: str
    rate: str
    interval: str
    bar: tuple[float, float, float] | None
    epochs: str
    values: tuple[str, ...]
    trials: str
    note: str


@dataclass(frozen=True)
class EmbeddedConfigs:
    """What a page holds of a table of configs.

    Attributes:
        parameters: their names, as text.
        numeric: whether each has numbers only.
        rows: the first ones.
        keys: of `rows`.
        held: how many are in `data`, from the best.
        total: how many there are.
        data: rows and all that is needed to write each down, as JSON.
        measure: what is shown beside the rate; empty: nothing.
    """

    parameters: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[ShownRow, ...]
    keys: tuple[str, ...]
    held: int
    total: int
    data: str
    measure: str


def rows_within(table: ConfigTable) -> int:
    """How many rows of the table, from the best, a page has room for."""
    # A name is stored once for each of its values, a number with each row: that is what is counted.
    seen: list[set[str]] = [set() for _ in table.parameters]
    taken = 0
    for place, row in enumerate(table.rows):
        taken += 75 + len(row.note)
        for known, text, value in zip(seen, row.values, row.sort, strict=True):
            if text not in known or isinstance(value, float):
                known.add(text)
                taken += len(text) + 24
                if isinstance(value, str):
                    taken += len(value)
        if taken > BUDGET:
            return place
    return len(table.rows)


def embedded(table: ConfigTable) -> EmbeddedConfigs:
    """The table as a page holds it."""
    held = rows_within(table)
    rows = table.rows[:held]
    columns = parameter_columns(replace(table, first=held))
    shown = tuple(_shown(place, row) for place, row in enumerate(rows[:PAGE], 1))
    return EmbeddedConfigs(
        parameters=tuple(_line(name) for name in table.parameters),
        numeric=tuple(column.numeric for column in columns),
        rows=shown,
        keys=tuple(row.key for row in shown),
        held=held,
        total=len(table.rows),
        data=as_json(_data(table, rows)),
        measure=_line(table.measure or ""),
    )


def _shown(place: int, row: ConfigRow) -> ShownRow:
    rate, between = _rate_texts(row)
    return ShownRow(
        place=place,
        key=row.key,
        solved=f"{row.k}/{row.n}",
        rate=rate,
        interval=between,
        bar=_bar(row),
        epochs=_measure(row)[1],
        values=tuple(map(_line, row.values)),
        trials=str(row.trials),
        note=_line(row.note),
    )


def _data(table: ConfigTable, rows: Sequence[ConfigRow]) -> dict[str, Any]:
    """What the page's script reads: texts that repeat are listed once, rows have their numbers."""
    counts, notes = _Listed(), _Listed()
    values = [_Listed() for _ in table.parameters]
    listed = []
    for row in rows:
        rate, between = _rate_texts(row)
        count = (row.k, row.n, rate, between, _bar(row), finite(row.low))
        epochs, text = _measure(row)
        listed.append(
            [
                row.key,
                counts.place(count),
                epochs,
                text,
                row.trials,
                notes.place(_line(row.note)),
                *(
                    known.place((_line(word), literal(value))) if word else -1
                    for known, word, value in zip(values, row.values, row.sort, strict=True)
                ),
            ]
        )
    return {
        "parameters": [_line(name) for name in table.parameters],
        "counts": counts.all,
        "notes": notes.all,
        "values": [known.all for known in values],
        "rows": listed,
        "page": PAGE,
        "measure": _column(table.measure),
        "names": [literal(name) for name in table.parameters],
        "fixed": [[literal(name), literal(value)] for name, value in table.fixed],
        **_network(table),
    }


def _column(measure: str | None) -> str | None:
    """The name in table.csv of what is shown beside the rate."""
    if measure is None:
        return None
    return "epochs_to_solve" if measure == EPOCHS else "objective"


def _measure(row: ConfigRow) -> tuple[float | None, str]:
    """What is shown beside the rate, by which rows are sorted, and as text."""
    if row.worth is not None:
        return row.worth[0], _line(row.worth[1])
    epochs = finite(row.epochs_to_solve)
    return epochs, epochs_text(epochs)


def _network(table: ConfigTable) -> dict[str, Any]:
    """How a config of the built-in network is evaluated again; nothing for a user's own."""
    if table.task is None:
        return {}

    words = [] if table.task == "xor" else ["--task", table.task]
    words += ["--seeds", str(FRESH_SEEDS), "--first-seed", str(FRESH_SEED)]
    return {"order": [field.name for field in fields(Config)], "seeds": shlex.join(words)}


class _Listed:
    """Values, each listed once, and the place of each in the list."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        return self._places.setdefault(value, len(self._places))

    @property
    def all(self) -> list[Any]:
        return list(self._places)


def _rate_texts(row: ConfigRow) -> tuple[str, str]:
    """The rate and its interval; dashes for a config without a seed."""
    if not row.n or finite(row.low) is None or finite(row.high) is None:
        return "–", "–"
    return measured(row.k / row.n, row.low, row.high), interval(row.low, row.high)


def _bar(row: ConfigRow) -> tuple[float, float, float] | None:
    """Where the interval begins, how long it is and where the rate lies, in percent."""
    if not row.n or finite(row.low) is None or finite(row.high) is None:
        return None
    return (
        round(100 * row.low, 1),
        round(100 * (row.high - row.low), 1),
        round(100 * row.k / row.n, 1),
    )


def _line(text: str) -> str:
    return text if text.isprintable() else plain(text)


# -------------------------------------------------------------------------------------------------
# The blocks of a document as HTML: which template draws each, and with what.


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


def page(document: Document) -> str:
    """The document as a page: the same text for an equal document.

    Scripts and styles are in it, and its Content-Security-Policy allows these alone, by their
    hashes: whatever a name in the data says, nothing of it runs and nothing is fetched. Attributes
    named `style`, with which Plotly places what it draws, are allowed where there are figures.
    """
    blocks = [block for section in document.sections for block in section.blocks]
    drawer = Drawer(_templates(), [block for block in blocks if isinstance(block, ConfigTable)])
    scripts = [_asset("assets/page.js")]
    if drawer.has_configs:
        scripts += [_asset("assets/recipes.js"), _asset("assets/configs.js")]
    figures = any(isinstance(block, Figure) for block in blocks)
    if figures:
        scripts += [_asset("vendor/plotly-basic.min.js"), _asset("assets/figures.js")]
    first, style = _asset("assets/theme.js"), _asset("assets/page.css")
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            title=drawer.plain(document.title),
            subtitle=drawer.plain(document.subtitle),
            sections=[drawer.section(section) for section in document.sections],
            first_script=first,
            scripts=scripts,
            style=style,
            script_hashes=[_hash(script) for script in [first, *scripts]],
            figures=figures,
            style_hash=_hash(style),
        )
    )


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("xortune.reports.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def _asset(name: str) -> str:
    return files("xortune.reports.html").joinpath(name).read_text(encoding="utf-8").strip()


@cache
def _hash(text: str) -> str:
    """As a Content-Security-Policy names what it allows."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
