"""Documents for the tests of pages, and a page as a browser would read its structure."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from xortune.core.counts import wilson
from xortune.core.formats import value
from xortune.core.point import Point
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
    said,
)
from xortune.reports.plot import Axis, Bars, Cells, Line, Lines, Panel, Plot, Points, Rule, Span

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "rect"}
FIXED = (("epochs", 1000), ("zero_grad", True))
PARAMETERS = ("activation", "loss", "optimizer", "lr", "momentum", "hidden_dim")


def row(given, k=6, n=8, *, names=PARAMETERS, fixed=FIXED, epochs=40.0, note=""):
    """A row whose point has what `given` has, and what is the same in all."""
    low, high = (float(end) for end in wilson(k, n)) if n else (float("nan"), float("nan"))
    texts = tuple(value(given[name]) if name in given else "" for name in names)
    values = tuple(given.get(name) for name in names)
    key = Point({**given, **dict(fixed)}).key
    return ConfigRow(key, texts, values, k, n, low, high, epochs if k else None, 1, note)


def network_rows(count):
    """Rows of the built-in network: each has another learning rate, some have momentum."""
    rows = []
    for at in range(count):
        given = {
            "activation": (None, "Tanh", "ReLU")[at % 3],
            "loss": ("MSELoss", "BCELoss")[at % 2],
            "optimizer": ("SGD", "Adam")[at % 2],
            "lr": 0.5 / (at + 1) ** 1.5,
            "hidden_dim": 2 + at % 9,
        }
        if at % 2 == 0:
            given["momentum"] = at / (2 * count)
        n = (128, 32, 8)[min(at // 5, 2)]
        note = ("tied", "", "stopped early")[min(at // 5, 2)]
        rows.append(row(given, max(0, n - at // 2), n, epochs=4.0 + at, note=note))
    return tuple(rows)


def network_table(count, **more):
    return ConfigTable(PARAMETERS, network_rows(count), FIXED, **{"task": "xor"} | more)


def every_plot(label="one", keys=()):
    """A figure with a layer of each kind."""
    half = (0.0, 0.5, 1.0)
    numbers, rates = Axis("epochs", "log"), Axis("rate, %", "rate", (0.0, 1.0))
    named = Axis("which", "category", categories=(label, "other", "third"))
    return Plot(
        name="every",
        title=f"All kinds of {label}",
        alt=f"What is found about {label}.",
        note=f"n = 3; 95 % intervals of {label}.",
        columns=2,
        panels=(
            Panel(
                rates,
                named,
                (
                    Span("y", -0.5, 0.5, "tied"),
                    Points(label, half, half[::-1], half, half, texts=(label,) * 3, keys=keys),
                    Rule("x", 0.25, "a quarter"),
                ),
                title="marks",
            ),
            Panel(numbers, rates, (Line(label, (1.0, 10.0, 100.0), half, half, half, step=True),)),
            Panel(named, rates, (Bars("failed", (0.0, 1.0), (0.5, 0.25), role="failed"),)),
            Panel(
                Axis("x"), Axis("y"), (Cells(half, half, ((0.1, float("nan")), (0.3, 0.4)), "r"),)
            ),
            Panel(named, rates, (Lines(half, (half, half[::-1]), (0.2, 0.8), "rate"),)),
        ),
    )


def every_block(text="plain", count=30):
    """A document with a block of each kind, which says `text` wherever it says something."""
    rows = network_rows(count)
    table = ConfigTable(PARAMETERS, rows, FIXED, task="xor")
    return Document(
        f"xortune: {text}",
        f"of {text}",
        (
            Section(
                "answer",
                f"The answer {text}",
                (
                    Paragraph(("The best is ", Strong(text), " (", Mono(rows[0].key), ").")),
                    Figure(every_plot(text, tuple(one.key for one in rows[:3]))),
                ),
            ),
            Section("configs", "Configs", (table,)),
            Section(
                "rest",
                "The rest",
                (
                    Subheading(f"About {text}"),
                    Bullets(((text, " and ", Mono(text)), (Link(f"to {text}", "#answer"),))),
                    Code(f"print({text!r})", "python"),
                    Table(
                        (Column(f"name {text}", about=f"is {text}"), Column("n", numeric=True)),
                        (((text,), ("1",)), ((Link(text, "table.csv"),), ("2",))),
                        f"caption {text}",
                    ),
                    Table((Column("what"), Column("value")), ((("a",), (text,)),)),
                    said(text),
                ),
            ),
        ),
    )


class Parsed(HTMLParser):
    """What is in a page: its elements in order, its ids, what its scripts and styles say.

    Attributes:
        elements: (name, attributes) of each start tag.
        texts: the text of each element of these names: script, style and those asked for.
    """

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.inside, self.text = [], [], ""
        self.raw = []  # (attributes, text) of scripts and styles
        self.headings = []
        self.feed(page)
        self.close()
        assert self.inside == [], f"not closed: {self.inside}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.inside.append(tag)
        if tag in {"script", "style"}:
            self.raw.append((tag, dict(attributes), ""))
        if tag in {"h1", "h2", "h3"}:
            self.headings.append((tag, ""))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.inside, f"</{tag}> closes nothing"
        assert self.inside.pop() == tag

    def handle_data(self, data):
        if self.inside and self.inside[-1] in {"script", "style"}:
            tag, attributes, text = self.raw[-1]
            self.raw[-1] = (tag, attributes, text + data)
            return
        self.text += data
        if self.inside and self.inside[-1] in {"h1", "h2", "h3"}:
            tag, text = self.headings[-1]
            self.headings[-1] = (tag, text + data)

    def all(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def data(self):
        """The JSON in it, in order."""
        return [
            json.loads(text)
            for tag, attributes, text in self.raw
            if attributes.get("type") == "application/json"
        ]
