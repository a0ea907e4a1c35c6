"""The verb `export`: a config as a plain PyTorch program, YAML, JSON, or as a paragraph."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xortune.comparisons.contestants import place_of
from xortune.core.config import Config
from xortune.core.errors import InputError
from xortune.core.formats import plain
from xortune.core.formats import value as value_text
from xortune.core.outcome import Outcome
from xortune.core.plugins import find, installed
from xortune.core.point import Point
from xortune.core.success import has_rule
from xortune.core.task import Task
from xortune.racing.race import FINALISTS
from xortune.reports.document import lines_of
from xortune.reports.scripts import certify_command, counting_script, fresh_seeds, space_of
from xortune.runs.manifest import is_imported
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run, load_run
from xortune.spaces.yaml_reader import inline_yaml

# -------------------------------------------------------------------------------------------------
# A configuration as YAML, with a comment on its origin.


def yaml_config(point: Point, comments: Sequence[str]) -> str:
    """One line for each parameter, which YAML 1.1, YAML 1.2, Hydra and OmegaConf read alike."""
    for name, value in point.items():
        for text in (name, value):
            if isinstance(text, str) and ("${" in text or text == "???"):
                raise InputError(
                    f"{text!r} would be interpreted by OmegaConf",
                    field=name,
                    allowed="text without ${, other than ???",
                    fix="export it as json",
                )
    lines = [f"# {plain(comment)}" for comment in comments]
    lines += [f"{inline_yaml(name)}: {inline_yaml(value)}" for name, value in point.items()]
    return "\n".join(lines) + "\n"


# -------------------------------------------------------------------------------------------------
# A certificate as a paragraph for a paper or a model card.


def paragraph(run: Run, key: str | None = None) -> str:
    """Say what was searched, how the configuration was chosen, and its rate on fresh seeds."""
    certificate = run.certificate
    if certificate is None or certificate.latest is None:
        command = certify_command(run, fresh_seeds(run, FINALISTS).seeds, str(run.path))
        raise InputError(
            "a paragraph describes a certificate, and the run has no complete one",
            place=str(run.path),
            fix=None if command is None else f"make one: `{command}`",
        )
    finalist = certificate.best if key is None else certificate.finalist(key)
    attempt = next(one for one in certificate.attempts if one.number == finalist.attempt)
    [text] = lines_of(
        "paragraph.txt.jinja",
        run=run,
        attempt=attempt,
        found=finalist,
        confidence=certificate.confidence,
        scope=certificate.scope,
        beside=certificate.beside,
        imported=is_imported(run.manifest),
        trainings=int(run.results.counts.n.sum()),
        settings=", ".join(f"{name} = {value_text(one)}" for name, one in finalist.point.items()),
    )
    return f"{text}\n"


# -------------------------------------------------------------------------------------------------
# The verb `export`.

PROGRAM_SEEDS = 20  # that a program trains by default


@dataclass(frozen=True)
class Export:
    """A form of a configuration for other programs. A package adds one in `xortune.exports`.

    Attributes:
        name: of the form; `format=` and `--format` take it.
        about: what it is, for the help.
        endings: of files that have this form.
        make: the text, of a run, the key of a configuration (None: the best) and how many seeds a
            program trains (None: if it trains any, as many as it likes).
        trains: whether it is a program that trains seeds.
    """

    name: str
    about: str
    endings: tuple[str, ...]
    make: Callable[[Run, str | None, int | None], str]
    trains: bool = False


def _json(run: Run, key: str | None, _: int | None) -> str:
    return json.dumps(exported(run, key).point.as_dict(), indent=2, allow_nan=False) + "\n"


def _yaml(run: Run, key: str | None, _: int | None) -> str:
    result = exported(run, key)
    origin = f"Config {result.key} of {run.path}: {_counted(run, result)}."
    comments = [origin, *_certified(run, result.key), *_command_line(run, result.point)]
    return yaml_config(result.point, comments)


def _program(run: Run, key: str | None, seeds: int | None) -> str:
    if not run.is_network:
        raise InputError(
            "the built-in network did not train the run",
            place=str(run.path),
            fix="its own function or command is the program; --format yaml or json writes the "
            "config to call it with",
        )
    result, task = exported(run, key), task_of(run)
    parts, expected = _known_seeds(run, result, seeds)
    comments = [
        f"Config {result.key}, task {plain(task.name)}: {_counted(run, result)}.",
        *_certified(run, result.key),
        f"Trains {sum(map(len, parts))} of these seeds and counts those that are solved: the run"
        f" counted {expected}.",
    ]
    script = counting_script(Config.from_point(result.point), task, parts, expected)
    return "\n".join([*(f"# {line}" for line in comments), script]) + "\n"


EXPORTED = (
    Export("py", "plain PyTorch that counts seeds of the run", (".py",), _program, trains=True),
    Export("yaml", "the config, as Hydra and OmegaConf read it", (".yaml", ".yml"), _yaml),
    Export("json", "the config alone", (".json",), _json),
    Export("paragraph", "a certificate, for a paper", (), lambda run, key, _: paragraph(run, key)),
)
"""xortune's own forms of `export`."""

GROUP = "xortune.exports"
"""The entry points of installed packages."""


def form_of(ending: str) -> str | None:
    """The form of files with this ending, such as `.py`; None if none has it."""
    forms = installed(GROUP, Export, EXPORTED)
    return next((form.name for form in forms if ending.lower() in form.endings), None)


def export(
    run: Run | str | os.PathLike[str],
    *,
    key: str | None = None,
    format: str | None = None,  # noqa: A002  # what users call it
    seeds: int | None = None,
) -> str:
    """One config of a run as a program without xortune, or as a file for other programs.

    Args:
        run: a run, or its directory.
        key: of the config, or its beginning. If not given, the best: of a certified run its
            certificate's first finalist, as `gate` takes it, else the first in the search's order.
        format: `py`: plain PyTorch that trains seeds of the run and counts those that are solved,
            for the built-in network; `yaml`: the config, as Hydra and OmegaConf read it, with a
            word on where it is from; `json`: the config alone; `paragraph`: of a certified run, for
            a paper or a model card; or one of an installed package. If not given, `py` for the
            built-in network, else `yaml`.
        seeds: how many seeds the program trains, of those that the run knows: the search's, then
            its certificate's. 20, or all if there are fewer, if not given.

    Raises:
        InputError: no such config or format, more seeds than the run knows, a program for a run of
            something else than the built-in network, or a task that is no longer the run's.
    """
    named = None if format is None else find(format, GROUP, Export, EXPORTED, field="format")
    loaded = run if isinstance(run, Run) else load_run(run)
    own = "py" if loaded.is_network else "yaml"
    form = named or next(one for one in EXPORTED if one.name == own)
    if seeds is not None and not form.trains:
        raise InputError(
            f"{seeds} with {form.name}", field="seeds", allowed="with format py", fix="leave it out"
        )
    return form.make(loaded, key, seeds)


def _counted(run: Run, result: ConfigResult) -> str:
    k, n = result.outcome.successes, result.outcome.n
    where = "where it was imported from" if is_imported(run.manifest) else "in the search"
    ended = "solved" if has_rule(run.manifest.get("success")) else "finished"
    return f"{k:,} of {n:,} seeds {ended} {where}"


def _known_seeds(run: Run, result: ConfigResult, wanted: int | None) -> tuple[list[range], int]:
    """Seeds whose results are in the run, as ranges, and how many of them were solved."""
    import numpy as np

    checked = [
        line.outcome
        for line in run.checks
        if line.block.point.key == result.key and isinstance(line.outcome, Outcome)
    ]
    outcomes = [result.outcome, *checked]
    known, first = np.unique(np.concatenate([o.seeds for o in outcomes]), return_index=True)
    solved = np.concatenate([o.solved for o in outcomes])[first]
    count = min(PROGRAM_SEEDS, known.size) if wanted is None else wanted
    if not 1 <= count <= known.size:
        command = certify_command(run, max(count, 1), str(run.path))
        raise InputError(
            f"{count:,} seeds, but the run has results of only {known.size:,}",
            field="seeds",
            allowed=f"1 to {known.size:,}",
            fix=None if command is None else f"certify it with more: `{command}`",
        )
    chosen = known[:count]
    parts = np.split(chosen, np.flatnonzero(np.diff(chosen) != 1) + 1)
    ranges = [range(int(part[0]), int(part[-1]) + 1) for part in parts]
    return ranges, int(np.count_nonzero(solved[:count]))


def _command_line(run: Run, point: Point) -> list[str]:
    """What a shell runs to train the config, if the run is of a command."""
    space = space_of(run)
    if space is None or space.command is None:
        return []
    return [f"With seed 0: {shlex.join(space.command.template.argv(point.as_dict(), 0))}"]


def exported(run: Run, key: str | None = None) -> ConfigResult:
    """The config that `export` takes.

    Raises:
        InputError: there is none with that key, several whose keys begin so, or none at all.
    """
    assert run.best is not None  # refuses a run in which nothing has finished
    if key is None:
        certificate = run.certificate
        if certificate is None or not certificate.finalists:
            return run.results[0]
        key = certificate.best.key
    return run.results[place_of(run, key, at="key")]


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
    certificate = run.certificate
    if certificate is None:
        return []
    return [
        f"On fresh seeds from {found.first}: "
        f"{found.seen if found.number else f'{found.k:,} of {found.n:,}'}, so {found.at_least} "
        f"{'over' if found.number else 'of'} all seeds (confidence {certificate.confidence:g}"
        f"{', this run only' if certificate.scope else ''})."
        for found in certificate.finalists
        if found.key == key
    ]
