"""The Pareto front as a report shows it: rows of text, drawn by `markdown` and `terminal`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xortune.objective_numbers import numbers_in, summed
from xortune.report.format import config_text, count, interval, number, plain, value
from xortune.run import ConfigResult, Run
from xortune.run_front import full_seeds
from xortune.space_model import EPOCHS_TO_SOLVE, SUCCESS_RATE, Objective

__all__ = ["FrontTable", "front_table"]

SHOWN = 30


@dataclass(frozen=True)
class FrontTable:
    """What is shown of a front.

    Attributes:
        about: what was looked for, and who was compared.
        header: of the columns, the config's last; all of them text that is not escaped.
        rows: one for each config, the first objective's best first, among equal ones the second's,
            ...; at most `SHOWN`.
        more: how many further ones there are.
    """

    about: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int


def front_table(run: Run, varied: Sequence[str]) -> FrontTable | None:
    """The front of a run; None where there is one objective.

    Args:
        run: whose.
        varied: the parameters that differ between its configs.

    Raises:
        InputError: the manifest's objectives are damaged.
    """
    front = run.front
    if front is None:
        return None
    objectives = run.objectives
    found = [r for r, on_it in zip(run.results, front, strict=True) if on_it]
    found.sort(key=lambda result: (*(_sorting(o, result) for o in objectives), result.key))
    names = [name for name in varied if name not in {o.name for o in objectives}]
    rows = [
        (*(cell for o in objectives for cell in _cells(o, r)), config_text(r.point, names), r.key)
        for r in found[:SHOWN]
    ]
    wanted = ", ".join(f"{plain(o.name)} ({'more' if o.maximize else 'less'})" for o in objectives)
    full = full_seeds(run.results, run.manifest)
    compared = sum(result.outcome.n >= full for result in run.results)
    about = (
        f"Looked for: {wanted}. Of {count(compared, 'configuration')} with the full "
        f"{count(full, 'seed')}, {len(found) or 'none'} {'is' if len(found) == 1 else 'are'} on "
        "the front: no other of them is as good in everything and better in something, by what "
        "was measured. Two that lie close together may have changed places by chance. Those with "
        "fewer seeds are not compared."
    )
    header = (*(name for o in objectives for name in _names(o)), "configuration", "key")
    return FrontTable(about, header, tuple(rows), len(found) - len(rows))


def _sorting(objective: Objective, result: ConfigResult) -> float:
    if objective.number is not None:
        worth = summed(objective, numbers_in(result.outcome, objective.number))
        return -worth if objective.maximize else worth
    if objective.name == SUCCESS_RATE:
        return -result.outcome.rate
    if objective.name == EPOCHS_TO_SOLVE:
        epochs = result.outcome.epochs_to_solve
        return float("inf") if epochs is None else epochs
    given = result.point[objective.name]
    assert isinstance(given, int | float)
    return -given if objective.maximize else given


def _names(objective: Objective) -> tuple[str, ...]:
    if objective.name == SUCCESS_RATE:
        return "solved", "95 % interval"
    return ("epochs to solve",) if objective.name == EPOCHS_TO_SOLVE else (plain(objective.name),)


def _cells(objective: Objective, result: ConfigResult) -> tuple[str, ...]:
    outcome = result.outcome
    if objective.name == SUCCESS_RATE:
        return f"{outcome.successes}/{outcome.n}", interval(*outcome.interval())
    if objective.name == EPOCHS_TO_SOLVE:
        epochs = outcome.epochs_to_solve
        # Not rounded to whole ones: one that is on the front by half an epoch would seem not to be.
        return ("–" if epochs is None else number(epochs),)
    if objective.number is not None:
        return (number(summed(objective, numbers_in(outcome, objective.number))),)
    return (value(result.point[objective.name]),)
