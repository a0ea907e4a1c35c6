"""The runs that the tests of figures of parameters share.

To renew the goldens after a wanted change: run this file, and read the diff.
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))  # as a script

from hand_made import CONFIG, done, solved, write_run
from success_runs import as_golden

from xortune.core.point import Point
from xortune.reports.figures.contour import contour
from xortune.reports.figures.importances import param_importances
from xortune.reports.figures.parallel import parallel_coordinate
from xortune.reports.figures.slices import slices
from xortune.reports.plot import Cells, Line, Lines, Points
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run

GOLDEN = Path(__file__).with_name("golden_parameters.json")

SPACE = """
name: fixed
epochs: 1000
parameters:
  activation: {choice: [Tanh, ReLU, ELU]}
  loss: MSELoss
  optimizer: {choice: [Adam, SGD]}
  lr: {low: 0.01, high: 0.1, log: true}
  momentum: {low: 0.0, high: 0.9, when: {optimizer: SGD}}
  hidden_dim: {low: 2, high: 20}
search: {sampler: random, trials: 30}
seeds: {ladder: [10]}
"""
IMPORTANCE = {"hidden_dim": 0.5, "lr": 0.3, "activation": 0.15, "optimizer": 0.05}
RESAMPLED = {
    "configs": 30,
    "resamples": 100,
    "intervals": {
        "hidden_dim": [0.31, 0.69],
        "lr": [0.1, 0.5],
        "activation": [0.0, 0.31],
        "optimizer": [0.0, 0.13],
    },
}
HOSTILE = "<b onclick='x()'>\n\t\"&|`$\\{}%\U0001f389\u202e\ud800" + "x" * 200

ALL = (slices, contour, parallel_coordinate, param_importances)


def points():
    """(config, solved of 10 seeds) of 30 configs: more hidden units solve more."""
    for i in range(30):
        optimizer = ("Adam", "SGD")[i % 2]
        config = CONFIG | {
            "activation": ("Tanh", "ReLU", "ELU")[i % 3],
            "optimizer": optimizer,
            "lr": 0.01 * 10 ** ((7 * i % 30) / 29),
            "hidden_dim": 2 + (11 * i) % 19,
        }
        if optimizer == "SGD":
            config["momentum"] = 0.03 * (i % 29)
        yield config, min(10, config["hidden_dim"] // 2)


def fixed(path):
    """A network's run of 30 configs, with importance."""
    lines = [done(i, config, solved(0, k, 10)) for i, (config, k) in enumerate(points())]
    noted = {"importance": IMPORTANCE, "importance_resampled": RESAMPLED}
    return write_run(path, lines, space_text=SPACE, trainer="network", task="xor", **noted)


def made(rows, **manifest):
    """A run of a user's own trainer, in memory, of (point, k, n): one config for each."""
    rows = sorted(rows, key=lambda row: -row[1] / row[2])
    run = Run(Path("nowhere"), manifest, ())
    run.__dict__["results"] = tuple(
        ConfigResult(Point(point), f"{i:016x}", solved(0, k, n), 1)
        for i, (point, k, n) in enumerate(rows)
    )
    run.__dict__["parameters"] = tuple(dict.fromkeys(name for point, *_ in rows for name in point))
    return run


def keeps_to_the_rules(plot):
    """What whoever draws a figure may rely on."""
    assert re.fullmatch(r"[a-z_-]+", plot.name)
    assert plot.panels
    for text in (plot.title, plot.alt, plot.note):
        assert text.strip() == text != ""
        assert text.isprintable()
    for panel in plot.panels:
        assert panel.layers
        for axis in (panel.x, panel.y):
            assert axis.label
            assert (axis.kind == "category") == bool(axis.categories)
            assert all(label.isprintable() and len(label) < 60 for label in axis.categories)
            assert len(set(axis.categories)) == len(axis.categories)
        for layer in panel.layers:
            _is_whole(layer, panel)


def _is_whole(layer, panel):
    if isinstance(layer, Points | Line):
        ends = ("x_low", "x_high") if isinstance(layer, Points) else ()
        ends += ("y_low", "y_high") if isinstance(layer, Points) else ("low", "high")
        rows = [layer.x, layer.y, *(row for e in ends if (row := getattr(layer, e)))]
        assert layer.x
        assert {len(row) for row in rows} == {len(layer.x)}
        assert all(math.isfinite(value) for row in rows for value in row)
        assert len(layer.texts) in (0, len(layer.x))
        assert all(text.isprintable() for text in layer.texts)
        if panel.x.kind == "log":
            assert min(layer.x) > 0
        if panel.y.kind == "rate":
            assert all(0 <= value <= 1 for value in rows[1])
    elif isinstance(layer, Cells):
        assert [len(layer.y) - 1] == [len(layer.values)]
        assert {len(row) for row in layer.values} == {len(layer.x) - 1}
        assert all(math.isnan(v) or 0 <= v <= 1 for row in layer.values for v in row)
        assert all(text.isprintable() for row in layer.notes for text in row)
    elif isinstance(layer, Lines):
        assert {len(line) for line in layer.ys} == {len(layer.x)}
        assert all(math.isfinite(y) for line in layer.ys for y in line)
        assert len(layer.ys) == len(layer.values) == len(layer.texts) == len(layer.keys)
        assert all(text.isprintable() for text in layer.texts)


def figures(folder):
    """The fixed run's."""
    return [figure(fixed(folder / figure.__name__)) for figure in ALL]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(as_golden(figures(Path(folder))), indent=1, ensure_ascii=False)
    GOLDEN.write_text(text + "\n", encoding="utf-8")
