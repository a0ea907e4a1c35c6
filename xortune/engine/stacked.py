"""Many configs of one structure as one training: (configs x seeds) is the axis of networks.

Where a config has few seeds, as in the first rung of a race, the reference engine spends its time
on starting operations, on a CPU and much more so on a GPU. Configs that differ in lr and momentum
only are the same operations on other numbers; see `xortune.engine.rows`. What comes out is what
each config comes to by itself: on the CPU to the last bit.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from xortune.config import Config
from xortune.engine.memory import bytes_of, weights_of
from xortune.engine.reference import (
    LANES,
    Look,
    initial_weights,
    looks,
    one_thread,
    stacked,
    width_of,
)
from xortune.engine.rows import RowOptimizer, is_torchs
from xortune.engine.trainings import Training, structure_of
from xortune.outcome import Outcome
from xortune.task import Task

__all__ = ["together", "train", "width_on"]

logger = logging.getLogger("xortune.engine")

SHARE = 0.8
"""Of the memory that is free on a GPU, how much a stack is meant to take."""

MOST_ELEMENTS = 2**31 - 1
"""Of one tensor: torch's kernels index with 32 bits up to that, and are slower beyond."""


def together(trainings: Sequence[Training], task: Task, *, device: str = "cpu") -> list[list[int]]:
    """Which trainings should be one stack: their indices, each once, in order of the first.

    On a GPU all of a structure. On the CPU those that by themselves would leave most of a stack
    empty, and only where the steps are torch.optim's own to the last bit: what a config comes to
    must not depend on what is trained beside it.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, training in enumerate(trainings):
        config = training.config
        structure = structure_of(config)
        if structure is not None and device == "cpu":
            few = 2 * len(training.seeds) <= width_of(config, task)
            if not few or not is_torchs(config.optimizer, heavy=config.momentum > 0):
                structure = None
        groups.setdefault(index if structure is None else structure, []).append(index)
    return list(groups.values())


def width_on(device: str, config: Config, task: Task, share: float = 1.0) -> int:
    """How many networks a GPU has the memory for now: a multiple of `LANES`.

    Args:
        device: of CUDA.
        config: what is trained.
        task: what is learned.
        share: how much of the GPU is this process's; others may come to want theirs.
    """
    free, total = torch.cuda.mem_get_info(device)
    # What torch keeps from earlier trainings, to use it again.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return _width(int(SHARE * min(free, share * total)), config, task)


def _width(memory: int, config: Config, task: Task) -> int:
    rows: int = max(task.inputs.shape[0], task.judged_inputs.shape[0])
    most = MOST_ELEMENTS // max(rows * config.hidden_dim, weights_of(config, task))
    return max(1, min(memory // bytes_of(config, task), most) // LANES) * LANES


def train(
    trainings: Sequence[Training],
    task: Task,
    *,
    device: str = "cpu",
    gpu_share: float = 1.0,
    width: int | None = None,
) -> list[Outcome]:
    """The outcome of each training, all of one structure (see `together`).

    Where the device has not the memory for a part of the stack, the part is halved and trained
    again, and the log says so.

    Args:
        trainings: at least one.
        task: what to learn.
        device: where torch trains.
        gpu_share: how much of the GPU's memory is this process's.
        width: networks to train at once, instead of what fits.

    Raises:
        torch.OutOfMemoryError: not even `LANES` networks fit.
    """
    first = trainings[0].config
    which = np.repeat(np.arange(len(trainings)), [len(training.seeds) for training in trainings])
    seeds = np.concatenate([training.seeds for training in trainings])
    stops = sorted({*(c for training in trainings for c in training.checkpoints), first.epochs})
    configs = [training.config for training in trainings]
    if width is None:
        cpu = device == "cpu"
        width = width_of(first, task) if cpu else width_on(device, first, task, gpu_share)
    width = _padded(width)
    parts: list[list[Look]] = []
    start = 0
    with one_thread():
        while start < len(seeds):
            at = slice(start, start + width)
            part = _part(configs, task, which[at], seeds[at], stops=stops, device=device)
            if part is None:
                width = _halved(width, len(seeds) - start, device)
                continue
            parts.append(part)
            start += width
    whole = [_joined(looks_at) for looks_at in zip(*parts, strict=True)]
    ends = np.cumsum([len(training.seeds) for training in trainings]).tolist()
    return [
        _outcome(training, task, whole, end - len(training.seeds))
        for training, end in zip(trainings, ends, strict=True)
    ]


def _part(
    configs: Sequence[Config],
    task: Task,
    which: NDArray[np.int64],
    seeds: NDArray[np.int64],
    *,
    stops: Sequence[int],
    device: str,
) -> list[Look] | None:
    """Looks at so many networks; None if the memory is not enough."""
    padding = -len(seeds) % LANES
    first, last = int(which[0]), int(which[-1])
    config, which = configs[first], which - first
    # Different configs mostly have the same seeds: each is drawn once.
    different, drawn = np.unique(seeds, return_inverse=True)
    columns = torch.from_numpy(np.pad(drawn, (0, padding), mode="edge"))
    try:
        start = stacked(initial_weights(task.dim, config.hidden_dim, different))
        weights = start.index_select(1, columns).to(device)
        rows = RowOptimizer(
            configs[first : last + 1], np.pad(which, (0, padding), mode="edge"), weights
        )
        return [_cut(look, len(seeds)) for look in looks(config, task, weights, rows, stops)]
    except torch.OutOfMemoryError:
        if len(seeds) <= LANES:
            raise
        return None  # not from in here: the error holds on to the tensors


def _halved(width: int, left: int, device: str) -> int:
    """Half as many networks, after a word about it."""
    width = min(width, _padded(left))
    half = _padded(width // 2)
    logger.warning(
        "out of memory on %s with %d networks at once: trained again, %d at once from here on",
        device,
        width,
        half,
    )
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    return half


def _padded(count: int) -> int:
    return count + -count % LANES


def _cut(look: Look, count: int) -> Look:
    """Without what is padding."""
    return Look(
        look.epochs,
        look.predictions[:count],
        look.finite[:count],
        look.solved_epoch[:count],
        look.final_loss[:count],
    )


def _joined(parts: Sequence[Look]) -> Look:
    return Look(
        parts[0].epochs,
        np.concatenate([part.predictions for part in parts]),
        np.concatenate([part.finite for part in parts]),
        np.concatenate([part.solved_epoch for part in parts]),
        np.concatenate([part.final_loss for part in parts]),
    )


def _outcome(training: Training, task: Task, whole: Sequence[Look], first: int) -> Outcome:
    outcomes: tuple[Outcome, ...] = ()
    for look in whole:
        last = look.epochs == training.config.epochs
        if last or look.epochs in training.checkpoints:
            earlier = outcomes if last else ()
            outcomes = (*outcomes, look.outcome(task, training.seeds, first, earlier))
    return outcomes[-1]
