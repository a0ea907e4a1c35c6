"""The verb `export`: a config of a run as a script that needs nothing but PyTorch."""

from __future__ import annotations

import json
import os
import shlex

from xortune.errors import InputError, nearest
from xortune.run import ConfigResult, Run, load_run
from xortune.task import Task

__all__ = ["export", "exported", "task_of"]


def export(run: Run | str | os.PathLike[str], *, key: str | None = None) -> str:
    """A plain PyTorch script that trains one config of a run under one seed that it solves.

    Args:
        run: a run, or its directory.
        key: of the config. If it is not given, the best: of a certified run its certificate's
            first finalist, as `gate` takes it, else the first in the search's order.

    Raises:
        InputError: no such config, a run of something else than the built-in network, or a task
            that is no longer the run's.
    """
    from xortune.config import Config
    from xortune.report.format import plain
    from xortune.report.script import whole_script

    loaded = run if isinstance(run, Run) else load_run(run)
    if not loaded.is_network:
        raise InputError(
            "the run was trained by something else than the built-in network",
            place=str(loaded.path),
            fix=_own_script(loaded, key),
        )
    result = exported(loaded, key)
    task = task_of(loaded)
    outcome = result.outcome
    solved = outcome.seeds[outcome.solved]
    seed = int(solved[0]) if solved.size else int(outcome.seeds[0])
    lines = [
        f"# Config {result.key}, task {plain(task.name)}: {outcome.successes} of {outcome.n} seeds"
        " solved in the search.",
        *_certified(loaded, result.key),
        f"# Trains seed {seed}"
        + ("" if solved.size else ", which is not solved,")
        + " and prints the prediction for each judged row.",
        whole_script(Config.from_point(result.point), task, seed),
    ]
    return "\n".join(lines) + "\n"


def _own_script(run: Run, key: str | None) -> str:
    """The config to call a user's own function with, as JSON; or the command, for a shell."""
    try:
        command = run.asked.command
    except InputError:  # a run without its space
        command = None
    said = f"its own {'function' if command is None else 'command'} is the script"
    if not run.results:
        return said
    config = exported(run, key).point.as_dict()
    if command is None:
        return f"{said}; the config is {json.dumps(config)}"
    return f"{said}; with seed 0 it is run as {shlex.join(command.template.argv(config, 0))}"


def exported(run: Run, key: str | None = None) -> ConfigResult:
    """The config that `export` takes.

    Raises:
        InputError: there is none with that key, or none at all.
    """
    assert run.best is not None  # refuses a run in which nothing has finished
    if key is None:
        certificate = run.certificate
        if certificate is None or not certificate.finalists:
            return run.results[0]
        key = certificate.best.key
    found = next((result for result in run.results if result.key == key), None)
    if found is None:
        keys = [result.key for result in run.results]
        raise InputError(
            f"no configuration has the key {key!r}",
            field="key",
            allowed="a key of the run's table.csv",
            fix=nearest(key, keys) if len(keys) <= 10 else None,
        )
    return found


def task_of(run: Run) -> Task:
    """The task of a run.

    Raises:
        InputError: the task's file is gone, or has changed.
    """
    task = run.asked.task
    if task is None:
        raise InputError(
            "the run's space names a trainer of the user's own", place=str(run.path), field="task"
        )
    if run.manifest.get("task_fingerprint", task.fingerprint) != task.fingerprint:
        raise InputError(
            f"the task {task.name} is no longer what the run learned",
            place=str(run.path),
            fix="bring back the task's file as it was",
        )
    return task


def _certified(run: Run, key: str) -> list[str]:
    from xortune.report.certified import lower

    certificate = run.certificate
    if certificate is None:
        return []
    return [
        f"# On fresh seeds from {found.first}: {found.k} of {found.n}, so at least {lower(found)} "
        f"of all seeds (confidence {certificate.confidence:g})."
        for found in certificate.finalists
        if found.key == key
    ]
