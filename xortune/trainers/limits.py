"""What a training may take: time, engine, stack, memory, threads; without torch."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.formats import duration
from xortune.core.task import Task

# -------------------------------------------------------------------------------------------------
# When a search's time is over, for trainers that train one seed after the other.

_until: float | None = None


@contextmanager
def ending_at(until: float | None) -> Iterator[None]:
    """Within this context, time is over in this process at `until`, by `time.time`; None: never."""
    global _until  # noqa: PLW0603  # a trainer, which knows nothing of searches, stands between
    before, _until = _until, until
    try:
        yield
    finally:
        _until = before


def time_ends() -> float | None:
    """When time is over, by `time.time`, for another process; None: never."""
    return _until


def time_is_over() -> bool:
    """Whether no further seed may begin."""
    return _until is not None and time.time() >= _until


# -------------------------------------------------------------------------------------------------
# What the fused engine does not cover.

MAX_ROWS, MAX_DIM, MAX_HIDDEN = 64, 8, 64
MAX_EPOCHS = 2**24  # an epoch's number is kept as a float32
MAX_NUMBER = 1e30  # of lr and momentum, in a stack too: torch.optim refuses what is no float32


def uncovered(config: Config, task: Task) -> str | None:
    """Why the fused engine does not train the config; None if it does."""
    limits = (
        ("rows", max(task.inputs.shape[0], task.judged_inputs.shape[0]), MAX_ROWS),
        ("inputs", task.dim, MAX_DIM),
        ("hidden_dim", config.hidden_dim, MAX_HIDDEN),
        ("epochs", config.epochs, MAX_EPOCHS),
        ("lr", config.lr, MAX_NUMBER),
        ("momentum", config.momentum, MAX_NUMBER),
    )
    for name, value, most in limits:
        if value > most:
            return f"{name} {value:,} is above {most:,}"
    return None


# -------------------------------------------------------------------------------------------------
# What may be one stack of torch's.


@dataclass(frozen=True, eq=False)
class Training:
    """One config under S seeds.

    Attributes:
        config: what to train.
        seeds: int64, shape (S,), each in [0, 2**32) and once.
        checkpoints: earlier epochs at which to record an outcome too, ascending.
    """

    config: Config
    seeds: NDArray[np.int64]
    checkpoints: tuple[int, ...] = ()


def structure_of(config: Config) -> Hashable | None:
    """What configs of one stack have in common: all but lr and momentum; None if it fits in none.

    With momentum 0 an optimizer has one state less: those are another structure.
    """
    if max(config.lr, config.momentum) > MAX_NUMBER:
        return None
    return (
        config.activation,
        config.loss,
        config.optimizer,
        config.hidden_dim,
        config.epochs,
        config.zero_grad,
        config.momentum > 0,
    )


POOLED = 2**11
"""Seeds of trainings in a pool, at most: of more few lanes are idle."""


def pools(trainings: Sequence[Training]) -> list[list[int]]:
    """Which trainings the fused engine trains as one, by index: each is in one pool.

    They differ in lr and momentum only, and their seeds would leave lanes idle.
    """
    found: dict[Hashable, list[list[int]]] = {}
    for index, one in enumerate(trainings):
        count = len(one.seeds)
        alike = structure_of(one.config), one.checkpoints, one.seeds.tobytes()
        several = found.setdefault(alike if count % FUSED_LANES else index, [])
        if not several or count * (len(several[-1]) + 1) > POOLED:
            several.append([])
        several[-1].append(index)
    return [pool for several in found.values() for pool in several]


# -------------------------------------------------------------------------------------------------
# How much memory a training takes, and the refusal of one that this machine has not enough for.

SMALL = 2**28
"""Trainings of fewer bytes are not checked: that takes longer than they do."""

CGROUP = Path("/sys/fs/cgroup/memory.max")

FUSED_LANES = 16
"""Networks that the fused engine trains together at least: `kernels.simd.LANES`."""

LANES = 64
"""Networks in a stack of torch's, or a multiple: two AVX-512 registers of float32, twice."""

MOST_STACKED = 2**30
"""Bytes that `LANES` networks may take together. Larger ones are trained one by one."""


def lanes_of(config: Config, task: Task) -> int:
    """How many networks torch trains together at least: `LANES`, or 1 of large ones.

    It depends on the network and the rows alone, never on how many seeds there are: torch rounds
    sums in another order for another number of networks.
    """
    return LANES if LANES * bytes_of(config, task) <= MOST_STACKED else 1


def bytes_of(config: Config, task: Task) -> int:
    """Bytes that one network of a stack takes at the most during a step, roughly.

    Counted in tensors: of the weights (themselves, gradient and its sum, two states, temporaries),
    of the hidden activations (this epoch's and the last one's, before and after, their gradients)
    and of the outputs.
    """
    rows = _rows(task)
    return 4 * (8 * weights_of(config, task) + 7 * rows * config.hidden_dim + 16 * rows + 16)


def _rows(task: Task) -> int:
    """Rows of an epoch: those trained on, and those held out."""
    held_out = task.held_out_inputs
    return int(task.inputs.shape[0]) + (0 if held_out is None else int(held_out.shape[0]))


def weights_of(config: Config, task: Task) -> int:
    """Weights of one network."""
    return config.hidden_dim * (task.dim + 2) + 1


def seconds_of(hidden_dim: int, epochs: int, seeds: int, task: Task) -> float:
    """How long one core trains so many seeds, roughly.

    What the fused engine was measured to take with an elementwise activation, whatever the engine:
    too little by far for the reference engine, and always in the same proportion.
    """
    rows = _rows(task)
    each = 0.7 + 0.12 * hidden_dim * (task.dim + 2)  # ns for an epoch of a row
    return 1e-4 + seeds * epochs * rows * each * 1e-9


def refuse_beyond_memory(
    config: Config, task: Task, seeds: int, engine: str = "auto", looks: int = 1
) -> None:
    """Refuse a training on the CPU that takes more memory than is free here.

    Args:
        config: what is trained.
        task: what is learned.
        seeds: how many.
        engine: what trains it: `auto`, `fused` or `reference`.
        looks: epochs at which an outcome is recorded.

    Raises:
        InputError: it does; the message says how much it takes.
    """
    judged: int = task.judged_targets.shape[0]
    stacked = engine == "reference" or uncovered(config, task) is not None
    together = lanes_of(config, task) if stacked else FUSED_LANES
    least = together * (bytes_of(config, task) if stacked else 4 * weights_of(config, task))
    # Seeds; then of each look the outputs, twice as true or false, status, epoch and loss.
    each = 40 + looks * (6 * judged + 20) + (0 if stacked else 4 * weights_of(config, task))
    wanted = least + seeds * each
    if wanted < SMALL:
        return
    free = _free()
    if free is None or wanted <= free:
        return
    rows = task.inputs.shape[0]
    memory, here = f"about {_amount(wanted)} of memory", f"{_amount(free)} are free"
    if least > free:
        raise InputError(
            f"hidden_dim {config.hidden_dim:,} on {rows:,} rows takes {memory}, and {here}",
            field="hidden_dim" if weights_of(config, task) > rows else "task",
            allowed="what fits into memory"
            + (f", for {together} networks, which are trained together" if together > 1 else ""),
            fix="choose a smaller network, take fewer rows, or use a machine with more memory",
        )
    most = (free - least) // each
    time_taken = duration(seconds_of(config.hidden_dim, config.epochs, seeds, task))
    raise InputError(
        f"{seeds:,} seeds take {memory} and {time_taken} or more of a core, and {here}",
        field="seeds",
        allowed=f"up to about {float(f'{most:.2g}'):,.0f} at once, of this configuration here",
        fix="train fewer, or in several calls with seeds that follow each other",
    )


def _free() -> int | None:
    """Bytes that this process may still take; None where the system does not say."""
    found: int | None = None
    with suppress(OSError, ValueError, TypeError):
        said = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
        if said is not None:
            found = 1024 * int(said[1])
    if found is None and hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):
            found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # of a container; "max" is no number
        limit = int(CGROUP.read_text("ascii"))
        found = limit if found is None else min(found, limit)
    return found


def _amount(size: int) -> str:
    """`5.2 GB`."""
    amount = float(size)
    for unit in ("MB", "GB", "TB"):
        amount /= 1000 if unit != "MB" else 1e6
        if amount < 1000:
            break
    return f"{amount:,.3g} {unit}" if amount < 1000 else f"{amount:,.0f} {unit}"


# -------------------------------------------------------------------------------------------------
# How many threads torch has where a user's code trains: the same wherever a run goes on.
#
# Sums of floating-point numbers depend on it. Ray gives a worker as many as it has CPUs, any other
# process as many as the machine has; a certificate made here would count other seeds than the
# search.

THREADS = "OMP_NUM_THREADS"

_used: int | None = None


def threads_for(cpus: float) -> int:
    """Threads for a training with so many CPUs, at least one; OMP_NUM_THREADS overrides it."""
    asked = os.environ.get(THREADS, "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else max(1, int(cpus))


@contextmanager
def threads_meanwhile(count: int) -> Iterator[None]:
    """So many threads for trainings in the process of the user, whose own they are afterwards."""
    before = os.environ.get(THREADS)
    torch = sys.modules.get("torch")
    had = None if torch is None else torch.get_num_threads()
    os.environ[THREADS] = str(count)
    if torch is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(THREADS, None)
        else:
            os.environ[THREADS] = before
        if torch is not None and had is not None:
            torch.set_num_threads(had)


def use_threads(count: int) -> None:
    """Set the threads of this process, once: what the user's code sets later stays."""
    global _used  # noqa: PLW0603
    if _used == count:
        return
    _used = count
    os.environ[THREADS] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:  # it has read the variable already
        torch.set_num_threads(count)
