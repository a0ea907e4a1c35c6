"""What is kept of a repetition, one line of JSON; and the tables of many."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import machine
import numpy as np

from quality.trace import Step

TARGET = 0.99


@dataclass(frozen=True)
class Record:
    """One repetition of a method on a space.

    Attributes:
        space: its name.
        method: its name.
        repetition: from 0; the seed of the search.
        epochs: of every training.
        budget: in seed-epochs.
        steps: the trace.
        rates: the true rate of each of the trace's configs.
        configs: their parameters.
        about: the machine, versions, time.
    """

    space: str
    method: str
    repetition: int
    epochs: int
    budget: int
    steps: tuple[Step, ...]
    rates: tuple[float, ...]
    configs: tuple[dict[str, Any], ...] = ()
    about: str = ""


def append(path: Path, record: Record) -> None:
    """Write one line."""
    fields = {**asdict(record), "steps": [astuple(step) for step in record.steps]}
    with path.open("a", encoding="ascii") as file:
        file.write(json.dumps(fields) + "\n")


def read(path: Path) -> list[Record]:
    """All repetitions; of one that was run again with a larger budget the largest counts."""
    found: dict[tuple[str, str, int], Record] = {}
    if not path.exists():
        return []
    for line in path.read_text(encoding="ascii").splitlines():
        fields = json.loads(line)
        steps = tuple(Step(*step) for step in fields.pop("steps"))
        parts = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        record = Record(**parts, steps=steps)
        key = record.space, record.method, record.repetition
        if key not in found or found[key].budget <= record.budget:
            found[key] = record
    return list(found.values())


def area(record: Record) -> float:
    """The mean true rate of the answer over the budget; 0 before the first answer."""
    total = last = before = 0.0
    for step in record.steps:
        if step.spent >= record.budget:
            break
        total += before * (step.spent - last)
        last, before = step.spent, record.rates[step.config]
    return (total + before * (record.budget - last)) / record.budget


def held(record: Record, target: float = TARGET) -> float:
    """From where on all its answers have this true rate, to the end of the budget; inf if never."""
    found = math.inf
    for step in reversed([step for step in record.steps if step.spent <= record.budget]):
        if record.rates[step.config] < target:
            break
        found = float(step.spent)
    return found


def summary(records: Sequence[Record]) -> str:
    """Two tables, a row for each space and a column for each method: areas, and the target."""
    spaces, methods = (
        list(dict.fromkeys(getattr(record, name) for record in records))
        for name in ("space", "method")
    )

    def areas(found: list[Record]) -> str:
        return f"{np.mean([area(record) for record in found]):.3f}"

    def seeds(found: list[Record]) -> str:
        spent = [held(record) / record.epochs for record in found]
        median = float(np.median(spent))
        shown = "∞" if math.isinf(median) else f"{median:.3g}"
        return f"{shown} ({np.isfinite(spent).sum()}/{len(spent)})"

    def table(cell: Callable[[list[Record]], str]) -> str:
        rows = []
        for space in spaces:
            parts = [[r for r in records if (r.space, r.method) == (space, m)] for m in methods]
            rows.append([space, *(cell(found) if found else "" for found in parts)])
        return machine.table(["", *methods], rows)

    return (
        f"The mean true rate of the answer over the budget:\n\n{table(areas)}\n\nSeeds until all "
        f"further answers have a true rate of {TARGET}, the median (how many got there):\n\n"
        f"{table(seeds)}"
    )
