"""The verb that settles the thread: the sweep if it is needed, the measurements, the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xortune.errors import InputError, nearest
from xortune.progress import Progress
from xortune.run import Run, load_run
from xortune.seed_ranges import THREAD

if TYPE_CHECKING:
    from xortune.thread.claims import Claims
    from xortune.thread.settle import Settled

__all__ = ["DEFAULT_SEEDS", "checked_seed_range", "thread", "thread_sweep", "write_thread"]

DEFAULT_SEEDS = 10_000


def thread(
    *,
    only: Sequence[str] = (),
    seeds: int = DEFAULT_SEEDS,
    first_seed: int = 0,
    sweep: Run | str | os.PathLike[str] | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
    on_sweep: Callable[[Progress], None] | None = None,
) -> Settled:
    """Measure every claim of the forum thread that xortune was made from.

    Args:
        only: ids of rows, such as T3, T8 (all of T8a to T8h) or T8c; all if none is given.
        seeds: how many each system is trained under.
        first_seed: of those.
        sweep: a run that holds the thread's sweep, for T12 and T15; if none is given it is run, or
            continued, in runs/thread_sweep.
        on_progress: called with (done, total, what) after each system.
        on_sweep: called while the sweep is run.

    Returns:
        Measurements and verdicts; `write_thread` makes a report of them.

    Raises:
        InputError: an unknown id, seeds out of range, a sweep that holds none of the cells.
    """
    from xortune.thread.settle import settle
    from xortune.thread.sweep import summary

    claims = _claims(only)
    checked_seed_range(seeds, first_seed)
    run = thread_sweep(only=only, sweep=sweep, on_sweep=on_sweep)
    cells = None if run is None else summary(run)
    return settle(claims, range(first_seed, first_seed + seeds), cells, on_progress=on_progress)


def checked_seed_range(seeds: int, first_seed: int) -> None:
    """Refuse seeds that `thread` cannot take, before anything is trained.

    Raises:
        InputError: none, or some that belong to the best cells.
    """
    from xortune.thread.settle import FRESH

    if seeds < 1:
        raise InputError(f"{seeds} seeds", field="seeds", allowed="1 or more")
    if first_seed < 0 or first_seed + seeds > FRESH or seeds > len(THREAD):
        raise InputError(
            f"seeds {first_seed} to {first_seed + seeds - 1}",
            field="seeds",
            allowed=f"seeds from 0 to {FRESH - 1}; those above are for the best cells",
        )


def thread_sweep(
    *,
    only: Sequence[str] = (),
    sweep: Run | str | os.PathLike[str] | None = None,
    on_sweep: Callable[[Progress], None] | None = None,
) -> Run | None:
    """The run that holds the sweep; None if no row that is asked for counts its cells.

    Args:
        only: as in `thread`.
        sweep: as in `thread`.
        on_sweep: as in `thread`.

    Raises:
        InputError: an unknown id, a directory that holds no run.
    """
    if not any(variant.sweep for _, variant in _claims(only).measured):
        return None
    if isinstance(sweep, Run):
        return sweep
    if sweep is not None:
        return load_run(sweep)
    from xortune import api
    from xortune.thread.sweep import SPACE

    return api.search(
        SPACE, output=Path(api.RUNS) / "thread_sweep", resume=True, on_progress=on_sweep
    )


def _claims(only: Sequence[str]) -> Claims:
    from xortune.thread.claims import read_claims

    claims = read_claims()
    if not only:
        return claims
    asked = {name.strip() for name in only}
    known = {name for row in claims.rows for name in (row.id, row.number)}
    for name in sorted(asked - known):
        raise InputError(
            f"there is no row {name!r}",
            field="only",
            allowed=", ".join(row.id for row in claims.rows),
            fix=nearest(name, sorted(known)) or "T8 stands for T8a to T8h",
        )
    return claims.only(asked)


def write_thread(settled: Settled, output: str | os.PathLike[str] = "reports") -> tuple[Path, ...]:
    """Write thread.md, thread.csv, two more tables and the figures into a directory.

    Args:
        settled: what `thread` returns.
        output: the directory.

    Returns:
        The files' paths, thread.md first.

    Raises:
        InputError: the directory cannot be made or written.
    """
    from xortune.thread.files import write

    return write(settled, Path(output))
