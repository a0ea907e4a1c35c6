"""The verb `certify`, and what a search does when its space file asks for a certificate."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xortune.api_export import task_of
from xortune.errors import InputError
from xortune.run import Run, load_run

if TYPE_CHECKING:
    from xortune.run_certificate import Certificate
    from xortune.trainer import Trainer

__all__ = ["AFTERWARDS", "FINALISTS", "certified", "certify"]

FINALISTS = 5
"""How many a search certifies by itself."""

AFTERWARDS = 0.1
"""A search whose time is over still certifies if that takes at most this share of its budget: it is
what makes the result believable, and mostly takes seconds."""


def certify(
    run: Run | str | os.PathLike[str],
    *,
    top: int | None = None,
    seeds: int = 1000,
    confidence: float | None = None,
    extendable: bool = False,
    extend: bool = False,
    neighbourhood: float | None = None,
    by: str | None = None,
    trainer: Trainer | None = None,
    accept_versions: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
) -> Certificate:
    """Train the best configs of a run on seeds that the search never saw, and bound their rates.

    With a probability of at least `confidence` all lower bounds of all attempts of the run hold
    together: see `xortune.run_certificate`. The result is in the run's certificate.json too, and
    every block in its journal. A call that was interrupted is continued by the same call.

    Args:
        run: a run, or its directory.
        top: how many configs, the first in the search's own order; 5 if not given.
        seeds: fresh seeds for each, one number planned beforehand; with `extend`, how many more.
        confidence: of all bounds together; 0.95 if not given.
        extendable: begin an attempt whose seeds may be added to later: its bound is the anytime
            one, a little lower.
        extend: add seeds to the last attempt, which was begun as extendable.
        neighbourhood: also measure each config with its numeric settings moved: 0.2 moves those on
            a log scale by factors of 1/1.2 and 1.2, others by 5 % of their range.
        by: what orders the finalists, and so which one `gate` and `export` take: `own`, the lower
            bound of each (if not given), or `neighbourhood`, the lower bound of the worst among it
            and its neighbours.
        trainer: what trained the run, if it was not the built-in network.
        accept_versions: leave an attempt that was begun with another engine, torch or Numba, and
            begin a new one.
        on_progress: called with the seeds done and all seeds.
        on_word: called with a sentence that the user should read.
        command: the command line, for the manifest.

    Raises:
        InputError: an argument that is not usable, nothing to certify, an attempt that cannot be
            extended or was begun with other versions, or a task that is no longer the run's.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    from xortune.api_resume import session_entry
    from xortune.certify import certify_run
    from xortune.run_sessions import CERTIFIED

    if extend:
        begun = {"top": top, "confidence": confidence, "extendable": extendable, "by": by}
        for name, given in begun.items():
            if given not in (None, False):
                raise InputError(
                    f"{given} for an attempt that is extended",
                    field=name,
                    allowed="at the beginning of an attempt: what it was begun with stays",
                    fix="leave it out",
                )
    loaded = run if isinstance(run, Run) else load_run(run)
    certificate = certify_run(
        loaded.path,
        trainer or _trainer_of(loaded),
        top=FINALISTS if top is None else top,
        seeds=seeds,
        confidence=0.95 if confidence is None else confidence,
        extendable=extendable,
        extend=extend,
        neighbourhood=neighbourhood,
        by="own" if by is None else by,
        on_progress=on_progress,
        on_word=on_word,
        accept_versions=accept_versions,
        session={"what": CERTIFIED, **session_entry(command)},
    )
    from xortune.report.files import write_derived

    write_derived(_told_of(load_run(loaded.path)), ["md"])
    return certificate


def certified(
    run: Run,
    trainer: Trainer,
    *,
    most: float | None = None,
    accept_versions: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Run, bool]:
    """Certify the finalists of a search that is done, if its space asks for that.

    Nothing is done where no config solved a seed, or where the finalists are certified already: a
    finished search that is resumed must not spend another attempt.

    Args:
        run: the search.
        trainer: of the search; it trains in this process.
        most: how many seconds it may take, by what the search measured. If it takes more it is not
            begun, and the entry `not_certified` of the manifest has the command that does it.
        accept_versions: whether an attempt that other versions began may be left; see `certify`.
        on_progress: called with the seeds done and all seeds.

    Returns:
        The run as it is then, and False if the user interrupted; resuming the search continues.

    Raises:
        InputError: the directory cannot be written.
    """
    from xortune.certify import certify_run
    from xortune.engine.network import NetworkTrainer, usable_cores

    seeds = run.asked.seeds.certify
    solving = [r.key for r in run.results[:FINALISTS] if r.outcome.successes]
    if seeds is None or not solving:
        return run, True
    known = run.certificate
    for attempt in known.attempts if known is not None else ():
        ranked = sorted(attempt.finalists, key=lambda found: found.rank)
        if attempt.complete and attempt.seeds >= seeds and [f.key for f in ranked] == solving:
            return run, True
    if most is not None and (seconds := _seconds(run, solving, seeds)) > most:
        return run.noted(not_certified=_left_out(run, seeds, seconds)), True
    if isinstance(trainer, NetworkTrainer):
        trainer = replace(trainer, threads=usable_cores())
    try:
        certify_run(
            run.path,
            trainer,
            top=FINALISTS,
            seeds=seeds,
            accept_versions=accept_versions,
            on_progress=on_progress,
        )
    except KeyboardInterrupt:
        return load_run(run.path), False
    return _told_of(load_run(run.path)), True


def _seconds(run: Run, finalists: Sequence[str], seeds: int) -> float:
    """About how long certifying takes on all cores of this machine, as the search's blocks did."""
    from xortune.engine.network import usable_cores

    each = 0.0
    for key in finalists:
        lines = [e for e in run.evaluations if e.block.point.key == key and e.outcome is not None]
        each += sum(e.seconds for e in lines) / sum(e.block.count for e in lines)
    return each * seeds / usable_cores()


def _left_out(run: Run, seeds: int, seconds: float) -> dict[str, str | float]:
    """For the manifest: why there is no certificate, what makes it, and how long that takes."""
    return {
        "why": "the time budget had run out",
        "command": shlex.join(["xortune", "certify", str(run.path), "--seeds", str(seeds)]),
        "seconds": seconds,
    }


def _told_of(run: Run) -> Run:
    """The run, without a word about the certificate that it lacked before."""
    return run.noted(not_certified=None) if run.manifest.get("not_certified") else run


def _trainer_of(run: Run) -> Trainer:
    from xortune.engine.network import NetworkTrainer, usable_cores

    if not run.is_network:
        raise InputError(
            "the run was trained by something else than the built-in network",
            place=str(run.path),
            fix="give what trained it: certify(..., trainer=...)",
        )
    return NetworkTrainer(task_of(run), threads=usable_cores())
