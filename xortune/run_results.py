"""What a run's configurations came to: all blocks of each that may be counted together, as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from xortune.errors import InputError
from xortune.evaluation import MAX_EPOCHS, Evaluation
from xortune.objective_numbers import Numbers, numbers_in, summed, summed_only, ties_of
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.space_model import Objective

__all__ = ["ConfigResult", "Criterion", "criteria", "first_of", "outcomes_of", "results_of"]

Criterion: TypeAlias = Callable[[Sequence[int]], Sequence[Any]]
"""From places of configurations to a value for each; the lower value comes first."""


@dataclass(frozen=True)
class ConfigResult:
    """One configuration and all that it was trained for.

    Attributes:
        point: in its trainer's normal form.
        key: its stable key.
        outcome: all completed blocks as one, seeds ascending; the seeds of a block that finally
            produced nothing are in it as crashed, so that they count as not solved. All are made by
            the same engine, versions and trainer: see `Run.set_aside`.
        trials: how many distinct proposals led to it.
    """

    point: Point
    key: str
    outcome: Outcome
    trials: int


def results_of(
    blocks: Mapping[str, list[Evaluation]],
    aside: Sequence[Evaluation],
    *,
    rungs: tuple[int, ...],
    place: str,
    objectives: Sequence[Objective] = (),
    reasons: bool = False,
) -> tuple[ConfigResult, ...]:
    """One result for each config, in the order of `Run.results`.

    Args:
        blocks: for each config's key those that count; see `xortune.run_apart.kept_apart`.
        aside: those that do not.
        rungs: of the run's ladder.
        place: the journal, for messages.
        objectives: what was looked for.
        reasons: whether seeds of a block that produced nothing say why, as seeds that failed do.

    Raises:
        InputError: blocks of one config that cannot be one outcome, such as different epochs.
    """
    import numpy as np

    from xortune.frames import epochs_to_solve

    others: dict[str, list[Evaluation]] = {}
    for evaluation in aside:
        others.setdefault(evaluation.block.point.key, []).append(evaluation)
    results = []
    for key, found in blocks.items():
        outcome = _merged(key, found, place, reasons=reasons)
        point = found[0].block.point
        trials = len({e.proposal for e in [*found, *others.get(key, ())]})
        results.append(ConfigResult(point, key, outcome, trials))
    outcomes = [result.outcome for result in results]
    values = [
        criterion(range(len(results)))
        for criterion in criteria(
            [result.key for result in results],
            [outcome.successes for outcome in outcomes],
            [outcome.n for outcome in outcomes],
            lambda name, i: numbers_in(outcomes[i], name),
            lambda places: np.nan_to_num(
                epochs_to_solve([outcomes[i] for i in places]), nan=np.inf
            ).tolist(),
            objectives=objectives,
            rungs=rungs,
        )
    ]
    order = sorted(range(len(results)), key=lambda i: tuple(value[i] for value in values))
    return tuple(results[i] for i in order)


def criteria(
    keys: Sequence[str],
    k: Sequence[int],
    n: Sequence[int],
    numbers: Callable[[str, int], Numbers],
    epochs_to_solve: Criterion,
    *,
    objectives: Sequence[Objective],
    rungs: Sequence[int],
) -> list[Criterion]:
    """What decides which configuration comes first, for the table and for a status alike.

    A later criterion decides where all earlier ones are equal.

    Args:
        keys: of C configurations.
        k: seeds solved of each.
        n: seeds of each.
        numbers: from a name and the place of a configuration to that number of each of its seeds.
        epochs_to_solve: infinite without a success.
        objectives: what was looked for.
        rungs: of the run's ladder.
    """
    from xortune.stats import wilson

    counts = sorted(set(zip(k, n, strict=True)))
    ends = wilson([k for k, _ in counts], [n for _, n in counts])[0].tolist()
    low = dict(zip(counts, ends, strict=True))
    found: list[Criterion] = []
    if (objective := summed_only(objectives)) is not None:
        found.append(
            lambda places: [
                _worth(objective, numbers(objective.number or "", i), rungs) for i in places
            ]
        )
    found.append(lambda places: [-low[k[i], n[i]] for i in places])
    if (ties := ties_of(objectives)) is not None:
        found.append(lambda places: [_cost(ties, numbers(ties.number or "", i)) for i in places])
    found.append(epochs_to_solve)
    found.append(lambda places: [keys[i] for i in places])
    return found


def first_of(count: int, criteria: Sequence[Criterion]) -> int:
    """The place of the configuration that comes first, of at least one.

    A criterion is asked only about those that all earlier ones leave.
    """
    left: Sequence[int] = range(count)
    for criterion in criteria:
        if len(left) > 1:
            values = criterion(left)
            least = min(values)
            left = [i for i, value in zip(left, values, strict=True) if value == least]
    return left[0]


def _worth(objective: Objective, numbers: Numbers, rungs: Sequence[int]) -> tuple[int, float]:
    """Those on a higher rung first, then by what was looked for; less is better.

    A few lucky seeds are no match for many: what was measured of the same seeds is compared.
    """
    return -sum(rung <= len(numbers) for rung in rungs), _cost(objective, numbers)


def _cost(objective: Objective, numbers: Numbers) -> float:
    """What was looked for; less is better."""
    value = summed(objective, numbers)
    return -value if objective.maximize else value


def outcomes_of(found: Sequence[Evaluation], *, reasons: bool = False) -> Iterator[Outcome]:
    """What each line of one config came to; the seeds of a block that produced nothing crashed."""
    known = [e.outcome.epochs for e in found if e.outcome is not None]
    budget = found[0].block.point.get("epochs")
    epochs = known[0] if known else 0
    if not known and isinstance(budget, int) and 0 <= budget <= MAX_EPOCHS:
        epochs = budget
    for evaluation in found:
        if evaluation.outcome is None:
            yield Outcome.crashed(
                evaluation.block.seeds, epochs, evaluation.error if reasons else None
            )
        else:
            assert isinstance(evaluation.outcome, Outcome)  # it was read from a journal
            yield evaluation.outcome


def _merged(key: str, found: list[Evaluation], place: str, *, reasons: bool) -> Outcome:
    merged: Outcome | None = None
    try:
        in_order = sorted(found, key=lambda e: e.block.first)
        for outcome in outcomes_of(in_order, reasons=reasons):
            part = replace(outcome, checkpoints=()) if outcome.checkpoints else outcome
            merged = part if merged is None else merged.merge(part)
    except InputError as error:
        raise error.at(f"{place}: config {key}") from None
    assert merged is not None
    return merged
