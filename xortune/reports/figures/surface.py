"""Decision surfaces: what a network with two inputs learned under one seed and under another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.formats import count
from xortune.core.outcome import Status
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.reports.figures.labels import described, short_key
from xortune.reports.plot import Axis, Cells, Panel, Plot, Points
from xortune.reports.tables import named_task, varying
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run
from xortune.trainers.network import NetworkTrainer, engine_of

CELLS = 81
"""Along each side of a surface."""

MARGIN = 0.25
"""How far a surface reaches beyond the data, of their range."""

SEEDS, CONFIGS, SECONDS = 16, 5, 2.0
"""So many seeds of a config, trained at once in at most this time, and so many configs are tried
until one ends as the run says it did."""

UNSOLVED = (Status.WRONG_PATTERN, Status.ALL_ZERO, Status.ALL_ONE)


def decision_surface(run: Run) -> Plot | None:
    """The outputs of the best config around the data, under a solved and under an unsolved seed.

    If all its seeds are solved, the best config that has an unsolved one is beside it. The seeds
    are trained once more, by the fused engine: milliseconds, and the same weights each time. Only a
    seed that thereby ends in the same pattern of outputs as in the run is shown. One that diverged
    has no surface.

    Returns:
        None where there is nothing to train again: a user's own trainer, a task that has not two
        inputs or is not known here any more, a config beyond the fused engine or of which training
        takes longer than two seconds.
    """
    task = _task(run)
    if task is None or task.dim != 2 or not run.results:
        return None
    best = run.results[0]
    found = [_again(task, best, solved=True), _again(task, best, solved=False)]
    if found[1] is None:
        # The first thousands may all be solved, and counts are there already.
        some = (r for r in run.results if r.outcome.successes < r.outcome.n)
        others = (r for r in some if _some(r, solved=False).size)
        for other in islice(others, CONFIGS):
            if (unsolved := _again(task, other, solved=False)) is not None:
                found += [_again(task, other, solved=True) if other is not best else None, unsolved]
                break
    trained = [one for one in found if one is not None]
    return _plot(run, task, trained) if trained else None


@dataclass(frozen=True, eq=False)
class _Trained:
    """One seed of a config, trained again.

    Attributes:
        result: of the config.
        seed: which.
        solved: whether it is solved.
        pattern: its predictions for the judged rows.
        values: float32, shape (CELLS, CELLS): outputs in the middle of each cell, the lowest second
            input first.
    """

    result: ConfigResult
    seed: int
    solved: bool
    pattern: str
    values: NDArray[np.float32]


def _task(run: Run) -> Task | None:
    """What the run learned, if that is known here: by its name, or by a file that is there."""
    if not run.is_network:
        return None
    named = named_task(run.manifest)
    if named is not None:
        return named
    try:
        task = run.asked.task
    except InputError:
        return None
    known = task is not None and run.manifest.get("task_fingerprint") == task.fingerprint
    return task if known else None


def _some(result: ConfigResult, *, solved: bool) -> NDArray[np.intp]:
    """Places of the first seeds that ended so."""
    wanted = (Status.SOLVED,) if solved else UNSOLVED
    return np.flatnonzero(np.isin(result.outcome.status, wanted))[:SEEDS]


def _again(task: Task, result: ConfigResult, *, solved: bool) -> _Trained | None:
    """The first seed that ended so, and does so again."""
    from xortune.trainers import fused

    places = _some(result, solved=solved)
    config = Config.from_point(result.point)
    if not places.size or engine_of(config, task) != "fused":
        return None
    block = Block(result.point, 0, SEEDS)
    if NetworkTrainer(task).cost(block) > SECONDS:
        return None
    outcome = result.outcome
    weights = fused.final_weights(config, task, outcome.seeds[places])
    outputs = fused.outputs_of(config, weights, task.judged_inputs)
    recorded = outcome.predictions[places]
    same = ((outputs > 0.5) == recorded).all(axis=1) & np.isfinite(weights).all(axis=0)
    for i in np.flatnonzero(same)[:1].tolist():
        values = fused.outputs_of(config, weights[:, i : i + 1], _middles(task))
        return _Trained(
            result,
            int(outcome.seeds[places[i]]),
            solved,
            "".join("01"[int(one)] for one in recorded[i]),
            values.reshape(CELLS, CELLS),
        )
    return None


def _edges(task: Task) -> tuple[NDArray[np.float64], ...]:
    """Of the cells along each input, shape (CELLS + 1,)."""
    rows = np.concatenate([task.inputs, task.judged_inputs]).astype(np.float64)
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = MARGIN * np.where(high > low, high - low, 1.0)
    return tuple(
        np.linspace(a, b, CELLS + 1) for a, b in zip(low - margin, high + margin, strict=True)
    )


def _middles(task: Task) -> NDArray[np.float32]:
    """The middle of each cell, shape (CELLS^2, 2): the first input changes soonest."""
    x, y = ((edges[1:] + edges[:-1]) / 2 for edges in _edges(task))
    return np.stack([np.tile(x, CELLS), np.repeat(y, CELLS)], axis=1).astype(np.float32)


def _plot(run: Run, task: Task, trained: list[_Trained]) -> Plot:
    names = varying(run)
    several = len({one.result.key for one in trained}) > 1
    kinds = {one.solved for one in trained}
    what = (
        "a solved and an unsolved seed"
        if len(kinds) > 1
        else ("a solved seed" if True in kinds else "an unsolved seed")
    )
    configs = {one.result.key: described(one.result, names) for one in trained}
    return Plot(
        name="decision-surface",
        title=f"What {what} learned",
        alt=" ".join(_finding(task, one) for one in trained),
        note=(
            "The output of one network each, n = 1 seed, over both inputs; the edge lies at 0.5. "
            f"Points: the {count(len(task.judged_inputs), 'row')} judged. Trained once more from "
            "the seed, with the same pattern of outputs as in the run: "
            f"{'; '.join(configs.values())}. Another seed may look otherwise, and nothing was "
            "learned from what lies between the points and beyond them."
        ),
        panels=tuple(_panel(task, one, several=several) for one in trained),
        columns=min(len(trained), 3),
    )


def _panel(task: Task, one: _Trained, *, several: bool) -> Panel:
    x, y = _edges(task)
    cells = Cells(
        x=tuple(x.tolist()),
        y=tuple(y.tolist()),
        values=tuple(tuple(row) for row in _rounded(one.values).tolist()),
        value_label="output",
        scale="class",
    )
    whose = f"{short_key(one.result.key)}, " if several else ""
    return Panel(
        Axis("first input", limits=(float(x[0]), float(x[-1]))),
        Axis("second input", limits=(float(y[0]), float(y[-1]))),
        (cells, *_data(task, one)),
        f"{whose}seed {one.seed}: {'solved' if one.solved else 'not solved'}",
    )


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """To four digits, and never over the edge: a dead network is at 0.5, give or take a millionth.

    What is exactly 0.5 is no 1, so it lies below the edge as well.
    """
    rounded = values.astype(np.float64).round(4)
    found: NDArray[np.float64] = np.where(
        values > 0.5, np.maximum(rounded, 0.5001), np.minimum(rounded, 0.4999)
    )
    return found


def _data(task: Task, one: _Trained) -> Iterator[Points]:
    rows, targets = task.judged_inputs.astype(np.float64), task.judged_targets[:, 0] > 0.5
    for target in (0, 1):
        mine = np.flatnonzero(targets == target)
        if mine.size:
            yield Points(
                f"a row whose target is {target}",
                x=tuple(rows[mine, 0].tolist()),
                y=tuple(rows[mine, 1].tolist()),
                role="best",
                marker="dot" if target else "ring",
                texts=tuple(f"target {target}, predicted {one.pattern[i]}" for i in mine),
            )


def _finding(task: Task, one: _Trained) -> str:
    targets = "".join("01"[int(target)] for target in task.judged_targets[:, 0] > 0.5)
    right = sum(a == b for a, b in zip(targets, one.pattern, strict=True))
    rows = count(len(targets), "row")
    said = f": it says {one.pattern} for {targets}" if len(targets) <= 16 and not one.solved else ""
    return (
        f"Configuration {short_key(one.result.key)} under seed {one.seed} is "
        f"{'solved' if one.solved else 'not solved'}, with {right:,} of {rows} on the "
        f"right side of 0.5{said}; {_share(one):.0f} % of the area shown is above it."
    )


def _share(one: _Trained) -> float:
    return 100 * float((one.values > 0.5).mean())
