"""The small runs that the tests of figures share, what every figure keeps to, and the goldens.

To renew the goldens after a wanted change: run this file, and read the diff.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # as a script

from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run

from xortune.core.point import Point
from xortune.core.seeds import CERTIFY
from xortune.reports.figures.all import figures_of
from xortune.reports.plot import Bars, Cells, Line, Lines, Points, Rule, Span
from xortune.runs.certificate import certificate_of, write_certificate
from xortune.runs.evaluation import Purpose
from xortune.runs.run import load_run

GOLDEN = Path(__file__).with_name("golden.json")

SPACE = """
name: fixed
epochs: 1000
parameters:
  activation: Tanh
  loss: MSELoss
  optimizer: Adam
  lr: {low: 0.01, high: 0.1, log: true}
  hidden_dim: {low: 2, high: 9}
search: {sampler: random, trials: 6}
seeds: {ladder: [4, 8, 16]}
"""

RATE = {"name": "success_rate", "direction": "maximize"}
EPOCHS = {"name": "epochs_to_solve", "direction": "minimize"}
HIDDEN = {"name": "hidden_dim", "direction": "minimize"}

OURS = ("ranking", "success-by-epoch", "seeds-spent", "failures", "history", "front")
"""The figures of success; those of parameters have tests of their own."""

BEST, SECOND, QUICK, SLOW, NONE, CRASHED = (
    CONFIG | {"lr": lr, "hidden_dim": hidden}
    for lr, hidden in ((0.03, 5), (0.05, 3), (0.02, 4), (0.01, 2), (0.1, 9), (0.09, 8))
)
FRESH = 50


def fixed(path):
    """Six configs in a race to 16 seeds, the first two certified."""
    lines = [
        done(0, BEST, solved(0, 4, 4, epoch=40)),
        done(1, SECOND, solved(0, 4, 4, epoch=90)),
        done(2, SLOW, outcome(0, [RIGHT, ZERO, WRONG, RIGHT], epoch=800)),
        done(0, BEST, solved(4, 4, 4, epoch=60)),
        failed(4, CRASHED, 0, 4, final=False),
        done(3, NONE, outcome(0, [ONE, ZERO, WRONG, (1, 0, 0, 0)], diverged=(3,))),
        done(1, SECOND, solved(4, 4, 4, epoch=90)),
        failed(4, CRASHED, 0, 4),
        done(5, QUICK, solved(0, 4, 4, epoch=30)),
        done(0, BEST, solved(8, 8, 8, epoch=50)),
        done(1, SECOND, solved(8, 7, 8, epoch=300)),
        done(5, QUICK, solved(4, 4, 4, epoch=700)),
    ]
    ladder = [4, 8, 16]
    manifest = {"trainer": "network", "task": "xor", "name": "fixed", "ladder": ladder}
    checks = [fresh(BEST, 1, 49, 16, 16), fresh(SECOND, 2, 45, 15, 16)]
    write_run(path, [*lines, *checks], space_text=SPACE, **manifest)
    run = load_run(path)
    certificate = certificate_of(run.checks)
    write_certificate(path, certificate, run.manifest)
    return run


def fresh(point, rank, k, search_k, search_n):
    """A finalist on fresh seeds, the first k of them solved."""
    purpose = Purpose(
        kind="certify",
        attempt=1,
        finalist=Point(point).key,
        rank=rank,
        finalists=2,
        seeds=FRESH,
        confidence=0.95,
        extendable=False,
        search_k=search_k,
        search_n=search_n,
    )
    return replace(done(9, point, solved(CERTIFY.start, k, FRESH, epoch=70)), purpose=purpose)


def in_front(path, rows, objectives=(RATE, HIDDEN), ladder=(16,)):
    """One config for each (hidden_dim, k, n, epoch)."""
    lines = [
        done(i, CONFIG | {"hidden_dim": h, "lr": 0.01 * (1 + i)}, solved(0, k, n, epoch=epoch))
        for i, (h, k, n, epoch) in enumerate(rows)
    ]
    noted = {"objectives": list(objectives), "ladder": list(ladder)}
    return write_run(path, lines, trainer="network", **noted)


ROWS = [(5, 16, 16, 300), (5, 15, 16, 200), (3, 12, 16, 100), (4, 11, 16, 900), (2, 4, 4, 10)]


def layers(plot, kind, label=None):
    """All layers of a kind in a figure, or those with a label."""
    found = [layer for panel in plot.panels for layer in panel.layers if isinstance(layer, kind)]
    return found if label is None else [layer for layer in found if layer.label == label]


def keeps_to_the_rules(plot):
    """What whoever draws a figure may rely on."""
    assert re.fullmatch(r"[a-z_-]+", plot.name)
    assert plot.panels
    for text in (plot.title, plot.alt, plot.note):
        assert text.strip() == text != ""
        assert text.isprintable()
    assert len(plot.title) < 200
    for panel in plot.panels:
        assert panel.layers
        for axis in (panel.x, panel.y):
            assert axis.label
            assert (axis.kind == "category") == bool(axis.categories)
            assert all(label.isprintable() and len(label) < 80 for label in axis.categories)
        for layer in panel.layers:
            _is_whole(layer, panel)


def _is_whole(layer, panel):
    if isinstance(layer, Rule | Span):
        return
    assert not isinstance(layer, Lines | Cells)
    numbers = {f.name: getattr(layer, f.name) for f in fields(layer)}
    texts = {name: numbers.pop(name) for name in ("texts", "keys") if name in numbers}
    numbers = {name: row for name, row in numbers.items() if isinstance(row, tuple)}
    size = len(layer.at if isinstance(layer, Bars) else layer.x)
    assert size
    for row in (*numbers.values(), *texts.values()):
        assert len(row) in (0, size)
    assert all(math.isfinite(value) for row in numbers.values() for value in row)
    assert all(text.isprintable() for text in texts.get("texts", ()))
    for axis, ends in ((panel.x, "x"), (panel.y, "y")):
        if axis.kind == "rate" and isinstance(layer, Points | Line):
            names = (ends, f"{ends}_low", f"{ends}_high")
            assert all(0 <= v <= 1 for name in names for v in numbers.get(name, ()))


def ours(run):
    """The figures of success among all of a run, which they lead."""
    plots = figures_of(run)
    found = [plot for plot in plots if plot.name in OURS]
    assert found == list(plots[: len(found)])
    return found


def figures(folder):
    """Those of the fixed run, and of the same with two objectives the front."""
    front = in_front(folder / "front", ROWS)
    return [*ours(fixed(folder / "fixed")), ours(front)[-1]]


def as_golden(plots):
    """What they say beyond the defaults, for JSON; floats as far as libraries agree."""

    def told(value):
        if is_dataclass(value):
            pairs = ((f, getattr(value, f.name)) for f in fields(value))
            kept = {f.name: told(part) for f, part in pairs if part != f.default}
            return {"is": type(value).__name__, **kept}
        if isinstance(value, list | tuple):
            return [told(part) for part in value]
        return round(value, 9) if isinstance(value, float) else value

    return {plot.name: told(plot) for plot in plots}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(as_golden(figures(Path(folder))), indent=1, ensure_ascii=False)
    GOLDEN.write_text(text + "\n", encoding="utf-8")
