"""The small runs and comparisons that tests of figures share, and what every figure keeps to."""

import math
import re
from dataclasses import replace

import numpy as np
from compared import contestant, purpose, seeds_of
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run

from xortune.comparisons.comparison import compare_all
from xortune.core.outcome import Details, Outcome
from xortune.core.point import Point
from xortune.core.seeds import CERTIFY
from xortune.core.success import parse_success
from xortune.reports.drawing.model import Cells, Guide, Lines, Series
from xortune.runs.certificate import certificate_of, write_certificate

# Figures of success.

RATE = {"name": "success_rate", "direction": "maximize"}
EPOCHS = {"name": "epochs_to_solve", "direction": "minimize"}
HIDDEN = {"name": "hidden_dim", "direction": "minimize"}

REQUIRED = {**HIDDEN, "required": {"rate": 0.5, "alpha": 0.05}}

BEST, SECOND, QUICK, SLOW, NONE, CRASHED = (
    CONFIG | {"lr": lr, "hidden_dim": hidden}
    for lr, hidden in ((0.03, 5), (0.05, 3), (0.02, 4), (0.01, 2), (0.1, 9), (0.09, 8))
)
FRESH = 50


def raced(path):
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
    manifest = {"trainer": "network", "task": "xor", "name": "fixed", "ladder": [4, 8, 16]}
    checks = [fresh(BEST, 1, 49, 16, 16), fresh(SECOND, 2, 45, 15, 16)]
    run = write_run(path, [*lines, *checks], **manifest)
    write_certificate(path, certificate_of(run.checks), run.manifest)
    return run


def failing(path):
    """Three configs that fail under the same four of 16 seeds."""
    points = [CONFIG | {"lr": 0.01 * (1 + i)} for i in range(3)]
    return write_run(
        path, [done(i, one, outcome(0, [ZERO] * 4 + [RIGHT] * 12)) for i, one in enumerate(points)]
    )


def two_workers(path):
    """Two workers of 100 seconds: results came after 20, 40, 80 and 100."""

    def block(config, first, worker, at, seconds):
        point = CONFIG | {"lr": 0.01 * (1 + config)}
        made = done(config, point, solved(first, 4, 4))
        return replace(made, worker=f"host:{worker}", at=1_000 + at, seconds=seconds)

    rows = [(0, 0, 2, 20, 20.0), (1, 0, 1, 40, 20.0), (2, 0, 1, 40, 20.0)]
    rows += [(0, 4, 2, 80, 10.0), (1, 4, 1, 100, 40.0)]
    return write_run(path, [block(*row) for row in rows])


def fresh(point, rank, k, search_k, search_n):
    """A finalist on fresh seeds, the first k of them solved."""
    why = purpose(Point(point), rank, 2, FRESH, search_k=search_k, search_n=search_n)
    return replace(done(9, point, solved(CERTIFY.start, k, FRESH, epoch=70)), purpose=why)


def in_front(path, rows, objectives=(RATE, HIDDEN), ladder=(16,)):
    """One config for each (hidden_dim, k, n, epoch)."""
    lines = []
    for i, (hidden, k, n, epoch) in enumerate(rows):
        point = CONFIG | {"hidden_dim": hidden, "lr": 0.01 * (1 + i)}
        lines.append(done(i, point, solved(0, k, n, epoch=epoch)))
    noted = {"objectives": list(objectives), "ladder": list(ladder)}
    return write_run(path, lines, trainer="network", **noted)


def series(plot, kind=None, label=None, role=None):
    """All series of a figure of this kind, label or role."""
    wanted = {"kind": kind, "label": label, "role": role}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    layers = [layer for panel in plot.panels for layer in panel.layers if isinstance(layer, Series)]
    return [one for one in layers if all(getattr(one, k) == v for k, v in wanted.items())]


def rules(plot):
    """Its lines and ranges."""
    return [la for panel in plot.panels for la in panel.layers if isinstance(la, Guide)]


def column(one, name):
    """An attribute of all marks of a series."""
    return [getattr(mark, name) for mark in one.marks]


def check_rules(plot):
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
            assert all(label.isprintable() and len(label) < 110 for label in axis.categories)
        for layer in panel.layers:
            _is_whole(layer, panel)


def _is_whole(layer, panel):
    if isinstance(layer, Series):
        for mark in layer.marks:
            ends = [*(mark.x_ends or (mark.x,)), *(mark.y_ends or (mark.y,))]
            assert all(math.isfinite(value) for value in (mark.x, mark.y, *ends))
            assert mark.text.isprintable()
            both = (panel.x, mark.x, mark.x_ends), (panel.y, mark.y, mark.y_ends)
            for axis, place, reach in both:
                if axis.kind == "rate":
                    assert all(-1e-9 <= value <= 1 + 1e-9 for value in (place, *(reach or ())))
                assert axis.kind != "log" or place > 0
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


INTERVALS = {"hidden_dim": [0.31, 0.69], "lr": [0.1, 0.5]}
INTERVALS |= {"activation": [0.0, 0.31], "optimizer": [0.0, 0.13]}
RESAMPLED = {"configs": 30, "better": 5, "needed": 5, "resamples": 100, "intervals": INTERVALS}

# Comparisons.


def networks():
    """c0 and c1 solve more seeds than c2, c0 sooner than c1; of c2 half are not solved."""
    entries = enumerate([(45, 10), (43, 100), (20, 100)])
    return compare_all([contestant(f"c{i}", solved(0, k, 50, epoch=e)) for i, (k, e) in entries])


MEAN = {"name": "score_mean", "direction": "maximize", "number": "score", "statistic": "mean"}
"""An objective: the mean of what `scored` gives its seeds."""


def told(accuracy, *, first=0, rule="accuracy >= 0.9", **more):
    """The outcome of a trainer of one's own that told these numbers, and its rule."""
    values = {name: np.array(v, float) for name, v in {"accuracy": accuracy, **more}.items()}
    good = values["accuracy"] >= 0.9
    found = seeds_of("".join("+" if one else "-" for one in good), first=first, epochs=0)
    found = replace(found, solved_epoch=np.zeros(found.n, np.int32), details=Details(values=values))
    return {"found": found, "rule": None if rule is None else parse_success(rule)}


def scored(values, *, statuses=None, curves=()):
    """An outcome of a user's trainer with these scores, a success from 0.5 on."""
    values = np.array(values, np.float64)
    statuses = np.where(values >= 0.5, 0, 1) if statuses is None else statuses
    details = Details({"score": values}, curves=curves)
    found = Outcome.crashed(range(len(values)), 0)
    return replace(found, status=np.array(statuses, np.uint8), details=details)


def numbers(rule="accuracy >= 0.9"):
    """Three trainers: the first crashed once, the second is worse, the third has other seeds."""
    at = np.arange(20)
    return compare_all(
        [
            contestant("wide", **told([*(0.81 + 0.01 * at[1:]), np.nan], loss=at, rule=rule)),
            contestant("narrow", **told(0.76 + 0.01 * at, loss=2 * at, rule=rule)),
            contestant("other", **told(0.8 + 0.01 * at, loss=at**2, first=100, rule=rule)),
        ]
    )
