"""What the journal of xortune's search tells while it grows."""

from __future__ import annotations

from pathlib import Path

import xortune as xt
from quality.trace import Standing, Tracer
from xortune.runs.evaluation import decode


class Journal:
    """A run's journal, read as it grows."""

    def __init__(self, run: Path, tracer: Tracer) -> None:
        self.run, self._tracer = run, tracer
        self._standing, self._read = Standing(), 0

    def read(self) -> None:
        """Take in the lines that are new."""
        with (self.run / "evaluations.jsonl").open("rb") as file:
            file.seek(self._read)
            for line in file:
                self._read += len(line)
                evaluation = decode(line.decode("ascii"))
                if evaluation.outcome is None:
                    raise RuntimeError(f"a training failed: {evaluation.error}")
                self._tracer.spend(evaluation.block.count)
                self._standing.add(evaluation.block.point, evaluation.outcome)
                self._tracer.answer(*self._standing.best)

    def agree(self) -> None:
        """Fail if xortune itself would answer something else."""
        theirs, ours = xt.load_run(self.run).results[0].point, self._standing.best[0]
        if theirs != ours:
            raise RuntimeError(f"xortune's best is {theirs}, not {ours}")
