"""Import tables of results and Optuna studies as runs; export a run as a study."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from xortune.core.errors import InputError, check_count, check_type, command_line
from xortune.core.point import Value
from xortune.deciding.importance import importance
from xortune.deciding.optuna_study import distribution
from xortune.driver.search import new_directory
from xortune.driver.voice import QUIET, Listen, Voice
from xortune.integrations.importing import (
    REASON,
    SUCCESS,
    ImportRequest,
    ResultsTable,
    results_in,
    space_text,
    table_of,
    table_of_values,
)
from xortune.racing.objectives import sampler_value_names, sampler_values, summary_of, ties_of
from xortune.reports.files import write_report
from xortune.runs.journal import held_journal
from xortune.runs.lock import held
from xortune.runs.manifest import IMPORTED, SPACE, Origin, fingerprint_of, noted_objectives
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run, create, load_run
from xortune.runs.sessions import now, session_entry
from xortune.runs.store import JOURNAL
from xortune.spaces.model import SECONDS, Choice, Range
from xortune.spaces.space import parse_space
from xortune.trainers.source import named_source

if TYPE_CHECKING:
    import pandas as pd

Study: TypeAlias = optuna.Study

# -------------------------------------------------------------------------------------------------
# Import results as a run.


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
    listener: Listen | None = None,
) -> Run:
    """Make a run of results that something else has produced: one row for each config and seed.

    Reports, comparisons, status, gates and certificates take it as they take any run, and say that
    it was imported. Every row counts once; nothing is left out or repaired.

    Args:
        source: a CSV file with a header, a parquet file, or a DataFrame.
        config: the columns that are parameters. An empty cell is a parameter that does not apply.
        output: the run's directory, or its URL; runs/NAME (or NAME-2, ...) if not given.
        seed: the column with the seed of each row, a whole number from 0 to 2**32 - 1.
        success: the column that says true, false, 1 or 0; or a rule for a column of numbers, such
            as "accuracy >= 0.9". With a rule, NaN is a seed that diverged.
        ignore: columns to leave out. The other columns are kept as numbers of the seeds.
        missing_fails: count a row without a success as a failed seed, instead of refusing it.
        name: of the run; the file's if not given.
        trainer: what trains such a config, as a space file names it ("./train.py:run", relative to
            the working directory, or "package.module:run"), so that the run can be certified.
        listener: called with a `Message` for each sentence that the user should read.

    Returns:
        The run, with its tables and report written.

    Raises:
        InputError: a file, a column or a cell cannot be read, and the message names its line; two
            rows have the same config and seed; or the output already holds a run.
    """
    table, stem = table_of(source)
    check_type("success", success, str, "the name of a column, or a rule such as 'accuracy >= 0.9'")
    request = ImportRequest(_names(config), seed, success, _names(ignore), missing_fails)
    return _write_run(table, request, output, name or stem, trainer, voice=Voice(QUIET, listener))


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
    listener: Listen | None = None,
    n: int | None = None,
) -> Run:
    """Make a run of a study in which each trial is one seed of a configuration, or several.

    A failed or pruned trial is a failed seed, with that as its reason. Trials that wait or run are
    left out, and a sentence says so. If each trial is several seeds, failed and pruned trials are
    left out too.

    Args:
        study: with the seed of each trial among its parameters or its user attributes.
        output: as in `import_results`.
        config: which parameters are the configuration; all but the seed if not given.
        seed: the name of that parameter or user attribute.
        success: a user attribute that is true or false; or a rule for a number. The trial's value
            is called `value` ("value >= 0.9"); several are `value_0`, `value_1`, ... or have the
            names of the study's metrics; user attributes have their own names.
        ignore: user attributes to leave out.
        missing_fails: as in `import_results`.
        name: of the run; the study's if not given.
        trainer: as in `import_results`.
        listener: as in `import_results`.
        n: the number of seeds of each trial, if its value is the share of them that succeeded. The
            study does not say which did, so no two trials share a seed. With 1 and a rule as
            `success`, the rule judges each trial. None: a trial is one seed, which it names.

    Raises:
        InputError: as `import_results`; a trial without a seed, a value that is no share of n, or
            a rule where a value is a share.
    """
    check_type("study", study, optuna.Study, "an optuna.Study, as loaded")
    share_of = None if n is None else _share_of(n, success)
    seed = seed if n is None else "seed"
    trials = study.get_trials(deepcopy=False)
    ended = [
        t for t in trials if t.state in (ENDED if share_of is None else (TrialState.COMPLETE,))
    ]
    if not ended:
        raise InputError("no trial has ended", place=f"study {study.study_name}")
    voice = Voice(QUIET, listener)
    _report_states(voice, len(trials), ended, share_of)
    values = ["value"]  # the names of a trial's values in a rule
    if (count := len(study.directions)) > 1:
        values = list(study.metric_names or [f"value_{number}" for number in range(count)])
    records: list[dict[str, Any]] = []
    for trial in ended:
        if share_of is not None:
            records += _seeds(trial, share_of)
            continue
        records.append(_record(trial, values, {} if n is None else {seed: trial.number}))
        if seed not in records[-1]:
            raise InputError(
                f"no {seed!r} among its parameters or its user attributes",
                place=f"trial {trial.number}",
                allowed="the seed of every trial",
                fix=f'trial.set_user_attr("{seed}", ...) in the objective, give seed="NAME", or '
                "n=1 if no trial has one",
            )
    if any(success in trial.user_attrs for trial in ended):
        for record in records:  # a trial that failed may have noted a success before
            if REASON in record:
                record[success] = False
    numbers = [trial.number for trial in ended for _ in range(share_of or 1)]
    names = dict.fromkeys(chain(*records))
    cells = {name: [record.get(name) for record in records] for name in names}
    table = table_of_values(cells, f"study {study.study_name}", numbers, ", trial ")
    if config is None:
        config = tuple({name: 0 for trial in ended for name in trial.params if name != seed})
    request = ImportRequest(_names(config), seed, success, _names(ignore), missing_fails)
    return _write_run(table, request, output, name or study.study_name, trainer, voice=voice)


ENDED = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)

REASONS = {TrialState.FAIL: "the trial failed", TrialState.PRUNED: "the trial was pruned"}


def _report_states(voice: Voice, trials: int, ended: Sequence[FrozenTrial], n: int | None) -> None:
    """Report how many trials are left out, and how many are failed seeds."""
    if left := trials - len(ended):
        why = "wait or run" if n is None else "are not complete"
        voice.warn(f"skipped trials that {why}: {left} of {trials}")
    for state, reason in REASONS.items():
        if count := sum(trial.state == state for trial in ended):
            voice.warn(f"failed seeds, since {reason}: {count}")


def _share_of(n: int, success: str) -> int | None:
    """The seeds of which a trial's value is a share; None if a rule judges trials of one seed."""
    check_count("n", n, most=MAX_EXPORTED_SEEDS)
    if success == "success":
        return n
    if n == 1:
        return None
    raise InputError(
        f"{success!r} with n={n}",
        field="success",
        allowed="with several seeds for each trial no rule: its value is the share that succeeded",
        fix="leave success out, or give n=1 if each trial is one seed",
    )


def _row(trial: FrozenTrial, *parts: Mapping[str, object]) -> dict[str, Any]:
    """The parameters of a trial and what else is known of it, as a row."""
    row: dict[str, Any] = dict(trial.params)
    for name, value in chain.from_iterable(part.items() for part in parts):
        if row.setdefault(name, value) != value:
            raise InputError(
                f"{name!r} is a parameter or a user attribute ({row[name]!r}), and a result of the "
                f"trial, or its seed ({value!r})",
                place=f"trial {trial.number}",
                allowed="one meaning for each name",
                fix="rename the parameter or the user attribute",
            )
    return row


def _record(
    trial: FrozenTrial, values: Sequence[str], more: Mapping[str, object]
) -> dict[str, Any]:
    """A trial as the row of a seed."""
    noted = {name: _simple(value) for name, value in trial.user_attrs.items()}
    if trial.state == TrialState.COMPLETE:
        return _row(trial, noted, dict(zip(values, trial.values or (), strict=True)), more)
    return _row(trial, noted, more) | {REASON: str(noted.get(REASON) or REASONS[trial.state])}


def _seeds(trial: FrozenTrial, n: int) -> list[dict[str, Any]]:
    """A trial as n rows, with seeds that no other trial has; its value is a share of n."""
    values = trial.values or []
    solved = round(values[0] * n) if len(values) == 1 and math.isfinite(values[0]) else -1
    if not 0 <= solved <= n or not math.isclose(values[0] * n, solved, abs_tol=1e-4):
        raise InputError(
            f"{', '.join(map(str, values))} is not a share of {n} seeds",
            place=f"trial {trial.number}",
            field="n",
            allowed=f"one value, k / {n}: how many of the seeds succeeded",
            fix="give n as the number of seeds of each trial, each of which succeeds or not",
        )
    first = trial.number * n
    return [_row(trial, {"seed": first + i, SUCCESS: i < solved}) for i in range(n)]


MAX_EXPORTED_SEEDS = 10_000
"""Maximum number of seeds of a trial."""


def _simple(value: object) -> object:
    """A user attribute as a number, a bool or text; others and infinities become text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and not math.isinf(value) else str(value)


def _names(given: Sequence[str]) -> tuple[str, ...]:
    check_type(None, given, Iterable, "the name of a column, or a list of names")
    return (given,) if isinstance(given, str) else tuple(given)


def _write_run(
    table: ResultsTable,
    request: ImportRequest,
    output: str | os.PathLike[str] | None,
    name: str,
    trainer: str | None,
    *,
    voice: Voice,
) -> Run:
    """Write the run. Anything wrong raises before the first file is written."""
    results = results_in(table, request)
    check_type("name", name, str, "text")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:100] or IMPORTED
    sizes: Counter[str] = Counter()
    for line in results.evaluations:
        sizes[line.block.point.key] += line.block.count
    configs, seeds = len(sizes), min(sizes.values())
    text = space_text(
        name,
        results,
        source=table.source,
        configs=configs,
        seeds=seeds,
        success=None if request.success in table.columns else request.success,
        trainer=None if trainer is None else _located(trainer),
    )
    space = parse_space(text, table.source)
    identity = {"trainer": IMPORTED, "source": table.sha256[:16]}
    entry, fingerprint = session_entry(command_line()), fingerprint_of(identity)
    # Only these versions: the others would look as if this xortune had trained.
    versions = {name: entry["versions"][name] for name in ("python", "xortune")}
    entry = {"command": entry["command"], "versions": versions}
    session = {"number": 1, "what": "import", **entry, "made": fingerprint, "space": SPACE}
    origin = Origin(table.source, table.sha256, len(table.places), request.success, now())
    manifest = {
        "name": name,
        "trainer": IMPORTED,
        IMPORTED: asdict(origin),
        "columns": {
            "config": {name: column.kind for name, column in results.parameters.items()},
            "seed": request.seed,
            "numbers": list(results.numbers),
            "left_out": list(results.left_out),
        },
        "trials": configs,
        "ladder": [seeds],
        "complete": False,  # until the journal is complete
        "made": {fingerprint: identity},
        **entry,
        "sessions": [{**session, "changes": []}],
    }
    if ties_of(space.objectives) is not None:
        manifest["objectives"] = noted_objectives(space.objectives)
    directory = new_directory(output, name, fix="give another --output, or remove it")
    for note in results.notes:
        voice.warn(note)
    with held(directory, on_message=voice.warn):
        create(directory, space_text=text, manifest=manifest)
        with held_journal(directory / JOURNAL, fingerprint) as journal:
            for evaluation in results.evaluations:
                journal.append(evaluation)
        run = load_run(directory)
        # Only of parameters that all configurations have.
        everywhere = (p for p in space.parameters if all(p.name in r.point for r in run.results))
        shares = importance(run, replace(space, parameters=tuple(everywhere)))
        run = run.noted(complete=True, **shares.entries())
        write_report(run)
    return run


def _located(trainer: str) -> str:
    """The trainer with the absolute path of its file; an InputError if it names no function."""
    named_source(trainer, Path.cwd())
    where, _, function = trainer.rpartition(":")
    return f"{(Path.cwd() / where).resolve()}:{function}" if where.endswith(".py") else trainer


# -------------------------------------------------------------------------------------------------
# Export a run as a study.


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
    if values not in ("told", "rate"):
        raise InputError(f"{values!r}", field="values", allowed="told, rate")
    run = run if isinstance(run, Run) else load_run(run)
    assert run.best is not None  # refuses a run in which nothing has finished
    is_rate, objectives = values == "rate", run.objectives
    first: dict[str, int] = {}
    for evaluation in run.evaluations:
        key = evaluation.block.point.key
        first[key] = min(first.get(key, evaluation.proposal), evaluation.proposal)
    results = sorted(run.results, key=lambda result: (first[result.key], result.key))
    maximize = [True] if is_rate else [objective.maximize for objective in objectives]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            directions=["maximize" if up else "minimize" for up in maximize],
            study_name=str(run.manifest.get("name") or run.path.resolve().name),
        )
        with warnings.catch_warnings():  # `set_metric_names` is experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["success rate"] if is_rate else sampler_value_names(objectives))
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.set_user_attr("xortune_run", str(run.path))
    distributions = _distributions(run, results)
    # What seeds took is in the run's lines, and no part of an outcome.
    timed = [one for one in objectives if one.name == SECONDS]
    seconds = (
        dict(zip(run.results.keys, run.results.measured(timed[0]).tolist(), strict=True))
        if timed
        else {}
    )
    for result in results:
        seen = summary_of(result.outcome, objectives)
        if timed:
            seen = replace(seen, timed_blocks=((seconds[result.key], result.outcome.n),))
        told = sampler_values(objectives, result.point, seen)
        outcome = result.outcome
        params = {name: result.point[name] for name in distributions if name in result.point}
        study.add_trial(
            create_trial(
                params=params,
                distributions={name: distributions[name] for name in params},
                values=[outcome.rate] if is_rate else list(told),
                user_attrs={
                    "key": result.key,
                    "k": outcome.successes,
                    "n": outcome.n,
                    "rate": outcome.rate,
                    **dict(zip(("low", "high"), outcome.interval(), strict=True)),
                    "epochs_to_solve": outcome.epochs_to_solve,
                    "trials": result.trials,
                    "config": result.point.as_dict(),
                },
            )
        )
    return study


def _distributions(run: Run, results: Sequence[ConfigResult]) -> dict[str, BaseDistribution]:
    """The distribution of each parameter: that of the space, if it contains all values of the run.

    A trainer's normal form may have other values than the space, and a run may have lost its space.
    Then the distribution covers the run's values.
    """
    try:
        parameters = {parameter.name: parameter for parameter in run.asked.parameters}
    except InputError:
        parameters = {}
    distributions: dict[str, BaseDistribution] = {}
    for name in run.parameters:
        values = [result.point[name] for result in results if name in result.point]
        if not values:
            continue
        parameter = parameters.get(name)
        own = distribution(parameter) if isinstance(parameter, Choice | Range) else None
        if own is None or not all(_contains(own, value) for value in values):
            own = _covering(values)
        distributions[name] = own
    return distributions


def _covering(values: Sequence[Value]) -> BaseDistribution:
    kinds = {type(value) for value in values}
    numbers = [value for value in values if isinstance(value, int | float)]
    if kinds == {int}:
        return IntDistribution(int(min(numbers)), int(max(numbers)))
    if kinds <= {int, float}:
        return FloatDistribution(float(min(numbers)), float(max(numbers)))
    return CategoricalDistribution(list({(type(value), value): value for value in values}.values()))


def _contains(searched: BaseDistribution, value: Value) -> bool:
    try:
        return bool(searched._contains(searched.to_internal_repr(value)))
    except (ValueError, TypeError):  # not one of the choices, or no number
        return False
