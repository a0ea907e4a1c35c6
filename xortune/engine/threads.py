"""How many threads torch has where a user's code trains: the same wherever a run goes on.

Sums of floating-point numbers depend on it. Ray gives a worker as many as it has CPUs, any other
process as many as the machine has; a certificate made here would count other seeds than the search.
"""

from __future__ import annotations

import os
import sys

__all__ = ["THREADS", "threads_for", "use_threads"]

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
