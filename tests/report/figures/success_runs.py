"""The small runs that the tests of figures share, and what every figure keeps to."""

import math
import re
from dataclasses import replace

from compared import purpose
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run

from xortune.core.point import Point
from xortune.core.seeds import CERTIFY
from xortune.reports.drawing.model import Cells, Lines, Rule, Series
from xortune.reports.figures import figures_of
from xortune.runs.certificate import certificate_of, write_certificate
from xortune.runs.run import load_run

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
    told = purpose(Point(point), rank, 2, FRESH)
    told = replace(told, search_k=search_k, search_n=search_n)
    return replace(done(9, point, solved(CERTIFY.start, k, FRESH, epoch=70)), purpose=told)


def in_front(path, rows, objectives=(RATE, HIDDEN), ladder=(16,)):
    """One config for each (hidden_dim, k, n, epoch)."""
    lines = [
        done(i, CONFIG | {"hidden_dim": h, "lr": 0.01 * (1 + i)}, solved(0, k, n, epoch=epoch))
        for i, (h, k, n, epoch) in enumerate(rows)
    ]
    noted = {"objectives": list(objectives), "ladder": list(ladder)}
    return write_run(path, lines, trainer="network", **noted)


ROWS = [(5, 16, 16, 300), (5, 15, 16, 200), (3, 12, 16, 100), (4, 11, 16, 900), (2, 4, 4, 10)]


def series(plot, kind=None, label=None, role=None):
    """All series of a figure of this kind, label or role."""
    wanted = {"kind": kind, "label": label, "role": role}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    layers = [layer for panel in plot.panels for layer in panel.layers if isinstance(layer, Series)]
    return [one for one in layers if all(getattr(one, k) == v for k, v in wanted.items())]


def rules(plot):
    """Its lines and ranges."""
    return [la for panel in plot.panels for la in panel.layers if isinstance(la, Rule)]


def column(one, name):
    """An attribute of all marks of a series."""
    return [getattr(mark, name) for mark in one.marks]


def keeps_to_the_rules(plot):
    """What whoever draws a figure may rely on."""
    assert re.fullmatch(r"[a-z_-]+", plot.name)
    assert plot.panels
    assert 1 <= plot.columns <= len(plot.panels)
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
    if isinstance(layer, Series):
        for mark in layer.marks:
            ends = [*(mark.x_ends or (mark.x,)), *(mark.y_ends or (mark.y,))]
            assert all(math.isfinite(value) for value in (mark.x, mark.y, *ends))
            assert mark.text.isprintable()
            for axis, place, reach in (
                (panel.x, mark.x, mark.x_ends),
                (panel.y, mark.y, mark.y_ends),
            ):
                if axis.kind == "rate":
                    assert all(-1e-9 <= value <= 1 + 1e-9 for value in (place, *(reach or ())))
                if axis.kind == "log":
                    assert place > 0
                if reach and layer.kind != "bars":
                    assert reach[0] <= place <= reach[1]
    elif isinstance(layer, Cells):
        assert len(layer.y) == len(layer.values)
        assert {len(row) for row in layer.values} == {len(layer.x)}
        assert all(math.isnan(v) or -1 <= v <= 1 for row in layer.values for v in row)
        assert all(text.isprintable() for row in layer.notes for text in row)
    elif isinstance(layer, Lines):
        assert {len(line) for line in layer.ys} == {len(panel.x.categories)}
        assert all(math.isfinite(y) for line in layer.ys for y in line)
        assert len(layer.ys) == len(layer.values) == len(layer.texts) == len(layer.keys)
        assert all(text.isprintable() for text in layer.texts)


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
