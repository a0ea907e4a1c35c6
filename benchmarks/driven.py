"""A search whose seeds train one after the other in this process: no workers, no run."""

from __future__ import annotations

from collections.abc import Iterator

from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, Trainer
from xortune.deciding.decisions import SearchDecisions
from xortune.training.batches import Batches
from xortune.training.jobs import Done
from xortune.training.loop import NoJournal, Record


def driven(decisions: SearchDecisions, trainer: Trainer) -> Iterator[tuple[Block, Outcome]]:
    """What the decisions ask for, in their order, with what it came to."""
    batches = Batches(decisions, trainer, Record(NoJournal()), most=1)
    while jobs := batches.next():
        results = trainer.train([job.block for job in jobs])
        batches.receive(Done(jobs, results, 0.1, "here:1"))
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Outcome):
                yield job.block, result
