"""What is known of a required rate, and its figure: the objective against the rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import number, plain, rounded_down, rounded_up
from xortune.racing.feasible import OPEN, PROVEN, REFUTED
from xortune.racing.objectives import constrained, timed_objective
from xortune.reports.document import cached_per_run, lines_of
from xortune.reports.drawing.model import Axis, Guide, Layer, Mark, Panel, Plot, Role, Series
from xortune.reports.figures.common import (
    LOG_FROM_RATIO,
    described,
    finished,
    plot_of,
    sampled,
)
from xortune.runs.certificate import CertifiedResult
from xortune.runs.run import Run
from xortune.spaces.model import Objective, Requirement

DIGITS = 4
"""Decimals of a bound, which is rounded away from the rate."""


@dataclass(frozen=True)
class RequiredRate:
    """What is known of a required rate, C configurations in the order of the table.

    Attributes:
        objective: that counts where the rate is reached.
        requirement: the rate, and the risk of the search's verdicts.
        amounts: float64, shape (C,): the objective of each.
        states: int64, shape (C,): see `racing.feasible.rate_state`.
        sentences: for people.
    """

    objective: Objective
    requirement: Requirement
    amounts: NDArray[np.float64]
    states: NDArray[np.int64]
    sentences: tuple[str, ...]


@cached_per_run
def required_rate(run: Run) -> RequiredRate | None:
    """What is known of the rate that a run requires; None if it requires none, or has no result."""
    objective = constrained(run.objectives)
    if objective is None or objective.required is None or not run.results:
        return None
    requirement = objective.required
    amounts, states = run.results.measured(objective), run.results.rate_states(requirement)
    cost = -amounts if objective.maximize else amounts
    counts = {state: int((states == state).sum()) for state in (PROVEN, OPEN, REFUTED)}
    (name, written), timed = _worded(objective), timed_objective([objective])
    certificate = run.certificate
    found = () if certificate is None else certificate.finalists
    keys, places = run.results.keys, {key: at for at, key in enumerate(run.results.keys)}

    def named(at: int) -> str:
        if not np.isfinite(amounts[at]):
            return f"{keys[at]} ({name} failed)"
        amount = written(float(amounts[at]))
        return f"{keys[at]} ({amount})" if timed else f"{name} {amount}"

    verdicts = [
        f"{named(places[one.key])} {verdict}"
        for one in found
        if one.key in places
        for verdict in _verdicts(one, requirement.rate)
    ]
    fails = f"does not reach {requirement.rate:g}"  # where no other does
    sentences = lines_of(
        "required.txt.jinja",
        name=name,
        more=objective.maximize,
        rate=requirement.rate,
        alpha=requirement.alpha,
        proven=counts[PROVEN],
        open=counts[OPEN],
        rivals=int(((states == OPEN) & (cost < cost[0])).sum()),
        refuted=counts[REFUTED],
        best=written(float(amounts[0])) if np.isfinite(amounts[0]) else None,
        searched=[
            f"{named(at)} {proven if counts[PROVEN] else proven.replace('does not', fails)}"
            for at, proven in _in_search(run, requirement, cost, states).items()
        ],
        verdicts=verdicts,
        confidence=certificate.confidence if certificate else None,
    )
    return RequiredRate(objective, requirement, amounts, states, tuple(sentences))


def _worded(objective: Objective) -> tuple[str, Callable[[float], str]]:
    """What an objective is called in a sentence, and what writes a value of it."""
    if (measured := objective.measured) is not None:
        return measured.label, measured.write
    return plain(objective.name), number


def _in_search(
    run: Run, required: Requirement, cost: NDArray[np.float64], states: NDArray[np.int64]
) -> dict[int, str]:
    """What the search proves, by place in the table: of the answer, and of what is better.

    That is what is open, the first of it, and the next better value, with the highest upper bound
    of its configurations.
    """
    better = np.flatnonzero(cost < cost[0]) if states[0] == PROVEN else np.zeros(0, np.int64)
    unknown = better[states[better] == OPEN][:1]
    near = better[cost[better] == cost[better].max(initial=-np.inf)]
    if near.size and (states[near] == REFUTED).all():
        near = near[[run.results.rate_bounds(required, near)[1].argmax()]]
    places = np.array(list(dict.fromkeys([0, *unknown.tolist(), *near[:1].tolist()])))
    bounds = zip(*run.results.rate_bounds(required, places), strict=True)
    return {
        at: _proven(run, required, at, low, high)
        for at, (low, high) in zip(places.tolist(), bounds, strict=True)
    }


def _proven(run: Run, required: Requirement, at: int, low: float, high: float) -> str:
    """What is proven of a configuration: `reaches 0.95 (proven 0.957)`."""
    rate, below, above = f"{required.rate:g}", _down(low), _up(high)
    if low > required.rate:
        return f"reaches {rate} (proven {below})"
    if high < required.rate:
        return f"does not (at most {above})"
    more = run.results.seeds_to_tell(required, at)
    tells = "more than there are" if more is None else f"about {float(f'{more:.1e}'):,.0f} more"
    seeds = f"{run.results.counts.n[at]:,} seeds"
    return f"is not told from {rate} by {seeds} ({below} to {above}; {tells} would tell)"


def _down(bound: float) -> str:
    return f"{rounded_down(bound, DIGITS):g}"


def _up(bound: float) -> str:
    return f"{rounded_up(bound, DIGITS):g}"


def _verdicts(found: CertifiedResult, rate: float) -> Iterator[str]:
    """What fresh seeds prove of a finalist: `reaches 0.95 (proven 0.957)`."""
    low, high = found.lower_bound, found.upper_bound
    if low is None:
        return
    if low >= rate:
        yield f"reaches {rate:g} (proven {_down(low)})"
    elif high is not None and high < rate:
        yield f"does not (at most {_up(high)})"
    else:
        above = "1" if high is None else _up(high)
        yield f"is not known to reach {rate:g} ({_down(low)} to {above})"


KINDS: dict[int, tuple[str, Role]] = {
    OPEN: ("nothing is proven", "neutral"),
    REFUTED: ("proven not to reach the rate", "refuted"),
    PROVEN: ("proven to reach the rate", "proven"),
}
"""The label and the role of each state, the last one on top."""


def frontier(run: Run) -> Plot | None:
    """The objective of each config against its rate; None if no rate is required."""
    results, required = finished(run), required_rate(run)
    if required is None:
        return None
    finite = np.flatnonzero(np.isfinite(required.amounts))
    if not finite.size:
        return None
    drawn = finite[sampled(finite.size)]
    amounts, states = required.amounts, required.states
    layers: list[Layer] = [
        Guide("y", required.requirement.rate, f"required: {required.requirement.rate:g}")
    ]
    for state, (label, role) in KINDS.items():
        marks = tuple(
            Mark(
                float(amounts[at]),
                results[at].outcome.rate,
                y_ends=results[at].outcome.interval(),
                text=f"{described(run, results[at])}: {results[at].outcome.count.words}; {label}",
                key=results[at].key,
            )
            for at in drawn[states[drawn] == state].tolist()
        )
        if marks:
            layers.append(Series(label, marks, role=role))
    certificate = run.certificate
    places = {key: at for at, key in enumerate(results.keys)}
    fresh = tuple(
        Mark(
            float(amounts[places[one.key]]),
            one.rate,
            y_ends=(one.lower_bound, 1.0 if one.upper_bound is None else one.upper_bound),
            text=f"{described(run, results[places[one.key]])}: {one.k:,} of {one.n:,} fresh seeds",
            key=one.key,
        )
        for one in (certificate.finalists if certificate else ())
        if one.key in places and one.lower_bound is not None
    )
    if fresh:
        layers.append(
            Series("on fresh seeds, with both bounds", fresh, role="proven", marker="diamond")
        )
    values, name = amounts[drawn], plain(required.objective.name)
    log = values.min() > 0 and values.max() / values.min() > LOG_FROM_RATIO
    better = "more" if required.objective.maximize else "less"
    reached, (_, written) = states[0] == PROVEN, _worded(required.objective)
    return plot_of(
        "frontier",
        Panel(
            Axis(
                f"{name} ({better} is better)",
                "log" if log else "number",
                whole=bool((values == np.round(values)).all()),
            ),
            Axis("success rate", "rate"),
            tuple(layers),
        ),
        name=_worded(required.objective)[0],
        rate=required.requirement.rate,
        best=written(float(amounts[0])) if reached else "",
        described=described(run, results[0]),
        count_of=results[0].outcome.count.words,
        states={
            "proven": int((states == PROVEN).sum()),
            "refuted": int((states == REFUTED).sum()),
            "open": int((states == OPEN).sum()),
        },
        sizes=results.counts.n.tolist(),
        fresh=[
            (written(mark.x), _down(low), _up(high))
            for mark in fresh
            if mark.y_ends is not None
            for low, high in [mark.y_ends]
        ],
        alpha=required.requirement.alpha,
        drawn=len(drawn),
        total=len(results),
    )
