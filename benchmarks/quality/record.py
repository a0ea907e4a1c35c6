"""What is kept of a repetition: one line of JSON, with all that the summary needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from quality.trace import Step

__all__ = ["Record", "append", "read"]


@dataclass(frozen=True)
class Record:
    """One repetition of a method on a space.

    Attributes:
        space: its name.
        method: its name.
        repetition: from 0; the seed of the search.
        epochs: of every training.
        asked: the budget, in seed-epochs.
        budget: seed-epochs up to which the trace tells what the method would answer; less than was
            asked if it was cut off by the clock.
        spent: seed-epochs, in all.
        seconds: in all.
        steps: the trace.
        rates: the true rate of each of the trace's configs.
        configs: their parameters.
        about: the machine, versions, time.
        direct: whether Ray was left out, so that its seconds mean nothing.
    """

    space: str
    method: str
    repetition: int
    epochs: int
    asked: int
    budget: int
    spent: int
    seconds: float
    steps: tuple[Step, ...]
    rates: tuple[float, ...]
    configs: tuple[dict[str, Any], ...] = ()
    about: str = ""
    direct: bool = False

    @property
    def final(self) -> tuple[float, float]:
        """At the budget's end: what the method claims (k/n), and the true rate; 0 if it is mute."""
        within = [step for step in self.steps if step.spent <= self.budget]
        if not within:
            return 0.0, 0.0
        return within[-1].k / within[-1].n, self.rates[within[-1].config]


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
        record = _record(json.loads(line))
        key = record.space, record.method, record.repetition
        if key not in found or found[key].asked <= record.asked:
            found[key] = record
    return list(found.values())


def _record(fields: dict[str, Any]) -> Record:
    steps: Sequence[Sequence[Any]] = fields.pop("steps")
    return Record(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()},
        steps=tuple(Step(*step) for step in steps),
    )
