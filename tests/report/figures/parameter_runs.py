"""The runs that the tests of figures of parameters share."""

from pathlib import Path

from hand_made import CONFIG, done, solved, write_run

from xortune.core.point import Point
from xortune.reports.figures.parameters import (
    contour,
    parallel_coordinate,
    param_importances,
    slices,
)
from xortune.runs.run import Run

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
    "better": 5,
    "resamples": 100,
    "needed": 5,
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
    """A run of a user's own trainer, in memory, of (point, k, n): each point once."""
    rows = {Point(point).key: (point, k, n) for point, k, n in rows}.values()
    lines = (done(i, point, solved(0, k, n)) for i, (point, k, n) in enumerate(rows))
    return Run(Path("nowhere"), manifest, tuple(lines))


def figures(folder):
    """The fixed run's."""
    return [figure(fixed(folder / figure.__name__)) for figure in ALL]
