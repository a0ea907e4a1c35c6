"""Draws a figure with Plotly: for a notebook as its `Figure`, for a page as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xortune.report.drawn.geometry import decades, limits, lines_down, span
from xortune.report.drawn.palette import GRID, GROUNDS, RULE, Ground
from xortune.report.drawn.plotly_coloured import coloraxes
from xortune.report.drawn.plotly_layout import letters_up, narrow, nested, wide
from xortune.report.drawn.plotly_marks import marks, shapes
from xortune.report.drawn.plotly_text import Json, broken, escaped, lean
from xortune.report.drawn.plotly_written import room_for_names, turned
from xortune.report.drawn.words import lines
from xortune.report.plot import Lines, Panel, Plot

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["plotly_figure", "plotly_json"]

# Plotly.js measures text outside the figure, where `inherit` would be another font.
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
TITLED = {
    "xref": "paper",
    "yref": "paper",
    "xanchor": "left",
    "yanchor": "bottom",
    "align": "left",
    "showarrow": False,
    "font": {"size": 13},
}
"""How the title of a panel stands above it."""

SINGLE, SEVERAL = 600, 700
"""Pixels of a page's column, below which a figure of one or of several columns is narrow."""

TITLE = 92  # signs to a line of a notebook's figure
NOTE = 120
WHOLE = 10  # an axis of whole numbers that is no longer has a tick at each
LINE = 18.0  # pixels of a line of text


def plotly_json(plot: Plot) -> dict[str, Any]:
    """The figure as a page needs it, for plotly.js's basic bundle; no Plotly is imported.

    The page writes the title and the note itself, and gives the figure its `alt`. Marks have the
    same colours on light and on dark ground, so that `data` stays as it is.

    Returns:
        `data` and `layout` for `Plotly.newPlot(div, data, layout, {responsive: true})`: on light
        ground, panels side by side; and four sets of changes for `Plotly.relayout(div, changes)`:
        `dark` and `light` after the ground, `narrow` (panels one below the other) and `wide` after
        the room there is: narrow below `room` pixels. Keys of configs are the traces' `customdata`.
        Where `turned` is not None, the figure lies on its side where it is narrow: the layout is
        `turned.layout` then, and each trace has x and y exchanged and the changes in
        `turned.traces`.
    """
    data = _data(plot)
    return {
        "data": data,
        "layout": _layout(plot, wide),
        "light": _changes(GROUNDS["light"]),
        "dark": _changes(GROUNDS["dark"]),
        "wide": wide(plot),
        "narrow": narrow(plot),
        "room": round(max(SEVERAL if plot.columns > 1 else SINGLE, room_for_names(plot))),
        "turned": _turned(plot, data),
    }


def plotly_figure(plot: Plot) -> go.Figure:
    """The figure for a notebook, with its title, and its note below that."""
    import plotly.graph_objects as go

    title, note = lines(plot.title, TITLE), lines(plot.note, NOTE)
    layout = _layout(plot, wide)
    above = LINE * (1.3 * len(title) + len(note)) + 16
    layout["title"] = {
        "text": "<br>".join(f"<b>{escaped(line)}</b>" for line in title),
        "subtitle": {
            "text": "<br>".join(map(escaped, note)),
            "font": {"size": 12, "color": GROUNDS["light"].ink},
        },
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 12, "l": 12},
        "font": {"size": 15},
    }
    layout["margin"]["t"] += above
    layout["height"] += above
    layout["legend"]["y"] = 1 - above / layout["height"]
    layout |= {"template": "none", "paper_bgcolor": "white", "plot_bgcolor": "white"}
    return go.Figure(data=_data(plot), layout=layout)


def _data(plot: Plot) -> list[Json]:
    found = []
    for index, panel in enumerate(plot.panels):
        axes = {"xaxis": f"x{_number(index)}", "yaxis": f"y{_number(index)}"}
        found += [trace | axes for trace in marks(panel, plot)]
    _once(found)
    return found


def _turned(plot: Plot, data: list[Json]) -> Json | None:
    """The figure on its side, without what it has in common with `data`, which is the most."""
    other = turned(plot)
    if other is None:
        return None
    traces = [
        {name: value for name, value in new.items() if value != old.get(name)}
        for new, old in zip(_data(other), data, strict=True)
    ]
    for trace in traces:
        trace.pop("x", None)
        trace.pop("y", None)
    return {"layout": _layout(other, narrow), "traces": traces}


def _layout(plot: Plot, arranged: Callable[[Plot], Json]) -> Json:
    layout = nested(arranged(plot) | _changes(GROUNDS["light"]))
    layout |= {
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "barmode": "overlay",
        "bargap": 0,
        "hovermode": "closest",
        "dragmode": False,  # a finger on the figure moves the page
        "legend": {
            "orientation": "h",
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "bgcolor": "rgba(0,0,0,0)",
            "tracegroupgap": 0,
        },
    }
    for axis, scale in coloraxes(plot).items():
        scale["colorbar"] |= layout[axis]["colorbar"]
        layout[axis] = scale
    layout["font"] |= {"family": FONT, "size": 12}
    layout["hoverlabel"]["align"] = "left"
    layout["shapes"] = []
    titles = iter(layout.setdefault("annotations", []))
    for index, panel in enumerate(plot.panels):
        which = _number(index)
        for along, across in (("x", "y"), ("y", "x")):
            placed = layout[f"{along}axis{which}"]
            drawn = _axis(panel, along) | {"anchor": f"{across}{which}"}
            drawn["title"] |= placed.get("title", {})
            layout[f"{along}axis{which}"] = placed | drawn
        layout["shapes"] += shapes(panel, f"x{which}", f"y{which}")
        if panel.title:
            next(titles).update(TITLED)
    _once(layout["shapes"])
    return layout


def _once(entries: list[Json]) -> None:
    """One entry in the legend for all panels, which shows and hides what it names in all."""
    seen: set[str] = set()
    for entry in entries:
        if entry.get("showlegend"):
            entry |= {"legendgroup": entry["name"], "showlegend": entry["name"] not in seen}
            seen.add(entry["name"])


def _axis(panel: Panel, along: str) -> Json:
    axis = panel.x if along == "x" else panel.y
    drawn: Json = {
        "title": {"standoff": 10},
        "automargin": True,
        "zeroline": False,
        "gridcolor": GRID,
        "linecolor": RULE,
        "tickcolor": RULE,
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
    }
    if along == "y":
        drawn["title"]["text"] = broken(axis.label, letters_up(panel))
    ends = limits(panel, along)
    if axis.kind == "log":
        drawn |= {"type": "log", "tickformat": "~g", "hoverformat": ".3~g"}
        reach = decades(panel, along)
        if reach >= 1:  # at 1, 2, 5 or only powers of ten
            drawn["dtick"] = "D2" if reach < 2.5 else math.ceil(reach / 6)
        else:
            drawn["nticks"] = 5
        ends = None if ends is None else (math.log10(ends[0]), math.log10(ends[1]))
    elif axis.kind == "rate":
        drawn |= {"tickformat": "~%", "hoverformat": ".1%"}
    elif axis.kind == "category":
        drawn |= {"tickvals": list(range(len(axis.categories))), "showgrid": False}
        if along == "y" and ends is not None:
            ends = ends[1], ends[0]  # the first at the top
    elif axis.whole:
        drawn["tickformat"] = ",d"
        extent = span(panel, along)
        if extent is not None and extent[1] - extent[0] <= WHOLE:
            drawn["dtick"] = 1
    over = "x" if lines_down(panel) else "y"
    if along == over and any(isinstance(layer, Lines) for layer in panel.layers):
        drawn |= {"showticklabels": False, "showgrid": False}  # places, no values
    if ends is not None:
        drawn["range"] = [lean(ends[0]), lean(ends[1])]
    return drawn


def _changes(ground: Ground) -> Json:
    return {
        "font.color": ground.ink,
        "hoverlabel.bgcolor": ground.raised,
        "hoverlabel.bordercolor": RULE,
        "hoverlabel.font.color": ground.ink,
    }


def _number(index: int) -> str:
    """As plotly.js counts axes: x, x2, x3."""
    return str(index + 1) if index else ""
