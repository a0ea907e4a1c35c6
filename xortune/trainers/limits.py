"""Limits of a training: its deadline, engine, stack, memory, threads, output and descriptors.

torch is not imported.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.filesize import decimal

from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.formats import duration
from xortune.core.system import free_memory
from xortune.core.task import Task

# -------------------------------------------------------------------------------------------------
# The deadline of a search, for trainers that train one seed after the other.

_deadlines: dict[int, float | None] = {}
"""By thread number: several threads train at once. A trainer, which knows no search, lies between
who sets a deadline and who keeps it."""

END_NOW = 0.0
"""The deadline of `end_at_once`; it also ends the trainings around a nested one."""


@contextmanager
def ending_at(deadline: float | None) -> Iterator[None]:
    """Set the deadline of trainings in this thread, by `time.time`; None for no deadline.

    A training may itself evaluate configurations: their deadline holds until they end.
    """
    thread = threading.get_ident()
    nested, before = thread in _deadlines, current_deadline()
    _deadlines[thread] = deadline
    try:
        yield
    finally:
        if not nested:
            del _deadlines[thread]  # another thread may get its number
        elif _deadlines[thread] != END_NOW:
            _deadlines[thread] = before


def end_at_once(thread: int) -> None:
    """Let no further seed begin in the `ending_at` of another thread, if it is in one."""
    if thread in _deadlines:
        _deadlines[thread] = END_NOW


def current_deadline() -> float | None:
    """The deadline of this thread, to hand on to another process."""
    return _deadlines.get(threading.get_ident())


def time_is_over() -> bool:
    """Whether no further seed may begin."""
    deadline = current_deadline()
    return deadline is not None and time.time() >= deadline


# -------------------------------------------------------------------------------------------------
# What the fused engine does not cover.

MAX_ROWS, MAX_DIM, MAX_HIDDEN = 64, 8, 64
MAX_EPOCHS = 2**24  # the kernel keeps an epoch's number as a float32
MAX_MOMENTUM = 1e30  # in a stack too: torch.optim refuses what no float32 holds


def uncovered(config: Config, task: Task) -> str | None:
    """Why the fused engine does not train the config; None if it does."""
    limits = (
        ("rows", max(task.inputs.shape[0], task.judged_inputs.shape[0]), MAX_ROWS),
        ("inputs", task.dim, MAX_DIM),
        ("hidden_dim", config.hidden_dim, MAX_HIDDEN),
        ("epochs", config.epochs, MAX_EPOCHS),
        ("momentum", config.momentum, MAX_MOMENTUM),
    )
    for name, value, most in limits:
        if value > most:
            return f"{name} {value:,} is above {most:,}"
    return None


# -------------------------------------------------------------------------------------------------
# Which trainings may be one stack.


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
    """What all configs of a stack share: everything but lr and momentum.

    None for a config that fits into no stack. Momentum 0 is another structure, because the
    optimizer has one state less.
    """
    if config.momentum > MAX_MOMENTUM:
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
"""Maximum number of seeds in a pool. In more, hardly any lane is idle."""


def pools(trainings: Sequence[Training]) -> list[list[int]]:
    """Group the trainings that the fused engine trains in one call: lists of indices.

    Those of a pool differ in lr and momentum only, and alone would leave lanes idle.
    """
    alike: dict[Hashable, list[list[int]]] = {}
    for index, training in enumerate(trainings):
        count = len(training.seeds)
        key = structure_of(training.config), training.checkpoints, training.seeds.tobytes()
        several = alike.setdefault(key if count % FUSED_LANES else index, [])
        if not several or count * (len(several[-1]) + 1) > POOLED:
            several.append([])
        several[-1].append(index)
    return [pool for several in alike.values() for pool in several]


# -------------------------------------------------------------------------------------------------
# How much memory a training takes, and the refusal of one that does not fit into this machine's.

UNCHECKED_BYTES = 2**28
"""Trainings of fewer bytes are not checked: the check takes longer than they do."""

FUSED_LANES = 16
"""The fused engine trains a multiple of this number of networks: `kernels.simd.LANES`."""

LANES = 64
"""A stack of torch has a multiple of this number of networks: two AVX-512 registers, twice."""

MOST_STACKED = 2**30
"""Maximum size of `LANES` networks in bytes. Larger networks are trained one by one."""


def lanes_of(config: Config, task: Task) -> int:
    """The number of networks of which a stack has a multiple: `LANES`, or 1 for large ones.

    It must not depend on the number of seeds: torch sums in another order for another number of
    networks.
    """
    return LANES if LANES * bytes_of(config, task) <= MOST_STACKED else 1


def bytes_of(config: Config, task: Task) -> int:
    """Approximate peak memory of one network of a stack during a step, in bytes.

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
    """Number of weights of one network."""
    return config.hidden_dim * (task.dim + 2) + 1


def seconds_of(hidden_dim: int, epochs: int, seeds: int, task: Task) -> float:
    """Approximate time to train `seeds` seeds on one core of the fused engine.

    Measured with an elementwise activation. For the reference engine it is far too little, but
    always in the same proportion.
    """
    rows = _rows(task)
    each = 0.7 + 0.12 * hidden_dim * (task.dim + 2)  # ns for an epoch of a row
    return 1e-4 + seeds * epochs * rows * each * 1e-9


def refuse_beyond_memory(
    config: Config, task: Task, seeds: int, engine: str = "auto", records: int = 1
) -> None:
    """Refuse a training on the CPU that takes more memory than is free.

    Args:
        config: what is trained.
        task: what is learned.
        seeds: how many.
        engine: what trains it: `auto`, `fused` or `reference`.
        records: number of epochs at which an outcome is recorded.

    Raises:
        InputError: it does; the message says how much it takes.
    """
    judged: int = task.judged_targets.shape[0]
    stacked = engine == "reference" or uncovered(config, task) is not None
    together = lanes_of(config, task) if stacked else FUSED_LANES
    least = together * (bytes_of(config, task) if stacked else 4 * weights_of(config, task))
    # Seeds; then for each record the outputs, twice as bool, status, epoch and loss.
    each = 40 + records * (6 * judged + 20) + (0 if stacked else 4 * weights_of(config, task))
    needed = least + seeds * each
    if needed < UNCHECKED_BYTES:
        return
    free = free_memory()
    if free is None or needed <= free:
        return
    rows = task.inputs.shape[0]
    memory, here = f"about {decimal(needed)} of memory", f"{decimal(free)} are free"
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


# -------------------------------------------------------------------------------------------------
# The number of torch's threads in a user's code: the same on all machines of a run.
#
# Sums of floating-point numbers depend on it. By default a worker of Ray has as many as its CPUs,
# and any other process as many as the machine: a certificate would count other seeds than the
# search.

THREADS = "OMP_NUM_THREADS"

_used: int | None = None


def environment_threads() -> int | None:
    """The number in OMP_NUM_THREADS, if there is one."""
    text = os.environ.get(THREADS, "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def threads_for(cpus: float) -> int:
    """Number of threads for a training on `cpus` CPUs; OMP_NUM_THREADS overrides it."""
    return environment_threads() or max(1, int(cpus))


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Set the number of threads in the process of the user, and restore it afterwards."""
    before = os.environ.get(THREADS)
    torch = sys.modules.get("torch")
    torchs = None if torch is None else torch.get_num_threads()
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
        if torch is not None:
            torch.set_num_threads(torchs)


def use_threads(count: int) -> None:
    """Set the number of threads of this process, once: a later change by the user's code stays."""
    global _used  # noqa: PLW0603
    if _used == count:
        return
    _used = count
    os.environ[THREADS] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:  # it has read the variable already
        torch.set_num_threads(count)


def clock() -> float:
    """Seconds; with one thread on a CPU other processes do not count. torch has been imported."""
    torch = sys.modules["torch"]
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()
    return time.process_time() if alone else time.perf_counter()


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Within this context glibc does not return freed memory to the system at once.

    A step allocates and frees tensors of some megabytes. By default glibc maps each anew, and the
    system clears its pages, which takes up to a third of the time. Other allocators keep memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    trim, mapped, most = -1, -3, 2**25  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and its largest value
    mallopt(mapped, most)
    mallopt(trim, 2**31 - 1)
    try:
        yield
    finally:
        # The value that glibc itself sets in a process that has freed large blocks.
        mallopt(trim, 2 * most)


# -------------------------------------------------------------------------------------------------
# The output of a user's function: to stderr, and of a long one only the beginning and the end.
#
# Ray writes what a worker prints to a file. A function that prints a line for each of its steps
# would fill the disk.

HEAD, TAIL = 20_000, 5_000
"""Maximum number of characters that a batch prints at once, and when it is trained."""


class _Bounded:
    """A stream that passes on the first characters at once, and the last ones in `finish`.

    What cannot be printed is lost: no seed fails because who reads stderr has gone away.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, HEAD
        self._tail, self._held_back = "", 0

    def write(self, text: str) -> int:
        """Print the text, or keep its end."""
        now, later = text[: self._left], text[self._left :]
        if now:
            self._left -= len(now)
            with suppress(OSError, ValueError):  # ValueError: it is closed
                self._stream.write(now)
        if later:
            self._held_back += len(later)
            self._tail = (self._tail + later[-TAIL:])[-TAIL:]
        return len(text)

    def flush(self) -> None:
        """Print what waits in the stream."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def finish(self) -> None:
        """Print the end, after the number of characters left out before it."""
        if self._held_back:
            gap = self._held_back - len(self._tail)
            note = f"\n... ({gap:,} characters left out) ...\n" if gap else ""
            self._stream.write(note + self._tail)
            self._tail, self._held_back = "", 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def bounded_output() -> Iterator[None]:
    """Send what is printed in this context to stderr: stdout is for our results, maybe JSON."""
    stream = _Bounded(sys.stderr) if sys.stderr is not None else None
    with redirect_stdout(stream), redirect_stderr(stream):
        try:
            yield
        finally:
            if stream is not None:
                with suppress(OSError, ValueError):  # stderr is closed
                    stream.finish()


# -------------------------------------------------------------------------------------------------
# The descriptors 0, 1 and 2: a user's training may close them, or lead them elsewhere.

_copies: ContextVar[tuple[tuple[int, int], ...]] = ContextVar("_copies", default=())
"""Each of these descriptors that is open, and a copy of it. A variable of the context, since
threads and tasks train at once."""


@contextmanager
def keeping_descriptors() -> Iterator[None]:
    """Within this context `restore_descriptors` can be called; it is at the end."""
    copies = []
    for number in range(3):
        with suppress(OSError):  # it is closed
            copies.append((number, os.dup(number)))
    outer = _copies.set(tuple(copies))
    try:
        yield
    finally:
        restore_descriptors()
        _copies.reset(outer)
        for _, copy in copies:
            with suppress(OSError):  # the user's code has closed that too
                os.close(copy)


def restore_descriptors() -> None:
    """Make the descriptors what they were at the begin of `keeping_descriptors`; 3 us."""
    for number, copy in _copies.get():
        with suppress(OSError):
            os.dup2(copy, number)
