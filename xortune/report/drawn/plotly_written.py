"""What is written beside points, and lines on their side where a page has no room for names."""

from __future__ import annotations

from dataclasses import replace

from xortune.report.drawn.geometry import lines_down, share_along
from xortune.report.drawn.plotly_layout import NARROW, WIDE, beside
from xortune.report.drawn.plotly_text import Json, escaped
from xortune.report.drawn.words import WRITTEN, shortened
from xortune.report.plot import Layer, Lines, Panel, Plot, Points, Rule, Span

__all__ = ["room_for_names", "turned", "written"]

LETTER = 7.2  # pixels, the width of a sign
RING = 24.0  # of a point and the blanks around a name
MARGIN = 14.0  # beyond the right end of a panel


def written(points: Points, panel: Panel) -> Json:
    """The texts of points and where each stands: beside its point; above it along a row.

    Of those that would lie over each other in a row, the ones at its ends stay: all others are
    told where one points.
    """
    labels = [shortened(text, WRITTEN) for text in points.texts]
    if not lines_down(panel):
        rest = [WIDE * (1 - share_along(panel, x)) + MARGIN for x in points.x]
        needed = [LETTER * len(label) + RING / 2 for label in labels]
        sides = ["right" if n <= r else "left" for n, r in zip(needed, rest, strict=True)]
        return {
            "text": [escaped(label) for label in labels],
            "textposition": [f"middle {side}" for side in sides],
        }
    shares = [share_along(panel, x) for x in points.x]
    sides = ["right" if s < 0.3 else "left" if s > 0.7 else "center" for s in shares]
    room = NARROW - beside(panel, NARROW)
    kept: dict[int, tuple[float, float]] = {}
    for at in sorted(range(len(shares)), key=lambda at: -abs(shares[at] - 0.5)):
        width = LETTER * len(labels[at])
        left = room * shares[at] - width * {"right": 0, "center": 0.5, "left": 1}[sides[at]]
        row = [ends for other, ends in kept.items() if points.y[other] == points.y[at]]
        if all(left + width + LETTER <= low or high + LETTER <= left for low, high in row):
            kept[at] = left, left + width
    return {
        "text": [escaped(label) if at in kept else "" for at, label in enumerate(labels)],
        "textposition": [f"top {side}" for side in sides],
    }


def room_for_names(plot: Plot) -> float:
    """Pixels that a figure needs across, so that a name beside a point ends before the next one."""
    needed = [0.0]
    for panel in plot.panels:
        for layer in panel.layers:
            if isinstance(layer, Points) and layer.written and panel.x.categories:
                longest = max(len(shortened(text, WRITTEN)) for text in layer.texts)
                needed.append((RING + LETTER * longest) * len(panel.x.categories))
    return max(needed)


def turned(plot: Plot) -> Plot | None:
    """The figure with its lines on their side, one axis below the other; None without lines."""
    if not any(isinstance(layer, Lines) for panel in plot.panels for layer in panel.layers):
        return None
    return replace(plot, panels=tuple(_turned(panel) for panel in plot.panels))


def _turned(panel: Panel) -> Panel:
    layers = tuple(_exchanged(layer) for layer in panel.layers)
    return replace(panel, x=panel.y, y=replace(panel.x, label=""), layers=layers)


def _exchanged(layer: Layer) -> Layer:
    match layer:
        case Points():
            return replace(
                layer,
                x=layer.y,
                y=layer.x,
                x_low=layer.y_low,
                x_high=layer.y_high,
                y_low=layer.x_low,
                y_high=layer.x_high,
            )
        case Rule() | Span():
            return replace(layer, axis="y" if layer.axis == "x" else "x")
        case _:  # lines follow the categories; nothing else is drawn among them
            return layer
