"""One plot of each kind of layer, with labels that somebody may have chosen to do harm."""

from __future__ import annotations

import math

from xortune.reports.plot import Axis, Bars, Cells, Line, Lines, Panel, Plot, Points, Rule, Span

HOSTILE = (
    "<script>alert('x')</script> & \"co\"",
    "$x^2$ and $\\frac{1}{0}",
    "two\nlines",
    "emoji 😀 and ⁢ and \U0001fae0",
    "L" * 120 + "R" * 80,
    "_hidden %{y} <b>",
)
RATE = Axis("seeds solved", "rate", (0.0, 1.0))


def of(*panels: Panel, name: str = "plot", columns: int = 1) -> Plot:
    return Plot(
        name, "What <one> sees & $pays$", 'It "says" <this> & that.', "n = 9.", panels, columns
    )


RANKING = of(
    Panel(
        RATE,
        Axis("", "category", categories=HOSTILE),
        (
            Span("y", -0.5, 1.5, HOSTILE[0]),
            Points(
                HOSTILE[1],
                (1.0, 0.9, 0.8, 0.5, 0.25, 0.0),
                (0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
                x_low=(0.9, 0.8, 0.7, 0.4, 0.2, 0.0),
                x_high=(1.0, 0.95, 0.9, 0.6, 0.3, 0.125),
                marker="ring",
                texts=tuple(f"{text} again" for text in HOSTILE),
                keys=("k0", "k1", "k2", "k3", "k4", "k5"),
            ),
            Points(HOSTILE[5], (0.875,), (0.25,), role="best", marker="diamond"),
            Rule("x", 0.95, HOSTILE[2]),
        ),
    ),
    name="ranking",
)
CURVES = of(
    Panel(
        Axis("lr", "log"),
        RATE,
        (
            Line("first", (0.001, 0.1, 10.0), (0.0, 0.5, 1.0), (0.0, 0.4, 0.9), (0.1, 0.6, 1.0)),
            Line(
                "second",
                (0.001, 0.1, 1.0, 10.0),
                (0.9, 0.5, math.nan, 0.2),
                (0.8, 0.4, math.nan, 0.1),
                (1.0, 0.6, math.nan, 0.3),
                role="b",
                step=True,
            ),
            Line("", (0.001, 10.0), (0.25, 0.75), role="muted", dashed=True),
            Rule("x", 0.03, "0.03"),
            Rule("y", 0.9),
        ),
        title="By $lr$",
    ),
    Panel(
        Axis("units", whole=True),
        RATE,
        (
            Line("first", (2.0, 3.0, 4.0), (0.1, 0.4, 0.7)),
            Points("", (2.0, 4.0), (0.1, 0.7), y_low=(0.0, 0.5), y_high=(0.2, 0.75)),
            Span("x", 2.5, 3.5),
        ),
        title="By units",
    ),
    name="curves",
    columns=2,
)
BARS = of(
    Panel(
        Axis("seeds", whole=True),
        Axis("", "category", categories=("one", "two")),
        (
            Bars("wrong", (0.0, 1.0), (3.0, 5.0), role="failed", across=True, keys=("p", "q")),
            Bars("diverged", (0.0, 1.0), (2.0, 1.0), base=(3.0, 5.0), role="muted", across=True),
        ),
    ),
    Panel(Axis("seeds each"), Axis("configs"), (Bars("", (8.0, 32.0, 128.0), (50.0, 20.0, 7.0)),)),
    name="bars",
    columns=2,
)
CELLS = of(
    Panel(
        Axis("lr", "log"),
        Axis("", "category", categories=("a", "b")),
        (
            Cells(
                (0.001, 0.01, 0.1),
                (-0.5, 0.5, 1.5),
                ((0.25, math.nan), (1.0, 0.0)),
                "mean <rate>",
                texts=(("25", ""), ("<b>", "$0$")),
                notes=(("2 of 8", ""), ("<b>8</b>", "none")),
            ),
        ),
    ),
    name="cells",
)
SURFACE = of(
    Panel(
        Axis("input 1"),
        Axis("input 2"),
        (
            Cells(
                (0.0, 1.0, 2.0, 3.0, 4.0),
                (0.0, 1.0, 2.0),
                ((0.01, 0.02, 0.49, 0.51), (1.0, math.nan, 1.0, 0.99)),
                "output",
                "class",
            ),
            Points("target 1", (0.5,), (1.5,), role="muted"),
            Points("target 0", (1.5,), (0.5,), role="muted", marker="ring"),
        ),
        title="solved",
    ),
    name="surface",
)
PARALLEL = of(
    Panel(
        Axis("", "category", categories=("lr", "units", "rate")),
        Axis("", limits=(0.0, 1.0)),
        (
            Lines(
                (0.0, 1.0, 2.0),
                ((0.0, 0.5, 1.0), (1.0, math.nan, 0.975), (0.25, 0.25, 0.125)),
                (1.0, 0.975, 0.125),
                "seeds solved",
                texts=("<one>", "two", "three"),
                keys=("k1", "k2", "k3"),
            ),
        ),
    ),
    name="parallel",
)
PLOTS = (RANKING, CURVES, BARS, CELLS, SURFACE, PARALLEL)
