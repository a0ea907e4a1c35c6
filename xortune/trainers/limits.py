"""Limits of a training: a search's time, the memory there is, torch's threads."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.task import Task

# -------------------------------------------------------------------------------------------------
# When a search's time is over, for trainers that train one seed after the other.

_until: float | None = None


@contextmanager
def ending_at(until: float | None) -> Iterator[None]:
    """Time is over in this process at that moment, by `time.time`; None: never."""
    global _until  # noqa: PLW0603  # a trainer, which knows nothing of searches, stands between
    before, _until = _until, until
    try:
        yield
    finally:
        _until = before


def time_is_over() -> bool:
    """Whether no further seed may begin."""
    return _until is not None and time.time() >= _until


# -------------------------------------------------------------------------------------------------
# How much memory a training takes, and the refusal of one that this machine has not enough for.

SMALL = 2**28
"""Bytes that are not asked about: to look at the machine takes longer than such a training."""

CGROUP = Path("/sys/fs/cgroup/memory.max")


def bytes_of(config: Config, task: Task) -> int:
    """Memory for each network of a stack, at the most that a step holds at once, roughly.

    Counted in tensors: of the weights (themselves, gradient and its sum, two states, temporaries),
    of the hidden activations (this epoch's and the last one's, before and after, their gradients)
    and of the outputs.
    """
    rows: int = task.inputs.shape[0]
    if task.held_out_inputs is not None:
        rows += task.judged_inputs.shape[0]
    return 4 * (8 * weights_of(config, task) + 7 * rows * config.hidden_dim + 16 * rows + 16)


def weights_of(config: Config, task: Task) -> int:
    """Weights of one network."""
    return config.hidden_dim * (task.dim + 2) + 1


def refuse_beyond_memory(
    config: Config, task: Task, seeds: int, *, looks: int, together: int, stacked: bool
) -> None:
    """Refuse a training on the CPU that takes more memory than is free here.

    Args:
        config: what is trained.
        task: what is learned.
        seeds: how many.
        looks: epochs at which an outcome is recorded.
        together: networks that are trained at once, at least; fewer seeds are padded to it.
        stacked: whether the networks are a stack of torch's; the fused engine trains them one after
            the other.

    Raises:
        InputError: it does; the message says how much it takes.
    """
    judged: int = task.judged_targets.shape[0]
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
    takes = f"about {_amount(wanted)} of memory, and {_amount(free)} are free"
    if least > free:
        raise InputError(
            f"hidden_dim {config.hidden_dim:,} on {rows:,} rows takes {takes}",
            field="hidden_dim" if weights_of(config, task) > rows else "task",
            allowed="what fits into memory, for at least "
            f"{together} networks, which are trained together",
            fix="choose a smaller network, take fewer rows, or use a machine with more memory",
        )
    most = (free - least) // each
    raise InputError(
        f"{seeds:,} seeds take {takes}",
        field="seeds",
        allowed=f"up to about {float(f'{most:.2g}'):,.0f} at once, of this configuration here",
        fix="train them in several calls, with seeds that follow each other",
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
    """As many as a training has CPUs, at least one; OMP_NUM_THREADS has the last word."""
    asked = os.environ.get(THREADS, "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else max(1, int(cpus))


def use_threads(count: int) -> None:
    """Give this process so many, once: what the user's own code sets afterwards stays."""
    global _used  # noqa: PLW0603
    if _used == count:
        return
    _used = count
    os.environ[THREADS] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:  # it has read the variable already
        torch.set_num_threads(count)
