"""One plot of each kind of layer, with labels that somebody may have chosen to do harm."""

import math

from xortune.reports.drawing.model import RATES, Axis, Cells, Lines, Mark, Panel, Plot, Rule, Series

HOSTILE = (
    "<script>alert('x')</script> & \"co\"",
    "$x^2$ and $\\frac{1}{0}",
    "two\nlines",
    "emoji 😀 and ⁢ and \U0001fae0",
    "L" * 120 + "R" * 80,
    "_hidden %{y} <b>",
)
RATE = Axis("seeds solved", "rate", RATES)


def named(*categories, title=""):
    return Axis(title, "category", categories=categories)


def of(*panels: Panel, name: str = "plot", columns: int = 1) -> Plot:
    return Plot(
        name, "What <one> sees & $pays$", 'It "says" <this> & that.', "n = 9.", panels, columns
    )


def marks(x, y, low=(), high=(), **more):
    """Marks at these places; with ends of y."""
    ends = zip(low, high, strict=True) if low else [None] * len(x)
    return tuple(Mark(*place, y_ends=e, **more) for *place, e in zip(x, y, ends, strict=True))


RATES_OF = ((1.0, 0.9, 1.0), (0.9, 0.8, 0.95), (0.8, 0.7, 0.9), (0.5, 0.4, 0.6), (0.25, 0.2, 0.3))
RANKED = tuple(
    Mark(rate, float(row), x_ends=(low, high), text=f"{HOSTILE[row]} again", key=f"k{row}")
    for row, (rate, low, high) in enumerate((*RATES_OF, (0.0, 0.0, 0.125)))
)
RANKING = of(
    Panel(
        RATE,
        named(*HOSTILE),
        (
            Rule("y", -0.5, HOSTILE[0], to=1.5),
            Series(HOSTILE[1], RANKED, marker="ring"),
            Series(HOSTILE[5], (Mark(0.875, 0.25),), role="best", marker="diamond"),
            Rule("x", 0.95, HOSTILE[2]),
        ),
    ),
    name="ranking",
)
LRS = (0.001, 0.1, 10)
FIRST = marks(LRS, (0, 0.5, 1), (0, 0.4, 0.9), (0.1, 0.6, 1))
SECOND = marks(LRS, (0.9, 0.5, 0.2), (0.8, 0.4, 0.1), (1.0, 0.6, 0.3))
CURVES = of(
    Panel(
        Axis("lr", "log"),
        RATE,
        (
            Series("first", FIRST, "line"),
            Series("second", SECOND, "steps", role="b"),
            Series("", marks((0.001, 10), (0.25, 0.75)), "line", role="muted", dashed=True),
            Rule("x", 0.03, "0.03"),
            Rule("y", 0.9),
        ),
        title="By $lr$",
    ),
    Panel(
        Axis("units", whole=True),
        RATE,
        (
            Series("first", marks((2, 3, 4), (0.1, 0.4, 0.7)), "line"),
            Series("", marks((2, 4), (0.1, 0.7), (0.0, 0.5), (0.2, 0.75))),
            Rule("x", 2.5, to=3.5),
        ),
        title="By units",
    ),
    name="curves",
    columns=2,
)
WRONG = (Mark(3, 0, x_ends=(0, 3), key="p"), Mark(5, 1, x_ends=(0, 5), key="q"))
DIVERGED = (Mark(2, 0, x_ends=(3, 5)), Mark(1, 1, x_ends=(5, 6)))
BARS = of(
    Panel(
        Axis("seeds", whole=True),
        named("one", "two"),
        (
            Series("wrong", WRONG, "bars", role="b"),
            Series("diverged", DIVERGED, "bars", role="muted"),
        ),
    ),
    Panel(
        named("8", "32", "128", title="seeds each"),
        Axis("configs"),
        (Series("", marks((0, 1, 2), (50, 20, 7), (0, 0, 0), (50, 20, 7)), "bars"),),
    ),
    name="bars",
    columns=2,
)
COUNTED = Cells(
    (0.0, 1.0),
    (0.0, 1.0),
    ((0.25, math.nan), (1.0, 0.0)),
    "mean <rate>",
    texts=(("25", ""), ("<b>", "$0$")),
    notes=(("2 of 8", ""), ("<b>8</b>", "none")),
)
CELLS = of(Panel(named("0.01", "0.1", title="lr"), named("a", "b"), (COUNTED,)), name="cells")
LEARNED = Cells(
    (0.5, 1.5, 2.5, 3.5),
    (0.5, 1.5),
    ((0.01, 0.02, 0.49, 0.51), (1.0, math.nan, 1.0, 0.99)),
    "output",
    "class",
)
TARGETS = (
    Series("target 1", (Mark(0.5, 1.5),), role="best"),
    Series("target 0", (Mark(1.5, 0.5),), role="best", marker="ring"),
)
SURFACE = of(
    Panel(Axis("input 1"), Axis("input 2"), (LEARNED, *TARGETS), title="solved"), name="surface"
)
THREE = Lines(
    ((0.0, 0.5, 1.0), (1.0, 0.125, 0.975), (0.25, 0.25, 0.125)),
    (1.0, 0.975, 0.125),
    "seeds solved",
    texts=("<one>", "two", "three"),
    keys=("k1", "k2", "k3"),
)
ENDS = (Mark(0, 0, text="<b>$low$"), Mark(1, 1, text="a name much longer than that"))
WRITTEN = Series("", ENDS, role="muted", marker="ring", written=True)
PARALLEL = of(
    Panel(named("lr", "units", "rate"), Axis("", limits=(0.0, 1.0)), (THREE, WRITTEN)),
    name="parallel",
)
PLOTS = (RANKING, CURVES, BARS, CELLS, SURFACE, PARALLEL)
