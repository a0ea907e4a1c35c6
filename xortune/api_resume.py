"""What a run's manifest says of how it was made, and what a session that continues it may be."""

from __future__ import annotations

import platform
import socket
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xortune.resume import changes_brought
from xortune.run_apart import aside_rows
from xortune.run_manifest import MANIFEST, update_manifest
from xortune.run_sessions import (
    Continuation,
    begin_session,
    ended,
    first_made,
    identity_of,
    made_id,
)
from xortune.run_versions import checked_versions

if TYPE_CHECKING:
    from xortune.run import Run
    from xortune.space import SearchSpace
    from xortune.trainer import Trainer

__all__ = [
    "INEXACT",
    "checked_versions",
    "continuation",
    "continue_run",
    "end_of_session",
    "first_manifest",
    "now",
    "session_entry",
]

INEXACT = ("gp", "nsgaii", "cmaes")
"""Samplers that do not promise to go on as if a search had never been interrupted."""

PACKAGES = ("xortune", "torch", "ray", "optuna", "numpy")

MORE_PACKAGES = ("numba", "scipy", "pandas", "pyarrow")


def first_manifest(
    space: SearchSpace, trainer: Trainer, command: Sequence[str] | None
) -> dict[str, Any]:
    """The manifest of a new run, with its first session."""
    described = trainer.describe()
    identity, entry = identity_of(described), session_entry(command)
    made = made_id(identity)
    file = str(Path(space.place).resolve())
    own = {} if space.task is not None else {"threads": getattr(trainer, "threads", 1)}
    return {
        "name": space.name,
        **described,
        **own,
        "sampler": space.search.sampler,
        "trials": space.search.trials,
        "seed": space.search.seed,
        "time_budget": space.search.time_budget,
        "ladder": list(space.seeds.ladder),
        "first_seed": 0,
        "space_file": file,
        **entry,
        "versions": {name: entry["versions"][name] for name in ("python", *PACKAGES)},
        "made": {made: identity},
        "sessions": [{"number": 1, **entry, "made": made, "space": "space.yaml", "changes": []}],
    }


def session_entry(command: Sequence[str] | None) -> dict[str, Any]:
    """What the manifest says of a session that begins now, here."""
    packages = {name: version(name) for name in (*PACKAGES, *MORE_PACKAGES)}
    return {
        "command": list(command) if command is not None else None,
        "versions": {"python": platform.python_version(), **packages},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "git_commit": _git_commit(),
        "started": now(),
    }


def continuation(
    space: SearchSpace,
    trainer: Trainer,
    run: Run,
    *,
    extend: bool = False,
    accept_versions: bool = False,
    command: Sequence[str] | None = None,
) -> tuple[Continuation, dict[str, str], list[str]]:
    """What a session that continues a run notes, and what trains it; nothing is written.

    Args:
        space: what the session searches.
        trainer: what it trains with.
        run: as it is.
        extend: whether the space may have grown.
        accept_versions: whether the trainer may be another; see `checked_versions`.
        command: the command line, for the manifest.

    Returns:
        The entry for the manifest, with the space if it grows; the identity of what trains; and
        sentences that the user should read.

    Raises:
        InputError: the session may not be.
    """
    place, manifest = str(run.path), run.manifest
    learned = manifest.get("task_fingerprint")
    then = run.asked
    name = manifest.get("task", then.task.name if then.task is not None else "")
    task = (str(name), str(learned)) if learned else None
    changes = changes_brought(then, space, task=task, place=place, extend=extend)
    identity, entry = identity_of(trainer.describe()), session_entry(command)
    notes = checked_versions(run, identity, entry["versions"], accept=accept_versions)
    if space.search.sampler in INEXACT:
        notes.append(
            f"sampler {space.search.sampler} is not exact here: what it proposes now may differ "
            "from what it would have proposed without the interruption"
        )
    entry |= {"changes": [str(change) for change in changes], "notes": notes}
    # Fewer trials than the run asks for are this session's affair alone.
    grown = any(change.refusal is None for change in changes)
    return Continuation(entry, space if grown else None), identity, notes


def continue_run(
    space: SearchSpace,
    trainer: Trainer,
    run: Run,
    *,
    say: Callable[[str], None] | None = None,
    **how: Any,
) -> None:
    """Begin a session that continues a run: note it in the manifest, and its space if it grows.

    The caller holds the run's lock.

    Args:
        space: what the session searches.
        trainer: what it trains with.
        run: as it is.
        say: called with each sentence that the user should read.
        how: `extend`, `accept_versions` and `command` of `continuation`.

    Raises:
        InputError: the session may not be; nothing was written.
    """
    session, identity, notes = continuation(space, trainer, run, **how)
    begin_session(run.path, session, identity)
    if run.manifest.get("stopped"):
        update_manifest(run.path, stopped=None)
    for note in notes:
        if say is not None:
            say(note)


def end_of_session(run: Run, **how: Any) -> dict[str, Any]:
    """Entries for the manifest of a run whose session ends: how, and what is counted nowhere.

    Raises:
        InputError: the manifest is damaged.
    """
    place = str(run.path / MANIFEST)
    rows = list(aside_rows(run.set_aside, first_made(run.manifest, place)))
    aside = {"not_counted": rows} if rows or "not_counted" in run.manifest else {}
    return ended(run.manifest, place, **how) | aside


def now() -> str:
    """The time, for a manifest."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_commit() -> str | None:
    """The commit of the working directory, if it is in a git checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
