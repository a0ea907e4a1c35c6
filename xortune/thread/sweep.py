"""The sweep that the thread began (T12, T15): what its cells come to, and the best once more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from xortune.config import Config
from xortune.engine.network import evaluate_config
from xortune.errors import InputError
from xortune.outcome import Outcome
from xortune.report.levels import ParameterEffect, parameter_effects
from xortune.run import ConfigResult, Run
from xortune.space import load_space
from xortune.space_model import Choice
from xortune.stats_exact import clopper_pearson
from xortune.thread.measure import XOR, Measured

__all__ = [
    "BEST",
    "CONFIDENCE",
    "SPACE",
    "Certified",
    "Sweep",
    "certified",
    "summary",
    "train_best",
]

SPACE = Path(str(resources.files("xortune.thread") / "sweep.yaml"))
"""The space file of the sweep."""

VARIED = ("activation", "loss", "optimizer")
FIXED = {"hidden_dim": 5, "lr": 0.03, "zero_grad": True}
EPOCHS = 10_000

BEST = 10
"""Cells that are trained once more, under seeds that the sweep did not have."""

CONFIDENCE = 0.95
"""Of the lower bounds of all of these together (Bonferroni)."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """The cells of a run that are the thread's.

    Attributes:
        cells: best first, as in the run.
        epochs: of each; the thread's script has 10,000.
        effects: mean rate per activation, loss and optimizer, cells being the unit.
    """

    cells: tuple[ConfigResult, ...]
    epochs: int
    effects: tuple[ParameterEffect, ...]

    @property
    def n(self) -> int:
        """Seeds of a cell (of the first: they all have the same)."""
        return self.cells[0].outcome.n

    @property
    def solved(self) -> int:
        """Cells with every seed solved."""
        return sum(cell.outcome.successes == cell.outcome.n for cell in self.cells)

    @property
    def unsolved(self) -> int:
        """Cells with no seed solved."""
        return sum(cell.outcome.successes == 0 for cell in self.cells)

    def measured(self, count: str) -> Measured:
        """`seeds`: all seeds of all cells. `cells`: which cells have every seed solved."""
        if count == "seeds":
            return Measured(np.concatenate([cell.outcome.solved for cell in self.cells]))
        return Measured(np.array([c.outcome.successes == c.outcome.n for c in self.cells]))


@dataclass(frozen=True, eq=False)
class Certified:
    """One of the best cells under fresh seeds.

    Attributes:
        config: of the cell.
        search_k, search_n: its count in the sweep.
        outcome: S fresh seeds.
        lower: Clopper-Pearson lower bound; those of all best cells hold together.
    """

    config: Config
    search_k: int
    search_n: int
    outcome: Outcome
    lower: float

    @property
    def slowest(self) -> int:
        """The epoch at which the last of the solved seeds was solved for good."""
        return int(self.outcome.solved_epoch.max())


def summary(run: Run) -> Sweep:
    """The thread's cells of a run, with the epochs nearest to the script's.

    Raises:
        InputError: the run has none of them.
    """
    cells = [
        result
        for result in run.results
        if all(result.point.get(name) == value for name, value in FIXED.items())
        and not result.point.get("momentum")
        and all(result.point.get(name) in values for name, values in _choices().items())
    ]
    if not run.is_network or run.manifest.get("task", "xor") != "xor" or not cells:
        raise InputError(
            "holds no cell of the thread's sweep",
            place=str(run.path),
            allowed="configs of the task xor with "
            + ", ".join(f"{k} {v}" for k, v in FIXED.items()),
            fix="leave --sweep out: it is run then, in half a minute",
        )
    given = {int(str(cell.point["epochs"])) for cell in cells}
    epochs = min(given, key=lambda e: (abs(e - EPOCHS), e))
    cells = [cell for cell in cells if cell.point["epochs"] == epochs]
    fewest, most = min(c.outcome.n for c in cells), max(c.outcome.n for c in cells)
    if fewest < most:  # 8 of 8 is no 100 of 100
        raise InputError(
            f"has cells of {fewest} seeds and of {most}",
            place=str(run.path),
            allowed="the same number of seeds for every cell",
            fix="search with a ladder of one rung, such as ladder: [100]",
        )
    return Sweep(tuple(cells), epochs, parameter_effects(cells, VARIED))


@cache
def _choices() -> dict[str, tuple[object, ...]]:
    """What the thread's sweep takes for activation, loss and optimizer."""
    space = load_space(SPACE)
    return {p.name: p.values for p in space.parameters if isinstance(p, Choice)}


def train_best(cell: ConfigResult, seeds: range) -> Outcome:
    """Train a cell under fresh seeds, on one core."""
    return evaluate_config(Config.from_point(cell.point), XOR, seeds)


def certified(cells: Iterable[ConfigResult], outcomes: Iterable[Outcome]) -> tuple[Certified, ...]:
    """The best cells with their bounds: the highest first, then the fewest epochs to solve."""
    pairs = list(zip(cells, outcomes, strict=True))
    level = 1 - (1 - CONFIDENCE) / max(1, len(pairs))
    found = []
    for cell, outcome in pairs:
        lower, _ = clopper_pearson(outcome.successes, outcome.n, confidence=level, side="lower")
        found.append(
            Certified(
                Config.from_point(cell.point),
                cell.outcome.successes,
                cell.outcome.n,
                outcome,
                float(lower),
            )
        )
    return tuple(sorted(found, key=lambda c: (-c.lower, c.outcome.epochs_to_solve or 0.0)))
