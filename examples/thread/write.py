"""How the report puts numbers, its figures, and its files."""

from __future__ import annotations

import math
import re
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
SIGNS = dict(
    zip("&<>|`*$", ("&amp;", "&lt;", "&gt;", "&#124;", "&#96;", "&#42;", "&#36;"), strict=True)
)


def number(amount: float) -> str:
    """Three significant digits; whole numbers in full."""
    return str(int(amount)) if float(amount).is_integer() and abs(amount) < 1e6 else f"{amount:.3g}"


def probability(p: float | None) -> str:
    """Three digits; empty if there is none."""
    return "" if p is None else "< 0.0001" if p < 1e-4 else number(p)


def times(ratio: float) -> str:
    """A likelihood ratio."""
    return f"{ratio:.1e}" if ratio >= 1e4 or ratio < 1e-2 else number(ratio)


def decimals(low: float, high: float) -> int:
    """Of a percent, as the interval supports: the Particle Data Group's rule, two at most."""
    half = 50 * (high - low)
    if half <= 0:
        return 1
    power = math.floor(math.log10(half))
    return min(max((1 if round(100 * half / 10.0**power) <= 354 else 0) - power, 0), 2)


def interval(low: float, high: float) -> str:
    """In percent, rounded outwards."""
    digits = decimals(low, high)
    scale = 10.0 ** (2 + digits)
    down, up = math.floor(round(low * scale, 6)) / scale, math.ceil(round(high * scale, 6)) / scale
    return f"{100 * down:.{digits}f}–{100 * up:.{digits}f} %"


def percent(rate: float, digits: int = 1) -> str:
    """Only all or nothing shows 100 % or 0 %."""
    text, unit = f"{100 * rate:.{digits}f}", 10.0**-digits
    if rate < 1 and float(text) >= 100:
        return f"> {100 - unit:.{digits}f} %"
    return f"< {unit:.{digits}f} %" if rate > 0 and float(text) == 0 else f"{text} %"


def measured(rate: float, low: float, high: float) -> str:
    return percent(rate, decimals(low, high))


def escaped(text: str) -> str:
    """The text as it is, wherever Markdown would read something into it."""
    text = re.sub(r"([\\\[\]~])", r"\\\1", "".join(SIGNS.get(sign, sign) for sign in text))
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def named(place: str) -> str:
    """`T8d (lr 0.001)`; what was posted is just `T8d`."""
    row, _, variant = place.partition("/")
    return row if variant == "as_posted" else f"{row} ({variant.replace('_', ' ')})"


def shown(quoted: dict[str, Any]) -> str:
    """What a post says, as in a table."""
    if "k" in quoted:
        return f"{quoted['k']}/{quoted['n']}"
    return quoted.get("words") or {0: "never", 1: "always", None: ""}[quoted.get("share")]


def config_text(config: dict[str, Any]) -> str:
    """`activation Tanh, lr 0.03`."""

    def value(given: Any) -> str:
        if given is None or isinstance(given, bool):
            return {None: "null", True: "true", False: "false"}[given]
        return number(given) if isinstance(given, float) else str(given)

    return ", ".join(f"{name} {value(given)}" for name, given in config.items())


def exactly(variant: dict[str, Any]) -> str:
    """All settings of a variant, in a line."""
    import xortune as xt

    if "numpy" in variant:
        return config_text({k: float(v) for k, v in variant["numpy"].items()})
    if "config" not in variant:
        return ""
    text = config_text(dict(xt.Config(**variant["config"]).point))
    text += ", int(output)" if "judge" in variant else ""
    text += f", stop below {number(variant['stop_loss'])}" if "stop_loss" in variant else ""
    if other := variant.get("same_weights_as"):
        text += f"; beside {config_text(dict(xt.Config(**other).point))}"
    return text


def command(config: dict[str, Any], first: int, seeds: int) -> str:
    """The command that trains a config of the sweep under these seeds."""
    options = {**config, "seeds": seeds, "first_seed": first}
    options = {
        name: given for name, given in options.items() if name not in ("zero_grad", "momentum")
    }
    words = [
        word for name, v in options.items() for word in (f"--{name.replace('_', '-')}", str(v))
    ]
    return shlex.join(["xortune", "evaluate", *words])


def write(known: dict[str, Any], tables: dict[str, pd.DataFrame], output: Path) -> list[Path]:
    """thread.md, the tables and the figures."""
    loader = jinja2.FileSystemLoader(HERE)
    pages = jinja2.Environment(  # noqa: S701  # Markdown; claims are escaped for it
        loader=loader, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    functions = (escaped, exactly, number, percent, probability, times, interval, measured, named)
    pages.filters |= {one.__name__: one for one in functions}
    pages.filters["e"], pages.filters["shown"] = escaped, shown
    pages.globals |= {"floor": math.floor, "version": version, "command": command}
    paths = [output / "thread.md", *(output / name for name in tables)]
    page = pages.get_template("page.md.j2").render(known)
    paths[0].write_text(page, encoding="utf-8")
    for name, table in tables.items():
        table.to_csv(output / name, index=False, lineterminator="\n")
    with mpl.rc_context({"svg.hashsalt": "thread", "svg.fonttype": "none", "font.size": 9}):
        for name, figure in figures(known).items():
            paths.append(output / f"thread_{name}.svg")
            figure.savefig(paths[-1], metadata={"Date": None}, bbox_inches="tight")
    return paths


def figures(known: dict[str, Any]) -> dict[str, Figure]:
    found = {"claims": _claims(known), "sweep": _sweep(known["sweep"])}
    return found | {curve["name"]: _curve(curve) for curve in known["curves"]}


def _axes(height: float, label: str, rows: list[str]) -> tuple[Figure, Any]:
    """Rates from left to right, a row for each label from top to bottom."""
    figure = Figure(figsize=(7.5, height))
    axes = figure.subplots()
    axes.set_yticks(range(len(rows)), rows)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(-0.02, 1.02), xlabel=label)
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def _bars(axes: Any, x: Any, y: Any, low: Any, high: Any, **style: Any) -> None:
    x = np.asarray(x)
    ends = np.maximum(0, [x - np.asarray(low), np.asarray(high) - x])
    axes.errorbar(x, y, xerr=ends, fmt="o", markersize=4, capsize=2, **style)


def _claims(known: dict[str, Any]) -> Figure:
    rows = [row for row in known["rows"] if row["variant"] == "as_posted" and row["p"] is not None]
    figure, axes = _axes(5.5, "seeds solved (95 % interval)", [row["id"] for row in rows])
    from measure import wilson

    quoted = [tuple(map(int, row["quoted"].split("/"))) for row in rows]
    low, high = zip(*(wilson(*one) for one in quoted), strict=True)
    places = np.arange(len(rows))
    rates = [k / n for k, n in quoted]
    _bars(axes, rates, places - 0.15, low, high, label="quoted", mfc="white", color="tab:orange")
    found = ([row[name] for row in rows] for name in ("low", "high"))
    rates = [row["rate"] for row in rows]
    _bars(axes, rates, places + 0.15, *found, label="measured", color="tab:blue")
    axes.set_title(
        f"What was quoted of 100 seeds, beside {rows[0]['n']:,} seeds of the same script"
    )
    axes.legend()
    return figure


def _curve(curve: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.5, 4))
    axes = figure.subplots()
    for line in curve["lines"]:
        rates = np.array(line["k"]) / line["n"]
        axes.plot(curve["points"], rates, "o-", markersize=3, label=line["name"])
        axes.fill_between(curve["points"], line["low"], line["high"], alpha=0.25)
    axes.xaxis.get_major_locator().set_params(integer=True)
    log = "beside" in curve
    if log:
        axes.set_xscale("log")
        axes.axvline(curve["beside"], color="grey", linestyle=":")
    axes.set(ylim=(-0.02, 1.02), ylabel="seeds solved (95 % band for the whole curve)")
    axes.set(xlabel=curve["parameter"] + (" (logarithmic)" if log else ""))
    axes.set_title(f"{curve['place']}: seeds solved, by {curve['parameter']} alone")
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _sweep(sweep: dict[str, Any]) -> Figure:
    levels = [level for effect in sweep["effects"] for level in effect["levels"]]
    label = "mean success rate of cells (95 % bootstrap interval over cells)"
    figure, axes = _axes(7.0, label, [level["label"] for level in levels])
    columns = ([level[name] for level in levels] for name in ("rate", "low", "high"))
    rates, low, high = columns
    _bars(axes, rates, range(len(levels)), low, high, color="tab:blue")
    for effect in sweep["effects"][:-1]:
        last = [level["label"] for level in levels].index(effect["levels"][-1]["label"])
        axes.axhline(last + 0.5, color="grey", linewidth=0.8)
    axes.set_title(f"T12: the mean success rate of {sweep['cells']:,} cells, by choice")
    return figure
