"""Decision surfaces of a network with two inputs, under a solved and under an unsolved seed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import Config
from xortune.core.outcome import Status
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.reports.drawing.model import Axis, Cells, Layer, Mark, Panel, Plot, Series
from xortune.reports.figures.common import KEY, described, plot_of
from xortune.reports.scripts import named_task, space_of
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run
from xortune.trainers.network import NetworkTrainer, engine_of

CELLS, MARGIN = 81, 0.25
"""Cells along each side of a surface; its margin around the data, as a share of their range."""

RETRAINED_SEEDS, CONFIGS, SECONDS = 16, 5, 2.0
"""Limits on retraining seeds to reproduce the run's outcome: the seeds trained at once, the configs
with an unsolved seed, and the time of a training."""

UNSOLVED = (Status.WRONG_PATTERN, Status.ALL_ZERO, Status.ALL_ONE)


@dataclass(frozen=True, eq=False)
class _Trained:
    """One seed of a config, trained again.

    Attributes:
        pattern: its predictions for the judged rows.
        values: float32, shape (CELLS, CELLS): the output at the middle of each cell, in ascending
            order of the second input.
    """

    result: ConfigResult
    seed: int
    solved: bool
    pattern: str
    values: NDArray[np.float32]

    @property
    def above(self) -> float:
        """The share of cells whose output is above 0.5."""
        return float((self.values > 0.5).mean())

    def right(self, targets: str) -> int:
        """The number of judged rows on the right side of 0.5."""
        return sum(map(str.__eq__, targets, self.pattern))


def decision_surface(run: Run) -> Plot | None:
    """The outputs of the best config around the data, under a solved and under an unsolved seed.

    If all its seeds are solved, the best config with an unsolved one is shown, too. The fused
    engine trains the seeds again, in milliseconds and with the same weights each time. Only seeds
    that end in the same pattern of outputs as in the run are shown. A diverged seed has no surface.
    None if nothing can be trained again: a user's trainer, a task without two inputs or whose file
    is gone or changed, a config that the fused engine does not train, or not within two seconds.
    """
    task = _task(run)
    if task is None or task.dim != 2 or not run.results:
        return None
    best = run.results[0]
    trained = [_again(task, best, solved=True), _again(task, best, solved=False)]
    if trained[1] is None:
        counts = run.results.counts
        failed = (run.results[at] for at in np.flatnonzero(counts.k < counts.n).tolist())
        for other in islice((r for r in failed if _first_seeds(r, solved=False).size), CONFIGS):
            if unsolved := _again(task, other, solved=False):
                trained += [_again(task, other, solved=True) if other is not best else None]
                trained += [unsolved]
                break
    shown = [one for one in trained if one]
    if not shown:
        return None
    configs = {one.result.key: described(run, one.result) for one in shown}
    return plot_of(
        "decision-surface",
        *(_panel(task, one, several=len(configs) > 1) for one in shown),
        columns=min(len(shown), 3),
        trained=shown,
        configs=configs.values(),
        targets="".join(map(str, (task.judged_targets[:, 0] > 0.5).astype(int))),
    )


def _task(run: Run) -> Task | None:
    """The task of the run: a built-in one, or that of a file with the same content as then."""
    if not run.is_network:
        return None
    named = named_task(run.manifest)
    if named is not None:
        return named
    space = space_of(run)
    task = None if space is None else space.task
    same = task is not None and run.manifest.get("task_fingerprint") == task.fingerprint
    return task if same else None


def _first_seeds(result: ConfigResult, *, solved: bool) -> NDArray[np.intp]:
    """Indices of the first seeds that were solved, or not solved."""
    statuses = (Status.SOLVED,) if solved else UNSOLVED
    return np.flatnonzero(np.isin(result.outcome.status, statuses))[:RETRAINED_SEEDS]


def _again(task: Task, result: ConfigResult, *, solved: bool) -> _Trained | None:
    """The first seed, solved or unsolved, whose retraining reproduces the recorded outcome."""
    from xortune.trainers import fused

    places, outcome = _first_seeds(result, solved=solved), result.outcome
    config = Config.from_point(result.point)
    if not places.size or engine_of(config, task) != "fused":
        return None
    if NetworkTrainer(task).cost(Block(result.point, 0, RETRAINED_SEEDS)) > SECONDS:
        return None
    weights = fused.final_weights(config, task, outcome.seeds[places])
    outputs = fused.outputs_of(config, weights, task.judged_inputs)
    recorded = outcome.predictions[places]
    same = ((outputs > 0.5) == recorded).all(axis=1) & np.isfinite(weights).all(axis=0)
    if not same.any():
        return None
    first = int(same.argmax())
    x, y = _middles(task)
    grid = np.stack([np.tile(x, CELLS), np.repeat(y, CELLS)], axis=1).astype(np.float32)
    values = fused.outputs_of(config, weights[:, first : first + 1], grid)
    return _Trained(
        result,
        int(outcome.seeds[places[first]]),
        solved,
        "".join(map(str, recorded[first].astype(int))),
        values.reshape(CELLS, CELLS),
    )


def _middles(task: Task) -> tuple[NDArray[np.float64], ...]:
    """The middles of the cells along each input, shape (CELLS,)."""
    rows = np.concatenate([task.inputs, task.judged_inputs]).astype(np.float64)
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = MARGIN * np.where(high > low, high - low, 1.0)
    edges = np.linspace(low - margin, high + margin, CELLS + 1)
    return tuple(((edges[1:] + edges[:-1]) / 2).T)


def _panel(task: Task, one: _Trained, *, several: bool) -> Panel:
    x, y = (tuple(middles.tolist()) for middles in _middles(task))
    # Four digits, but on the same side of 0.5: the outputs of a dead network differ from it by a
    # millionth. Exactly 0.5 is not a 1, so it lies below.
    rounded = one.values.astype(np.float64).round(4)
    values = np.where(one.values > 0.5, np.maximum(rounded, 0.5001), np.minimum(rounded, 0.4999))
    cells = Cells(x, y, tuple(map(tuple, values.tolist())), "output", scale="class")
    layers: list[Layer] = [cells]
    targets = task.judged_targets[:, 0] > 0.5
    for target in (0, 1):
        marks = tuple(
            Mark(float(row[0]), float(row[1]), text=f"target {target}, predicted {one.pattern[at]}")
            for at, row in enumerate(task.judged_inputs)
            if targets[at] == target
        )
        look: Literal["dot", "ring"] = "dot" if target else "ring"
        layers.append(Series(f"a row whose target is {target}", marks, role="neutral", marker=look))
    whose = f"{one.result.key[:KEY]}, " if several else ""
    title = f"{whose}seed {one.seed}: {'solved' if one.solved else 'not solved'}"
    return Panel(Axis("first input"), Axis("second input"), tuple(layers), title)
