"""The loop of a search: decide, batch, execute, record; and where it ends.

`run` joins one object for each: `decisions.SearchDecisions`, `batches.Batches`, an executor
(`executors`, `ray_executor`) and `Record`. A certificate runs in the same loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from xortune.core.errors import InputError
from xortune.core.outcome import Failure
from xortune.driver.batches import Batches, Decider, Job
from xortune.driver.executors import Executor
from xortune.driver.process import uninterrupted
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal


def run(batches: Batches, executor: Executor, record: Record) -> None:
    """Train until nothing is left to do, or the executor takes nothing more.

    Raises:
        InputError: the trainer refused a proposal, or the journal cannot be written.
        KeyboardInterrupt: the user interrupted. What had finished is in the journal.
    """
    refusal: InputError | None = None
    try:
        while True:
            with uninterrupted():
                while executor.done:
                    batches.receive(executor.done.popleft())
                batches.resize(executor.slots)
                if record.first_failure.ends:
                    batches.stop()
                try:
                    while refusal is None and executor.takes(batches):
                        jobs = batches.next(brief=executor.brief)
                        if not jobs:
                            break
                        executor.submit(jobs, batches.seconds_left)
                except InputError as error:  # of a proposal; batches under way may finish
                    refusal = error
                record.announce()
            if not batches.under_way:
                break
            executor.wait(batches)
    except BaseException:
        executor.stop()
        with uninterrupted():
            while executor.done:
                batches.receive(executor.done.popleft())
        raise
    record.flush()
    if refusal is not None:
        raise refusal


# -------------------------------------------------------------------------------------------------
# Recording a result: first in the journal, then for the decisions, then for the user.


class FirstFailure:
    """Finds the first failure of a search, and reports it.

    Args:
        tell: called with the failure.
        fatal: whether it ends the search.
    """

    def __init__(
        self, tell: Callable[[Failure], None] | None = None, *, fatal: bool = False
    ) -> None:
        self._tell, self._fatal = tell, fatal
        self.failure: Failure | None = None

    @property
    def ends(self) -> Failure | None:
        """The failure that ends the search."""
        return self.failure if self._fatal else None

    def look(self, line: Evaluation) -> None:
        """Report the line's failure if it is final and the first one."""
        if self.failure is not None or not line.final:
            return
        outcome, point = line.outcome, line.block.point
        if outcome is None:
            self.failure = Failure(point.as_dict(), line.block.first, str(line.error))
        elif outcome.details.failed:
            self.failure = outcome.details.first_failure(point.as_dict())
        if self.failure is not None and self._tell is not None:
            self._tell(self.failure)


class Record:
    """Writes each result to the journal before a decision uses it, and then reports progress.

    Args:
        journal: of the run.
        decider: uses the results.
        on_news: called with the decider's news, once the lines they are about are on the disk.
        first_failure: looks at each line.
    """

    def __init__(
        self,
        journal: Journal,
        decider: Decider,
        on_news: Callable[[Any], None] | None = None,
        first_failure: FirstFailure | None = None,
    ) -> None:
        self._journal, self._decider, self._on_news = journal, decider, on_news
        self.first_failure = first_failure or FirstFailure()
        self._news: deque[tuple[int, object]] = (
            deque()
        )  # with the number of lines to be on the disk

    def __call__(self, job: Job, line: Evaluation) -> None:
        """Record the result of a job."""
        self._journal.append(line)
        self._decider.tell(job, line)
        self.announce()
        self.first_failure.look(line)

    def note(self, lines: Iterable[Evaluation]) -> None:
        """Write lines that are no results."""
        for line in lines:
            self._journal.append(line)

    def announce(self) -> None:
        """Report the news whose lines are on the disk."""
        number, news = self._journal.appended, self._decider.news
        while news:
            self._news.append((number, news.popleft()))
        while self._news and self._news[0][0] <= self._journal.settled:
            _, progress = self._news.popleft()
            if self._on_news is not None:
                self._on_news(progress)

    def flush(self) -> None:
        """Bring all lines to the disk, and report all news."""
        self._journal.sync()
        self.announce()
