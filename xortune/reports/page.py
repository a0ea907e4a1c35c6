"""A document as one HTML file that needs nothing beside it and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from xortune.core.config import Config
from xortune.core.formats import number, percent, plain
from xortune.core.point import Nested
from xortune.reports.document import (
    ConfigTable,
    Document,
    Heading,
    Table,
    environment,
    fenced,
    heading_of,
    rendered,
    table_of,
    texts,
)
from xortune.reports.drawing.model import (
    COLOURS,
    Axis,
    Cells,
    Guide,
    Layer,
    Lines,
    Panel,
    Plot,
    Series,
)
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.scripts import FRESH_SEED
from xortune.runs.columns import MISSING, Column, ConfigRow, Form, Part

# -------------------------------------------------------------------------------------------------
# The page: the Markdown of a report as HTML, with the figures and the table of configs in place.

PLOTLY = "vendor/plotly-cartesian.min.js"

NARROW = 4  # columns; a table of more is as wide as figures, others as text
LONG = 30  # characters; a longer cell is at least half a telephone wide


def page(document: Document) -> str:
    """The document as a page: the same text for an equal document.

    The page holds its scripts and styles, and its Content-Security-Policy allows only these, by
    their hashes: no name in the data can run or fetch anything. With figures it also allows `style`
    attributes, with which Plotly places its elements.
    """
    title, subtitle, sections = _Html(document).parts()
    scripts = ["assets/page.js"]
    if document.configs is not None:
        scripts += ["assets/recipes.js", "assets/configs.js"]
    if document.plots:
        scripts += [PLOTLY, "assets/figures.js"]
    allowed = "style-src-attr 'unsafe-inline'; " if document.plots else ""
    return assembled(scripts, allowed, title=title, subtitle=subtitle, sections=sections)[0]


def assembled(
    names: Sequence[str], allowed: str, *, live: bool = False, **values: Any
) -> tuple[str, str]:
    """A page with its style and these scripts in it, and the policy that allows only these.

    `allowed` are further directives of the policy, each with `; ` after it. The other values are
    those of page.html.jinja; a `live` page follows a run.
    """
    first, style = asset("assets/theme.js"), colours() + asset("assets/page.css")
    scripts = [asset(name) for name in names]
    hashes = " ".join(map(policy_hash, [first, *scripts]))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src {policy_hash(style)}; {allowed}"
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    parts = {"first_script": first, "scripts": scripts, "style": style, "policy": policy}
    template = page_templates().get_template("page.html.jinja")
    return template.render(parts | values, live=live), policy


def blocks() -> Any:
    """The macros of blocks.html.jinja, which make the parts of pages."""
    return page_templates().get_template("blocks.html.jinja").module


def figure_html(plot: Plot, label: Callable[[str], str] = str, *, has_links: bool = True) -> Markup:
    """A figure with its data, for scripts and as tables.

    `label` makes a table's caption a name that no other region of the page has; with `has_links`
    the tables link to the rows of configs.
    """
    drawn = plotly_json(plot)
    html: Markup = blocks().figure(
        plot=plot,
        title=plain(plot.title),
        alt=plain(plot.alt),
        note=tuple(map(plain, plot.caption)),
        height=drawn["layout"]["height"],
        data=as_json(drawn),
        tables=[(table, label(table.caption)) for table in data_tables(plot)],
        has_links=has_links,
    )
    return html


class _Html:
    """Renders one document as HTML; it counts the labels that the page already has."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._labels: dict[str, int] = {}
        self._above = ""
        self._keys = {row["key"] for row in document.configs.rows} if document.configs else set()
        self._plots = {plot.name: plot for plot in document.plots}
        # HTML in a document is off. A fence, whose language only templates write, is the
        # placeholder of a figure, of the table of configs, or of an end of a folded part.
        self._parser = MarkdownIt("commonmark", {"html": False}).enable("table")
        rules = {
            "fence": self._fence,
            "code_inline": self._code,
            "table_open": self._table_open,
            "table_close": lambda *_: "</table>\n</div>\n",
            "th_open": lambda *at: f'<th scope="col"{_class(*at)}><span class="name">',
            "th_close": lambda *_: "</span></th>",
            "td_open": lambda *at: f"<td{_class(*at)}>",
        }
        for name, draw in rules.items():
            self._parser.add_render_rule(name, _rule(draw))

    def parts(self) -> tuple[str, str, list[dict[str, Any]]]:
        """The title, the subtitle, and the id, the heading and the HTML of each section."""
        text = rendered(
            self._document,
            lambda plot: Markup(f"```figure\n{plot.name}\n```\n\n"),
            lambda: Markup("```configs\n```\n\n"),
            lambda summary, body: Markup(
                f"{fenced(plain(summary), 'fold')}\n\n{body}```unfold\n```\n\n"
            ),
        )
        tokens = self._parser.parse(text)
        starts = [at for at, token in enumerate(tokens) if token.type == "heading_open"]
        starts = [at for at in starts if tokens[at].tag == "h2"]
        title, *intro = [token for token in tokens[: starts[0]] if token.type == "inline"]
        sections = []
        for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
            self._above = heading = _text(tokens[start + 1])
            body = self._parser.renderer.render(
                self._marked(tokens[start + 3 : end]), self._parser.options, {}
            )
            name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            sections.append({"id": name, "heading": heading, "body": Markup(body)})
        return _text(title), " ".join(map(_text, intro)), sections

    def _marked(self, tokens: list[Token]) -> list[Token]:
        """The tokens with the heading above each, which names tables and code for readers."""
        for at, token in enumerate(tokens):
            if token.type == "heading_open":
                self._above = _text(tokens[at + 1])
            token.meta = {"above": self._above}
        return tokens

    def _label(self, text: str) -> str:
        """The text, with a number if the page has a region of this name already."""
        times = self._labels[text] = self._labels.get(text, 0) + 1
        return text if times == 1 else f"{text} ({times})"

    def _fence(self, tokens: Sequence[Token], at: int) -> str:
        token = tokens[at]
        if token.info == "figure":
            # Plain text: a Markup would escape what markdown-it-py 4.0 adds to it.
            return str(figure_html(self._plots[token.content.strip()], self._label))
        if token.info == "configs":
            assert self._document.configs is not None
            table, label = self._document.configs, self._label(token.meta["above"])
            return str(configs_html(table, label))
        text, language = token.content.removesuffix("\n"), token.info
        if language == "fold":
            return str(Markup('<details class="fold"><summary>{}</summary>\n<div>\n').format(text))
        if language == "unfold":
            return "</div>\n</details>\n"
        return str(blocks().code(text, language, self._label(language or "code")))

    def _code(self, tokens: Sequence[Token], at: int) -> str:
        text = tokens[at].content
        if text in self._keys:
            return str(Markup('<a class="key" href="#{0}"><code>{0}</code></a>').format(text))
        return str(Markup("<code>{}</code>").format(text))

    def _table_open(self, tokens: Sequence[Token], at: int) -> str:
        label = self._label(tokens[at].meta["above"])
        end = next(i for i in range(at, len(tokens)) if tokens[i].type == "thead_close")
        columns = sum(token.type == "th_open" for token in tokens[at:end])
        few = " few" if columns <= NARROW else ""
        region = '<div class="scroll{}" tabindex="0" role="group" aria-label="{}">\n<table>\n'
        return str(Markup(region).format(few, label))


def _rule(draw: Callable[[Sequence[Token], int], str]) -> Callable[..., str]:
    """A rule of the renderer that passes only the tokens on."""
    return lambda _renderer, tokens, at, _options, _env: draw(tokens, at)


def _class(tokens: Sequence[Token], at: int) -> str:
    text = _text(tokens[at + 1])
    if "right" in str(tokens[at].attrGet("style")):  # `ends`: the line may break before an interval
        return ' class="number ends"' if " [" in text else ' class="number"'
    return ' class="long"' if len(text) > LONG else ""


def _text(inline: Token) -> str:
    """The text of inline content, without its markup."""
    return "".join(child.content for child in inline.children or ())


@cache
def page_templates() -> Environment:
    """The environment of HTML templates, which escapes every value."""
    return environment(autoescape=True)


@cache
def asset(name: str) -> str:
    """A script or a style of pages, by its path in `html/`."""
    return files("xortune.reports").joinpath("html", name).read_text(encoding="utf-8").strip()


def colours() -> str:
    """The style that gives each colour of the figures its name, for the style of the page."""
    named = "".join(f"--{role.replace('_', '-')}:{colour};" for role, colour in COLOURS.items())
    return f":root{{{named}}}\n"


@cache
def policy_hash(text: str) -> str:
    """The source expression that allows this text in a Content-Security-Policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


# -------------------------------------------------------------------------------------------------
# Values inside a page, for its scripts.


def as_json(values: Any) -> str:
    """The values as JSON that cannot end the script element in which it is.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c")


def literal(given: float | str | None) -> str:
    """A parameter's value as JSON, which YAML and (except null and booleans) Python read, too.

    A number that is not finite is a string.
    """
    if isinstance(given, float) and not math.isfinite(given):
        given = str(given)
    text = str(given) if isinstance(given, Nested) else json.dumps(given, ensure_ascii=False)
    # JSON strings escape invisible characters and lone surrogates.
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


# -------------------------------------------------------------------------------------------------
# The table of configs in a page: the first rows as HTML, and all rows of the page as JSON.
#
# All its text is made here, by the functions that Markdown uses, too; the page's script sorts,
# filters and places rows, and formats no number of a result.

PAGE = 10  # rows that are shown at first, also without a script


def configs_html(table: ConfigTable, label: str) -> Markup:
    """The table of configs: its first rows, and all that the page holds for its script."""
    columns, first = table.shown(Form.PAGE, table.rows), table.rows[:PAGE]
    cells = [(row["key"], _bar(row), [column.cell(row) for column in columns]) for row in first]
    heads = [_head(column, table.rows) for column in columns]
    data = as_json(embedded(table, columns))
    html: Markup = blocks().configs(table, heads, cells, label, data)
    return html


def _bar(row: ConfigRow) -> list[float]:
    """The start and the length of the interval, and the rate, in percent."""
    shares = row["low"], row["high"] - row["low"], row["rate"]
    return [round(100 * share, 1) for share in shares]


def _head(column: Column, rows: Sequence[ConfigRow]) -> dict[str, Any]:
    """What the template needs of a column; its kind is the class of the cells."""
    heading, of_parameter = heading_of(column, Form.PAGE, rows), column.part is Part.PARAMETERS
    kind = "number" if heading.numeric else "" if of_parameter else "word"
    if column.has_bar or column.part is Part.KEY:
        kind = "interval" if column.has_bar else "key"
    return {"name": column.name, "heading": heading.text, "kind": kind, "quoted": of_parameter}


def embedded(table: ConfigTable, columns: Sequence[Column]) -> dict[str, Any]:
    """The values of a table of configs for the script of the page, which shows these columns."""
    hidden = [c for c in table.columns if Form.FILTERS in c.where and c not in columns]
    return {
        "columns": [
            *(_embedded(column, table.rows, shown=True) for column in columns),
            *(_embedded(column, table.rows, shown=False) for column in hidden),
        ],
        "fixed": [[literal(name), literal(given)] for name, given in table.fixed],
        **_command(table),
    }


def _embedded(column: Column, rows: Sequence[ConfigRow], *, shown: bool) -> dict[str, Any]:
    """A column: its distinct cells, and the index of each row's cell.

    A cell is the value by which rows are sorted, for parameters as JSON, and its text if that is
    another one. There are no indices where all cells are equal, or no two.
    """
    of_parameter = column.part is Part.PARAMETERS
    as_literal = lru_cache(maxsize=None, typed=True)(literal)  # typed, because True == 1

    def cell(row: ConfigRow) -> tuple[Any, ...]:
        given = row[column.name]
        if of_parameter:
            given = None if given is MISSING else as_literal(given)
        elif given == "" or (isinstance(given, float) and not math.isfinite(given)):
            given = None
        text = plain(column.cell(row)) if shown else str(given)
        return (given,) if text == str(given) else (given, text)

    places: dict[tuple[Any, ...], int] = {}
    indices = [places.setdefault(cell(row), len(places)) for row in rows]
    return {
        "name": column.name,
        "cells": [*places],
        "rows": indices if 1 < len(places) < len(rows) else None,
        "falling": column.falling,
        "hidden": not shown,
        "quoted": literal(column.heading) if of_parameter else None,
        "counted": column.part in (Part.COUNTS, Part.FINISHED),
    }


def _command(table: ConfigTable) -> dict[str, Any]:
    """The arguments of `xortune evaluate`, for the built-in network."""
    if table.task is None:
        return {}
    words = [] if table.task == "xor" else ["--task", table.task]
    words += ["--seeds", str(table.seeds), "--first-seed", str(FRESH_SEED)]
    return {"order": [field.name for field in fields(Config)], "seeds": shlex.join(words)}


# -------------------------------------------------------------------------------------------------
# The data of a figure as tables: for those who do not see it, and for those who want numbers.

PANEL_ROWS = 40  # rows of each panel


class Link(str):
    """The text of a cell that links to the config with this key."""

    key: str


PanelRow = tuple[str, str, str, str, str]


def data_tables(plot: Plot) -> list[Table]:
    """A table for each panel."""
    return [_data_table(panel, panel.title or plot.title) for panel in plot.panels]


def _data_table(panel: Panel, title: str) -> Table:
    every = [row for layer in panel.layers for row in _rows(layer, panel)]
    rows, total = every[:PANEL_ROWS], len(every)
    x, y = (axis.kind != "category" for axis in (panel.x, panel.y))
    columns = [
        *texts("what"),
        Heading(plain(panel.x.label), x),
        Heading(plain(panel.y.label), y),
        Heading("from, to", x and y),
        *texts("more"),
    ]
    kept = [at for at in range(len(columns)) if any(row[at] for row in rows)]  # not empty
    cells = [[row[at] for at in kept] for row in rows]
    more = f"; the first {PANEL_ROWS} of {total:,} rows" if total > PANEL_ROWS else ""
    return table_of([columns[at] for at in kept], cells, f"Data: {plain(title)}{more}")


def _rows(layer: Layer, panel: Panel) -> Iterator[PanelRow]:
    x, y = panel.x, panel.y
    match layer:
        case Series():
            for mark in layer.marks:
                pairs = ((x, mark.x_ends), (y, mark.y_ends))
                ends = [_between(axis, *ends) for axis, ends in pairs if ends]
                more = _more(mark.text, mark.key)
                yield layer.label, _at(x, mark.x), _at(y, mark.y), "; ".join(ends), more
        case Lines():
            for share, text, key in zip(layer.values, layer.texts, layer.keys, strict=True):
                yield f"{layer.value_label} {percent(share)}", "", "", "", _more(text, key)
        case Cells():
            for i, values in enumerate(layer.values):
                for j, share in enumerate(values):
                    if math.isfinite(share):
                        more = layer.notes[i][j] if layer.notes else percent(share)
                        yield layer.value_label, _at(x, layer.x[j]), _at(y, layer.y[i]), "", more
        case Guide(axis, at, label, to):
            along = x if axis == "x" else y
            if to is not None:
                if along.categories:  # a range extends half a place beyond its categories
                    at, to = math.ceil(at), math.floor(to)
                yield label, "", "", _between(along, at, to), ""
            else:
                yield label, *((_at(x, at), "") if axis == "x" else ("", _at(y, at))), "", ""


def _between(axis: Axis, low: float, high: float) -> str:
    return f"{_at(axis, low)} – {_at(axis, high)}"


def _at(axis: Axis, place: float) -> str:
    if math.isnan(place):
        return "–"
    if axis.kind == "rate":
        return percent(place)
    if axis.kind == "category":
        return axis.categories[round(place)]
    return number(place)


def _more(text: str, key: str) -> str:
    text = " ".join(text.split())
    if not key:
        return text
    link = Link(text or key)
    link.key = key
    return link
