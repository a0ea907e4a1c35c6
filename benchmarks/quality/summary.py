"""From finished repetitions to Markdown tables; trains nothing and writes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import machine
import numpy as np
from numpy.typing import NDArray

from quality.record import Record
from quality.trace import Step

Axis = Literal["spent", "seconds"]

INF = math.inf
TARGET = 0.99
OURS = "xortune"
RESAMPLES = 4000
FRACTIONS = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
CLOCK = (0.1, 1, 3, 10, 30, 100, 300)


def rate_at(record: Record, place: float, axis: Axis = "spent") -> float:
    """The true rate of what a method would answer there; 0 before its first answer."""
    found = 0.0
    for step in record.steps:
        if getattr(step, axis) > place or step.spent > record.budget:
            break
        found = record.rates[step.config]
    return found


def area(record: Record, budget: float) -> float:
    """The mean of `rate_at` from 0 to the budget, in seed-epochs."""
    total = last = before = 0.0
    for step in record.steps:
        if step.spent >= budget:
            break
        total += before * (step.spent - last)
        last, before = step.spent, record.rates[step.config]
    return (total + before * (budget - last)) / budget


def reached(record: Record, axis: Axis = "spent", target: float = TARGET) -> float:
    """Where a method would first answer with a config of this true rate; inf if never."""
    return next((float(getattr(s, axis)) for s in _within(record) if _good(record, s, target)), INF)


def held(record: Record, axis: Axis = "spent", target: float = TARGET) -> float:
    """From where on all its answers have this true rate, to the end of the budget; inf if never."""
    found = INF
    for step in reversed(_within(record)):
        if not _good(record, step, target):
            break
        found = float(getattr(step, axis))
    return found


def _within(record: Record) -> list[Step]:
    return [step for step in record.steps if step.spent <= record.budget]


def _good(record: Record, step: Step, target: float) -> bool:
    return record.rates[step.config] >= target


def overshoot(record: Record) -> float:
    """How far a method's own claim lies above the truth, at the end of the budget."""
    claim, truth = record.final
    return claim - truth


def ratio(
    theirs: Sequence[float], ours: Sequence[float], rng: np.random.Generator
) -> tuple[float, float, float]:
    """The ratio of the medians, and its 95 % bootstrap interval (percentiles).

    Repetitions are resampled, each method's on their own. inf is "never": two of them are in the
    ratio 1.
    """
    low, high = np.quantile(
        _ratios(_medians(theirs, rng), _medians(ours, rng)), (0.025, 0.975), method="nearest"
    )
    found = _ratios(np.median([theirs], axis=1), np.median([ours], axis=1))
    return float(found[0]), float(low), float(high)


def _medians(values: Sequence[float], rng: np.random.Generator) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    drawn = array[rng.integers(len(array), size=(RESAMPLES, len(array)))]
    return np.asarray(np.median(drawn, axis=1), np.float64)


def _ratios(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isinf(a) & np.isinf(b), 1.0, a / b)


def summary(records: Sequence[Record]) -> str:
    """All tables."""
    parts = [_intro()]
    for space in dict.fromkeys(record.space for record in records):
        parts += _of_space(space, [record for record in records if record.space == space])
    return "\n\n".join(parts)


def across(records: Sequence[Record]) -> str:
    """Two tables, a row for each space and a column for each method: areas, and the target."""
    spaces, methods = (
        list(dict.fromkeys(getattr(record, name) for record in records))
        for name in ("space", "method")
    )
    by = {
        (space, method): [r for r in records if (r.space, r.method) == (space, method)]
        for space in spaces
        for method in methods
    }

    def areas(found: list[Record]) -> str:
        return f"{np.mean([area(record, record.budget) for record in found]):.3f}"

    def seeds(found: list[Record]) -> str:
        spent = [held(record) / record.epochs for record in found]
        return f"{_number(float(np.median(spent)))} ({np.isfinite(spent).sum()}/{len(spent)})"

    def table(cell: Callable[[list[Record]], str]) -> str:
        rows = [[s, *(cell(by[s, m]) if by[s, m] else "" for m in methods)] for s in spaces]
        return machine.table(["", *methods], rows)

    return (
        f"The mean true rate of the answer over the budget:\n\n{table(areas)}\n\nSeeds until all "
        f"further answers have a true rate of {TARGET}, the median (how many got there):\n\n"
        f"{table(seeds)}"
    )


def _intro() -> str:
    return (
        "A true rate is that on 10,000 other seeds (of the synthetic space: exact). At the target:"
        f" from where on a method would answer with a config of a true rate of {TARGET} or more, to"
        " the end of its budget; the median of the repetitions, and in how many of them. First:"
        " where it would for the first time, though it may go on to a worse one; whoever answers"
        " after one seed is there by luck. Area: the mean true rate of the answer over the budget."
        " Claim: the method's own k/n minus the true rate of its answer, at the end; mean and"
        " largest, in percentage points. Ratios: the median at the target to that of xortune, with"
        " a 95 % bootstrap interval; above 1, xortune needs less. A budget of 1 is 100 seeds of one"
        " config."
    )


def _of_space(space: str, records: Sequence[Record]) -> Iterator[str]:
    """A heading, the main table, the curves."""
    by: dict[str, list[Record]] = {}
    for record in records:
        by.setdefault(record.method, []).append(record)
    unit = 100 * records[0].epochs
    shared = min(record.budget for record in records)
    largest = max(record.budget for record in records)
    yield f"#### {space}"
    yield _main_table(by, unit, shared)
    places = [shared * fraction for fraction in FRACTIONS]
    places += [place for place in (shared * 2, shared * 4) if place < largest]
    places += [largest] if largest > shared else []
    yield "Median true rate of the answer, by budget spent:"
    yield _curves(by, [(f"{place / unit:.3g}", place) for place in places], "spent")
    timed = {name: [r for r in found if not r.direct] for name, found in by.items()}
    timed = {name: found for name, found in timed.items() if found}
    longest = max((r.seconds for found in timed.values() for r in found), default=0.0)
    clock = [place for place in CLOCK if place < 3 * longest]
    if clock:
        yield "The same, by wall time:"
        yield _curves(timed, [(f"{place:g} s", place) for place in clock], "seconds")
    cut = [name for name, found in by.items() if any(r.budget < r.asked for r in found)]
    if cut:
        yield f"Cut off by the clock before the budget was spent: {', '.join(cut)}."


def _main_table(by: dict[str, list[Record]], unit: int, shared: int) -> str:
    header = [
        "method",
        "repetitions",
        "budget",
        "true rate at the end",
        f"area to {shared / unit:.3g}",
        "at the target",
        "wall",
        "first",
        "claim",
        "ratio of budget",
        "ratio of wall",
    ]
    return machine.table(header, [_row(name, by, unit, shared) for name in by])


def _row(name: str, by: dict[str, list[Record]], unit: int, shared: int) -> list[str]:
    found = by[name]
    over = [overshoot(record) * 100 for record in found]
    spent = [held(record) for record in found]
    wall = [held(record, "seconds") for record in found if not record.direct]
    first = [reached(record) for record in found]
    count = sum(math.isfinite(value) for value in spent)
    ratios = ["", ""]
    if OURS in by and name != OURS:
        rng = np.random.default_rng(0)
        ours = [r for r in by[OURS] if not r.direct]
        ratios = [
            _interval(*ratio(spent, [held(r) for r in by[OURS]], rng)),
            _interval(*ratio(wall, [held(r, "seconds") for r in ours], rng))
            if wall and ours
            else "–",
        ]
    return [
        name,
        f"{len(found)}",
        f"{np.median([record.budget for record in found]) / unit:.3g}",
        f"{np.median([record.final[1] for record in found]):.4f}",
        f"{np.mean([area(record, shared) for record in found]):.3f}",
        f"{_number(float(np.median(spent)) / unit)} ({count}/{len(found)})",
        _number(float(np.median(wall))) + " s" if wall else "–",
        _number(float(np.median(first)) / unit),
        f"{np.mean(over):+.1f}, {max(over):+.1f}",
        *ratios,
    ]


def _curves(by: dict[str, list[Record]], places: list[tuple[str, float]], axis: Axis) -> str:
    """Methods by places; empty where half of a method's repetitions do not go so far."""

    def cell(found: list[Record], place: float) -> str:
        if axis == "spent" and np.median([record.budget for record in found]) < place:
            return ""
        return f"{np.median([rate_at(record, place, axis) for record in found]):.3f}"

    header = ["method", *(label for label, _ in places)]
    rows = [[name, *(cell(found, place) for _, place in places)] for name, found in by.items()]
    return machine.table(header, rows)


def _interval(value: float, low: float, high: float) -> str:
    return f"{_number(value)} ({_number(low)} to {_number(high)})"


_number: Callable[[float], str] = lambda x: "∞" if math.isinf(x) else f"{x:.3g}"  # noqa: E731
