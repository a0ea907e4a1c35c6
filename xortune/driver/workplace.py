"""Where a verb trains: what trains, the journal, and what the user is told on the way.

All verbs train here: a search, a certificate, a comparison, an evaluation and a gate differ in who
decides which seeds are next (`SearchDecisions`, `FreshSeeds`) and in what they keep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xortune.core.outcome import Failure
from xortune.core.trainer import Outages, Trainer
from xortune.driver.audits import audit_stacks, stacked_lines
from xortune.driver.voice import SILENT, Voice
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal, read
from xortune.runs.manifest import fingerprint_of, identity_of
from xortune.training.batches import Batches, Decider
from xortune.training.loop import Executor, NoJournal, Record, run
from xortune.training.processes import in_this_process
from xortune.training.resources import Cluster, awaiting


@dataclass(frozen=True)
class WhoTrains:
    """A trainer, and where it trains.

    Attributes:
        trainer: ready to train there.
        cluster: where.
        here: whether this process trains, without workers.
        raised: exceptions of the seeds that this process trains, for a debugger.
    """

    trainer: Trainer
    cluster: Cluster
    here: bool = False
    raised: Sequence[BaseException] = ()


def who_trains(trainer: Trainer, cluster: Cluster, outages: Outages) -> WhoTrains:
    """Make a trainer ready for where it trains.

    Raises:
        InputError: it is no function that could raise what is tried again, or it has a time limit
            that only killing its process enforces, and this process trains.
    """
    trainer, raised = trainer.retrying(outages.retry), list[BaseException]()
    here = cluster.workers == 0
    if trainer.traits.awaits and not cluster.is_ray:
        here, cluster = True, awaiting(cluster)  # an async function: its seeds wait together
    if here:
        trainer = in_this_process(trainer, raised.append)
    return WhoTrains(trainer, cluster, here, raised)


@dataclass(frozen=True)
class Workplace:
    """Where a verb trains.

    Attributes:
        trainer: trains the seeds.
        executor: trains their batches.
        voice: tells the user of faults of stacks, and before seeds are audited.
        outages: what becomes of seeds that cannot be tried.
        limit: seconds that a batch may take; None for any time.
        journal: takes the lines; without a journal they leave no run behind.
        path: of the journal.
    """

    trainer: Trainer
    executor: Executor
    voice: Voice = SILENT
    outages: Outages = field(default_factory=Outages)
    limit: float | None = None
    journal: Journal | NoJournal = field(default_factory=NoJournal)
    path: Path | None = None

    def record(self, on_failure: Callable[[Failure], None] | None = None, **more: Any) -> Record:
        """What writes the lines of one training; `more` as of `Record`."""
        on_fault, max_void = self.voice.warn, self.outages.max_void
        return Record(self.journal, on_failure, on_fault=on_fault, max_void=max_void, **more)

    def batches(
        self, decider: Decider, record: Callable[[Evaluation], None], **more: Any
    ) -> Batches:
        """The batches of what a decider wants; `more` as of `Batches`."""
        return Batches(
            decider,
            self.trainer,
            record,
            slots=self.executor.slots,
            limit=self.limit,
            outages=self.outages,
            **more,
        )

    def run(
        self, batches: Batches, record: Record, on_news: Callable[[Any], None] | None = None
    ) -> None:
        """Train until nothing is left to do; see `loop.run`."""
        run(batches, self.executor, record, on_news)

    def audit(
        self, batches: Batches, record: Record, lines: Sequence[Evaluation] | None = None
    ) -> None:
        """Audit more stacked seeds if they were few; see `audit_stacks`.

        `lines` are those of the training where there is no journal.
        """

        def recorded() -> Sequence[Evaluation]:
            if self.path is None:
                return lines or ()
            self.journal.sync()
            made = fingerprint_of(identity_of(self.trainer.describe()))
            return stacked_lines(read(self.path), made)

        if not record.ends:
            inform = self.voice.inform
            audit_stacks(batches, recorded, self.trainer, self.executor, record, inform=inform)

    def train(
        self, batches: Batches, record: Record, on_news: Callable[[Any], None] | None = None
    ) -> None:
        """Run batches, and audit enough of the seeds that were stacked."""
        self.run(batches, record, on_news)
        self.audit(batches, record)
