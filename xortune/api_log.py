"""The verb `log`: a run to TensorBoard, MLflow or W&B, and what a search does that is asked to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from xortune.errors import InputError
from xortune.run import Run, no_run
from xortune.run_stored import readable
from xortune.run_url import url_of

if TYPE_CHECKING:
    from xortune.trackers.tracker import Tracker

__all__ = ["PROJECT", "log", "logged", "logging", "trackers_for"]

PROJECT = "xortune"
"""Of W&B, if none is named."""

Where = str | os.PathLike[str] | bool | None


def log(
    run: Run | str | os.PathLike[str],
    *,
    tensorboard: Where = None,
    mlflow: str | None = None,
    wandb: str | bool | None = None,
) -> int:
    """Log each configuration of a run once: its settings, its counts as seeds came, and its key.

    Nothing is trained. What was logged before is not logged again, so the same call later adds what
    is new. A run may be running; the configurations of a finished one are closed, those that were
    certified with what fresh seeds say.

    Args:
        run: a run, whose directory is read again, or its directory.
        tensorboard: a directory for event files; True for `tensorboard` in the run's.
        mlflow: a tracking URI. The experiment is MLFLOW_EXPERIMENT_NAME, or named as the space.
        wandb: a project of W&B, or ENTITY/PROJECT; True for `xortune`. With WANDB_MODE=offline only
            files are written, to WANDB_DIR or into the run's directory.

    Returns:
        How many configurations the run has.

    Raises:
        InputError: nothing to log to, a package that is not installed, a damaged run, or a tracker
            that fails; the same call then logs what is missing.
    """
    path = run.path if isinstance(run, Run) else run
    trackers = trackers_for(path, tensorboard=tensorboard, mlflow=mlflow, wandb=wandb)
    if not trackers:
        raise InputError(
            "nowhere to log to",
            field="log",
            fix="give at least one of tensorboard, mlflow and wandb",
        )
    return logged(path, trackers)


def logged(run: str | os.PathLike[str], trackers: Sequence[Tracker]) -> int:
    """Log a run; how many configurations it has.

    Raises:
        InputError: the run is none or damaged, or a tracker fails.
    """
    from xortune.run_manifest import manifest_of
    from xortune.trackers.following import log_all

    path = readable(run)
    if not path.is_dir() or not manifest_of(path):
        raise no_run(path)
    return log_all(path, trackers)


def trackers_for(
    output: str | os.PathLike[str] | None,
    *,
    tensorboard: Where = None,
    mlflow: str | None = None,
    wandb: str | bool | None = None,
) -> tuple[Tracker, ...]:
    """The trackers that are asked for, none of which has been spoken to.

    Args:
        output: of the run; None if that is yet to be found.
        tensorboard: as of `log`.
        mlflow: as of `log`.
        wandb: as of `log`.

    Raises:
        InputError: a package is not installed, or an argument is not usable.
    """
    found: list[Tracker] = []
    if tensorboard is not None and tensorboard is not False:
        from xortune.trackers.tensorboard import TensorBoard

        if tensorboard is True and output is not None and url_of(output) is not None:
            raise InputError(
                "the run is in an object store",
                field="tensorboard",
                fix="name a directory for the event files",
            )
        found.append(TensorBoard(None if tensorboard is True else Path(tensorboard)))
    if mlflow is not None:
        from xortune.trackers.mlflow import MLflow

        found.append(MLflow(mlflow))
    if wandb is not None and wandb is not False:
        from xortune.trackers.wandb import Wandb

        found.append(Wandb(PROJECT if wandb is True else wandb))
    return tuple(found)


@contextmanager
def logging(directory: Path, trackers: Sequence[Tracker]) -> Iterator[None]:
    """Log a run while the body makes it; what fails is told on stderr, once."""
    if not trackers:
        yield
        return
    from xortune.trackers.following import followed

    with followed(directory, trackers, _say):
        yield


def _say(sentence: str) -> None:
    from xortune.report.format import plain

    with suppress(OSError, ValueError):  # nobody reads it; or it is closed, or lacks a sign
        print(plain(f"note: {sentence}"), file=sys.stderr)
