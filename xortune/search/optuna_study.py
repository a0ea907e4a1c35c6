"""Optuna's studies and our runs: one as the other, with nothing lost on the way that is counted."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from xortune.errors import InputError
from xortune.imported_columns import REASON
from xortune.imported_table import Table, table_of_records
from xortune.objective import names_told, seen_of, told
from xortune.point import Value
from xortune.run import ConfigResult, Run
from xortune.search.importance import distribution
from xortune.space import Choice, Range

__all__ = ["Study", "StudyTable", "study_of", "table_of_study"]

Study: TypeAlias = optuna.Study

ENDED = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)

REASONS = {TrialState.FAIL: "the trial failed", TrialState.PRUNED: "the trial was pruned"}


@dataclass(frozen=True, eq=False)
class StudyTable:
    """The trials of a study as rows.

    Attributes:
        table: one row for each trial that has ended.
        parameters: the names of all parameters but the seed.
        notes: sentences that the user should read.
    """

    table: Table
    parameters: tuple[str, ...]
    notes: tuple[str, ...]


def table_of_study(study: optuna.Study, *, seed: str, success: str) -> StudyTable:
    """The trials of a study, each one seed of a config.

    Args:
        study: with a seed for each trial, among its parameters or its user attributes.
        seed: the name of that.
        success: the user attribute, or the rule, that says what a success is.

    Raises:
        InputError: something else than a study, no trial that has ended, or one without a seed; two
            different things of one name.
    """
    if not isinstance(study, optuna.Study):
        raise InputError(
            f"a {type(study).__name__}", field="study", allowed="an optuna.Study, as loaded"
        )
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state in ENDED]
    if not ended:
        raise InputError("no trial has ended", place=f"study {study.study_name}")
    values = _names_of_values(study)
    records = [_record(trial, values, seed) for trial in ended]
    notes = []
    if waiting := len(trials) - len(ended):
        notes.append(f"left out, for they wait or run: {waiting} of {len(trials)} trials")
    for state, reason in REASONS.items():
        if count := sum(trial.state == state for trial in ended):
            notes.append(f"failed seeds, since {reason}: {count}")
    if any(success in trial.user_attrs for trial in ended):
        for record in records:  # what has not completed is no success, whatever it noted before
            if REASON in record:
                record[success] = False
    names = {name: None for trial in ended for name in trial.params if name != seed}
    whole = json.dumps([sorted((k, repr(v)) for k, v in one.items()) for one in records])
    table = table_of_records(
        records,
        f"study {study.study_name}",
        lambda row: f"study {study.study_name}, trial {ended[row].number}",
        hashlib.sha256(whole.encode()).hexdigest(),
    )
    return StudyTable(table, tuple(names), tuple(notes))


def study_of(run: Run, *, rate: bool) -> optuna.Study:
    """A study in memory with one finished trial for each config of a run.

    Args:
        run: with a finished config.
        rate: whether its value is k / n instead of what a search tells its sampler.

    Raises:
        InputError: no config is finished, or the run is damaged.
    """
    assert run.best is not None  # refuses a run in which nothing has finished
    results = _as_proposed(run)
    objectives = run.objectives
    ways = [o.maximize for o in objectives] if not rate else [True]
    directions = [StudyDirection.MAXIMIZE if more else StudyDirection.MINIMIZE for more in ways]
    names = ["success rate"] if rate else names_told(objectives)
    distributions = _distributions(run, results)
    name = str(run.manifest.get("name") or run.path.resolve().name)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(directions=directions, study_name=name)
        with warnings.catch_warnings():  # that it is experimental is our choice, not news
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.set_user_attr("xortune_run", str(run.path))
    study.add_trials([_trial(run, result, distributions, rate=rate) for result in results])
    return study


def _trial(
    run: Run, result: ConfigResult, distributions: Mapping[str, BaseDistribution], *, rate: bool
) -> FrozenTrial:
    outcome = result.outcome
    low, high = outcome.interval()
    seen = seen_of(result.point, outcome, run.objectives)
    params = {name: result.point[name] for name in distributions if name in result.point}
    return optuna.trial.create_trial(
        params=params,
        distributions={name: distributions[name] for name in params},
        values=[outcome.rate] if rate else list(told(run.objectives, seen)),
        user_attrs={
            "key": result.key,
            "k": outcome.successes,
            "n": outcome.n,
            "rate": outcome.rate,
            "low": low,
            "high": high,
            "epochs_to_solve": outcome.epochs_to_solve,
            "trials": result.trials,
            "config": result.point.as_dict(),
        },
    )


def _as_proposed(run: Run) -> list[ConfigResult]:
    """The results in the order in which their configs were first proposed."""
    first: dict[str, int] = {}
    for evaluation in run.evaluations:
        key = evaluation.block.point.key
        first[key] = min(first.get(key, evaluation.proposal), evaluation.proposal)
    return sorted(run.results, key=lambda result: (first[result.key], result.key))


def _distributions(run: Run, results: Sequence[ConfigResult]) -> dict[str, BaseDistribution]:
    """Of each parameter: that of the space, if it holds all that was seen.

    A trainer's normal form may have values that a space does not name, and a run may have lost its
    space: then it is what was seen.
    """
    try:
        asked = {parameter.name: parameter for parameter in run.asked.parameters}
    except InputError:
        asked = {}
    found: dict[str, BaseDistribution] = {}
    for name in run.parameters:
        seen = [result.point[name] for result in results if name in result.point]
        if not seen:
            continue
        parameter = asked.get(name)
        wanted = distribution(parameter) if isinstance(parameter, Choice | Range) else None
        if wanted is None or not all(_holds(wanted, value) for value in seen):
            wanted = _of_values(seen)
        found[name] = wanted
    return found


def _of_values(seen: Sequence[Value]) -> BaseDistribution:
    kinds = {type(value) for value in seen}
    numbers = [value for value in seen if isinstance(value, int | float)]
    if kinds == {int}:
        return IntDistribution(int(min(numbers)), int(max(numbers)))
    if kinds <= {int, float}:
        return FloatDistribution(float(min(numbers)), float(max(numbers)))
    return CategoricalDistribution(list({(type(value), value): value for value in seen}.values()))


def _holds(wanted: BaseDistribution, value: Value) -> bool:
    try:
        return bool(wanted._contains(wanted.to_internal_repr(value)))
    except (ValueError, TypeError):  # not one of its choices, no number
        return False


def _names_of_values(study: optuna.Study) -> list[str]:
    """What the value of a trial is called in a rule; several have names of their own."""
    count = len(study.directions)
    if count == 1:
        return ["value"]
    return list(study.metric_names or [f"value_{number}" for number in range(count)])


def _record(trial: FrozenTrial, values: Sequence[str], seed: str) -> dict[str, Any]:
    place = f"trial {trial.number}"
    if seed not in {**trial.params, **trial.user_attrs}:
        raise InputError(
            f"no {seed!r} among its parameters or its user attributes",
            place=place,
            allowed="the seed of every trial",
            fix=f'trial.set_user_attr("{seed}", ...) in the objective, or give seed="NAME"',
        )
    record: dict[str, Any] = dict(trial.params)
    for name, value in trial.user_attrs.items():
        if name in record and record[name] != value:
            raise InputError(
                f"{name!r} is a parameter, {record[name]!r}, and a user attribute, {value!r}",
                place=place,
                allowed="one meaning of a name",
            )
        record[name] = _simple(value)
    if trial.state == TrialState.COMPLETE:
        record |= dict(zip(values, trial.values or (), strict=True))
    else:
        record[REASON] = str(trial.user_attrs.get(REASON) or REASONS[trial.state])
    return record


def _simple(value: object) -> object:
    """A user attribute that is a number, true, false or text; others have nothing to count."""
    if value is None or isinstance(value, bool | int | str):
        return value
    return value if isinstance(value, float) and not math.isinf(value) else str(value)
