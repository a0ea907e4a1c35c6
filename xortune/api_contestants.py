"""What the verb `compare` is given: runs, their directories, configs of them, outcomes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from xortune.comparison_contestants import Candidate, candidate_of
from xortune.comparison_imported import imported_contestant
from xortune.comparison_runs import Contestant
from xortune.config import Config
from xortune.errors import InputError
from xortune.outcome import Outcome
from xortune.run import Run, load_run
from xortune.run_url import url_of
from xortune.task import Task, TaskSpec

__all__ = ["Compared", "Named", "entries_of", "only_run"]

Named: TypeAlias = Run | str | os.PathLike[str]
Compared: TypeAlias = Named | Config | Outcome


def only_run(items: Sequence[Compared]) -> Run:
    """The one run that a table is compared with.

    Raises:
        InputError: several, or something else.
    """
    if len(items) != 1:
        raise InputError(
            f"{len(items)} runs",
            field="runs",
            allowed="one run, which is compared with a table",
            fix="compare each run with the table by itself, or the runs without --reference",
        )
    [one] = items
    if isinstance(one, Config | Outcome):
        raise InputError(f"a {type(one).__name__}", field="runs", allowed="a run or its directory")
    return one if isinstance(one, Run) else load_run(one)


def entries_of(
    items: Sequence[Compared], labels: Sequence[str] | None, task: TaskSpec
) -> list[Candidate | Contestant]:
    """Outcomes as they are, and what is to be found or trained of the others.

    Args:
        items: what is compared.
        labels: what they are called; their own names if not given.
        task: what a `Config` learns.

    Raises:
        InputError: something that cannot be compared, a run that is none, or wrong labels.
    """
    located = [_located(item) for item in items]
    names = _labels(located, labels)
    entries: list[Candidate | Contestant] = []
    for item, name in zip(located, names, strict=True):
        if isinstance(item, Outcome):
            entries.append(Contestant(name, "", None, item, "given"))
        elif isinstance(item, Config):
            learned = task if isinstance(task, Task) else Task.named(task)
            point = item.point
            entries.append(Candidate(name, point, (learned.name, learned.fingerprint)))
        else:
            run, key = item
            candidate = candidate_of(run, key, name)
            entries.append(imported_contestant(run, key, candidate) or candidate)
    return entries


def _located(item: Compared) -> Config | Outcome | tuple[Run, str | None]:
    if isinstance(item, Config | Outcome):
        return item
    if isinstance(item, Run):
        return item, None
    if not isinstance(item, str | os.PathLike):
        raise InputError(
            f"a {type(item).__name__}",
            field="runs",
            allowed="runs, their directories, DIRECTORY#KEY, configs, outcomes",
        )
    text = os.fspath(item)
    directory, sign, key = text.rpartition("#")
    if sign and directory and (url_of(text) is not None or not Path(text).exists()):
        return load_run(directory), key
    return load_run(item), None


def _labels(
    items: Sequence[Config | Outcome | tuple[Run, str | None]], given: Sequence[str] | None
) -> list[str]:
    """One for each, and no two alike."""
    if given is not None:
        if len(given) != len(items) or not all(isinstance(name, str) and name for name in given):
            raise InputError(
                f"{len(given)} labels for {len(items)} to compare",
                field="labels",
                allowed="one text for each",
            )
        return list(given)
    names = [_name(item, whole=False) for item in items]
    for name in {name for name in names if names.count(name) > 1}:
        alike = [place for place, other in enumerate(names) if other == name]
        whole = [_name(items[place], whole=True) for place in alike]
        if len(set(whole)) == len(whole):
            for place, long in zip(alike, whole, strict=True):
                names[place] = long
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _name(item: Config | Outcome | tuple[Run, str | None], *, whole: bool) -> str:
    if isinstance(item, Outcome):
        return "outcome"
    if isinstance(item, Config):
        return f"config {item.key if whole else item.key[:8]}"
    run, key = item
    name = str(run.path) if whole else run.path.resolve().name
    return name if key is None else f"{name}#{key if whole else key[:8]}"
