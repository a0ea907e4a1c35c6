"""The verbs about results that xortune did not produce, and about Optuna's studies."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xortune.errors import InputError
from xortune.imported import IMPORTED, Origin
from xortune.imported_results import Asked, Results, results_in
from xortune.imported_table import Table, read_csv, table_of_frame
from xortune.run import (
    JOURNAL,
    Run,
    create,
    fresh_directory,
    holds_run,
    load_run,
    refuse_files_of_others,
)
from xortune.run_lock import held
from xortune.run_sessions import SignedJournal, made_id
from xortune.run_stored import driven, holds_lines
from xortune.run_url import StoredPath

if TYPE_CHECKING:
    import pandas as pd

    from xortune.search.optuna_study import Study

__all__ = ["from_optuna", "import_results", "to_optuna"]

RUNS = "runs"


def import_results(
    source: str | os.PathLike[str] | pd.DataFrame,
    *,
    config: Sequence[str],
    output: str | os.PathLike[str] | None = None,
    seed: str = "seed",
    success: str = "success",
    ignore: Sequence[str] = (),
    missing_fails: bool = False,
    name: str | None = None,
    trainer: str | None = None,
    command: Sequence[str] | None = None,
    on_word: Callable[[str], None] | None = None,
) -> Run:
    """Make a run of results that something else has produced: one row for each config and seed.

    Reports, comparisons, status, gates and certificates then take it as they take any run, and say
    that it was imported. Every row is counted once; nothing is left out or repaired.

    Args:
        source: a CSV file with a header, or a DataFrame.
        config: the columns that are parameters. An empty cell is a parameter that does not apply.
        output: the run's directory, or its URL; runs/NAME (or NAME-2, ...) if not given.
        seed: the column with the seed of each row, a whole number from 0 to 2**32 - 1.
        success: the column that says true, false, 1 or 0; or a rule for a column of numbers, such
            as "accuracy >= 0.9", by which NaN is a seed that diverged.
        ignore: columns that are not looked at. What is left over is kept as numbers of the seeds.
        missing_fails: count a row that does not say how it went as a failed seed instead of
            refusing it.
        name: of the run; the file's if not given.
        trainer: what trains such a config, as a space file names it ("./train.py:run", relative to
            the working directory, or "package.module:run"), so that it can be certified.
        command: the command line, for the manifest.
        on_word: called with each sentence that the user should read.

    Returns:
        The run, with its tables and report written.

    Raises:
        InputError: a file, a column or a cell that cannot be read, named with its line; two rows of
            one config and seed; an output that holds a run already.
    """
    import pandas as pd

    table = table_of_frame(source) if isinstance(source, pd.DataFrame) else _csv(source)
    asked = Asked(_names(config), seed, success, _names(ignore), missing_fails)
    stem = "imported" if isinstance(source, pd.DataFrame) else Path(source).stem
    return _made(table, asked, output, name or stem, trainer, command=command, say=on_word)


def from_optuna(
    study: Study,
    *,
    output: str | os.PathLike[str] | None = None,
    config: Sequence[str] | None = None,
    seed: str = "seed",
    success: str = "success",
    ignore: Sequence[str] = (),
    missing_fails: bool = False,
    name: str | None = None,
    trainer: str | None = None,
    on_word: Callable[[str], None] | None = None,
) -> Run:
    """Make a run of a study in which each trial is one seed of a configuration.

    Failed and pruned trials are failed seeds, with that as their reason; those that wait or run are
    left out, and that is told.

    Args:
        study: with the seed of each trial among its parameters or its user attributes.
        output: as in `import_results`.
        config: which parameters are the configuration; all but the seed if not given.
        seed: the name of that parameter or user attribute.
        success: a user attribute that is true or false; or a rule for a number: the trial's value
            is called `value` ("value >= 0.9"), several `value_0`, `value_1`, ... or as the study's
            metrics are named, and user attributes have their own names.
        ignore: user attributes that are not looked at.
        missing_fails: as in `import_results`.
        name: of the run; the study's if not given.
        trainer: as in `import_results`.
        on_word: as in `import_results`.

    Raises:
        InputError: as `import_results`; a trial without a seed.
    """
    from xortune.search.optuna_study import table_of_study

    found = table_of_study(study, seed=seed, success=success)
    for note in found.notes:
        if on_word is not None:
            on_word(note)
    given = _names(config) if config is not None else found.parameters
    asked = Asked(given, seed, success, _names(ignore), missing_fails)
    return _made(found.table, asked, output, name or study.study_name, trainer, say=on_word)


def to_optuna(
    run: Run | str | os.PathLike[str], *, values: Literal["told", "rate"] = "told"
) -> Study:
    """A run as an Optuna study in memory, with one finished trial for each configuration.

    Each has its parameters with their distributions, and as user attributes `key`, `k`, `n`,
    `rate`, `low`, `high` (Wilson's 95 % interval), `trials` and the whole `config`. Trials are
    in the order in which the configurations were first proposed.

    Args:
        run: a run, or its directory.
        values: `told`: what a search tells its sampler, one number for each objective; `rate`: the
            success rate k / n and nothing else.

    Raises:
        InputError: no config is finished, or something else than these is asked for.
    """
    from xortune.search.optuna_study import study_of

    if values not in ("told", "rate"):
        raise InputError(f"{values!r}", field="values", allowed="told, rate")
    return study_of(run if isinstance(run, Run) else load_run(run), rate=values == "rate")


def _csv(source: str | os.PathLike[str]) -> Table:
    if isinstance(source, str | os.PathLike):
        return read_csv(source)
    raise InputError(
        f"a {type(source).__name__}", field="source", allowed="the path of a CSV file, a DataFrame"
    )


def _names(given: Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _made(
    table: Table,
    asked: Asked,
    output: str | os.PathLike[str] | None,
    name: str,
    trainer: str | None,
    *,
    command: Sequence[str] | None = None,
    say: Callable[[str], None] | None = None,
) -> Run:
    """Write the run; all that can be refused is refused before."""
    from xortune.api import write_report
    from xortune.imported_space import space_text
    from xortune.objective_numbers import ties_of
    from xortune.run_front import noted_objectives
    from xortune.space import parse_space

    results = results_in(table, asked)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or IMPORTED
    sizes: dict[str, int] = {}
    for line in results.evaluations:
        key = line.block.point.key
        sizes[key] = sizes.get(key, 0) + line.block.count
    text = space_text(
        name,
        results,
        source=table.source,
        configs=len(sizes),
        seeds=min(sizes.values()),
        success=None if asked.success in table.columns else asked.success,
        trainer=None if trainer is None else _located(trainer),
    )
    space = parse_space(text, table.source)  # what none may have is refused before all writing
    manifest = _manifest(name, table, asked, results, configs=len(sizes), seeds=min(sizes.values()))
    if ties_of(space.objectives) is not None:
        manifest["objectives"] = noted_objectives(space.objectives)
    directory = _directory(output, name)
    for note in results.notes:
        if say is not None:
            say(note)
    entry = _session(command)
    [made] = manifest["made"]
    session = {"number": 1, "what": "import", **entry, "made": made, "space": "space.yaml"}
    manifest |= {**entry, "sessions": [{**session, "changes": []}]}
    with held(directory, say=say) as lock:
        create(directory, space_text=text, manifest=manifest)
        with SignedJournal.signing(directory / JOURNAL, made, lock=lock, say=say) as journal:
            for evaluation in results.evaluations:
                journal.append(evaluation)
        run = load_run(directory)
        run = run.noted(complete=True, **_importance(run))
        write_report(run)
    return run


def _importance(run: Run) -> dict[str, Any]:
    """For the manifest: how much each parameter matters that all configurations have."""
    from xortune.search.importance import importance

    space = run.asked
    everywhere = [p for p in space.parameters if all(p.name in r.point for r in run.results)]
    return importance(run, replace(space, parameters=tuple(everywhere))).entries()


def _manifest(
    name: str, table: Table, asked: Asked, results: Results, *, configs: int, seeds: int
) -> dict[str, Any]:
    from xortune.api_resume import now

    origin = Origin(table.source, table.sha256, table.count, asked.success, now())
    identity = {"trainer": IMPORTED, "source": table.sha256[:16]}
    return {
        "name": name,
        "trainer": IMPORTED,
        IMPORTED: origin.as_dict(),
        "columns": {
            "config": {name: one.kind for name, one in results.parameters.items()},
            "seed": asked.seed,
            "numbers": list(results.numbers),
            "left_out": list(results.left_out),
        },
        "trials": configs,
        "ladder": [seeds],
        "complete": False,  # until all of it is in the journal
        "made": {made_id(identity): identity},
    }


def _session(command: Sequence[str] | None) -> dict[str, Any]:
    """What the manifest says of this session: nothing that would look as if it had trained."""
    from xortune.api_resume import session_entry

    entry = session_entry(command)
    versions = {name: entry["versions"][name] for name in ("python", "xortune")}
    return {"command": entry["command"], "versions": versions}


def _located(trainer: str) -> str:
    """A trainer as the run's space names it: a file by its whole path.

    Raises:
        InputError: it names no function, or there is no such file or module.
    """
    from xortune.engine.custom_source import named_source

    named_source(trainer, Path.cwd())
    where, _, function = trainer.rpartition(":")
    return f"{(Path.cwd() / where).resolve()}:{function}" if where.endswith(".py") else trainer


def _directory(output: str | os.PathLike[str] | None, name: str) -> Path:
    if output is None:
        return fresh_directory(RUNS, name)
    wanted = driven(output)
    if holds_lines(wanted) if isinstance(wanted, StoredPath) else holds_run(wanted):
        raise InputError(
            "already holds a run", place=str(wanted), fix="give another --output, or remove it"
        )
    refuse_files_of_others(wanted)
    return wanted
