"""What the journal has of a search's earlier sessions: one value, which nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xortune.core.outcome import Outcome, Status
from xortune.core.point import Point
from xortune.core.trainer import NOT_FINISHED, PROVEN_WORSE, Block
from xortune.deciding.measured import Measured
from xortune.racing.objectives import SeedSummary
from xortune.runs.evaluation import Evaluation, Evaluations, JournalLines


@dataclass(frozen=True, slots=True)
class RecordedBlock:
    """A block in the journal.

    Attributes:
        block: its config and seeds.
        final: whether it has results; else it was given up while it trained.
        fingerprint: of what trained it; "" for nothing.
        seen: its results; None without an outcome.
        lines, line: the journal's, and its number there.
    """

    block: Block
    final: bool
    fingerprint: str
    seen: SeedSummary | None
    lines: JournalLines
    line: int

    @property
    def outcome(self) -> Outcome | None:
        """Its outcome, which is decoded now; None if it has none."""
        outcome = self.lines.evaluation(self.line).outcome
        return outcome if isinstance(outcome, Outcome) else None


class Recorded:
    """The lines of a search in its journal.

    Args:
        known: the lines.
        measured: what results hold.

    Attributes:
        last_trial: the highest number of a trial that has a final line; -1 without any.
        decisions: by number, the trial and the config's key of each decision that lines name.
        verdicts: keys of the configs that lines say are proven worse.
        seeds: in final lines.
    """

    def __init__(self, known: Sequence[Evaluation], measured: Measured) -> None:
        journal = Evaluations.of(known)
        self._lines, self._measured, keys = journal.lines, measured, journal.lines.keys
        config, trial = journal.column("config"), journal.column("proposal")
        final = journal.column("final") > 0
        # Of each trial the index of its config, also where all its seeds were void: the sampler has
        # not seen their results, and would propose another config by what it learns meanwhile.
        self._configs = dict(zip(trial.tolist(), config.tolist(), strict=True))
        self._trials = frozenset(trial[final].tolist())
        self.last_trial = max(self._trials, default=-1)
        columns = (journal.column("decision"), trial, config)
        named = zip(*(column.tolist() for column in columns), strict=True)
        self.decisions = {number: (of, keys[index]) for number, of, index in named if number >= 0}
        worse = journal.with_error(PROVEN_WORSE).column("config")
        self.verdicts = frozenset(keys[index] for index in worse.tolist())
        # Blocks in rows, those of one config together and in the order of their lines.
        given_up = np.isin(journal.places, journal.with_error(NOT_FINISHED).places)
        rows = np.column_stack(
            [
                *map(journal.column, ("first", "count", "final", "outcome", "fingerprint")),
                *(journal.column("epochs"), journal.places),
                *map(journal.column, (Status.SOLVED.label, "epochs_solved")),
            ]
        )
        self.seeds = int(journal.column("count")[final].sum())
        chosen = np.flatnonzero(final | given_up)
        chosen = chosen[np.argsort(config[chosen], kind="stable")]
        self._rows = rows[chosen]
        of, starts = np.unique(config[chosen], return_index=True)
        ends = [*starts.tolist(), len(chosen)][1:]
        self._rows_of = {
            keys[one]: slice(start, end)
            for one, start, end in zip(of.tolist(), starts.tolist(), ends, strict=True)
        }

    def has_trial(self, number: int) -> bool:
        """Whether a trial has a final line."""
        return number in self._trials

    def point(self, trial: int) -> Point | None:
        """The config of a trial; None if it has no line."""
        config = self._configs.get(trial)
        return None if config is None else self._lines.points[config]

    def blocks(self, point: Point, seeds: range) -> list[RecordedBlock]:
        """The blocks of a config that begin with one of these seeds, the oldest line first."""
        if (rows := self._rows_of.get(point.key)) is None:
            return []
        found = []
        for start, n, final, has_outcome, version, *more in self._rows[rows].tolist():
            epochs, line, solved, taken = more
            if start not in seeds:
                continue
            seen = None
            if has_outcome:
                names = self._measured.names
                numbers = (self._lines.numbers(line, name).tolist() for name in names)
                timed = taken + epochs * (n - solved)
                seen = SeedSummary(
                    solved,
                    n,
                    timed,
                    budget=epochs,
                    numbers=(*map(tuple, numbers),),
                    timed_blocks=((float(self._lines.column("seconds")[line]) / n, n),)
                    if self._measured.is_timed
                    else (),
                )
            fingerprint = "" if version < 0 else self._lines.names[version]
            block = Block(point, start, n)
            one = RecordedBlock(block, bool(final), fingerprint, seen, self._lines, line)
            found.append(one)
        return found
