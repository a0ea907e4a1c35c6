"""A search whose seeds somebody else launches, each as a job: Hydra's launchers, a queue."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from xortune.core.errors import TrainingError, named
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.success import Success
from xortune.core.trainer import Block
from xortune.driver.batches import Batches, Done, Job, WorkerFailure
from xortune.driver.executors import train_blocks
from xortune.driver.search import Place, SpaceLike, search_with
from xortune.runs.run import Run
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import load_space
from xortune.trainers.verdicts import SeedResults, crashed, judged, one_line

SeedJob: TypeAlias = tuple[dict[str, Any], int]
"""A configuration and a seed."""

Launch: TypeAlias = Callable[[Sequence[SeedJob]], Sequence[object]]
"""Runs jobs, side by side as it likes; what each returned, or the exception that it raised."""

SECONDS = 1.0
"""Assumed for a job until jobs are measured; see `trainers.function.SECONDS`."""


@dataclass(frozen=True)
class LaunchedTrainer:
    """Trains by a launcher: all seeds of all blocks are jobs of one launch.

    Attributes:
        launch: runs the jobs.
        label: of what is launched, for the manifest.
        success: the rule for numbers; None if a job returns true or false.
    """

    launch: Launch
    label: str
    success: Success | None

    def check(self, point: Point) -> Point:
        """The point as it is: only the job knows what it means."""
        return point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `core.trainer.Trainer.cost`."""
        return block.count * SECONDS

    def describe(self) -> dict[str, str]:
        """What is launched, and the rule."""
        rule = {} if self.success is None else {"success": str(self.success)}
        return {"trainer": self.label, **rule}

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block; a job that failed is a seed that crashed."""
        jobs = [(block.point.as_dict(), seed) for block in blocks for seed in block.seeds]
        returned = iter(self._launched(jobs))
        outcomes: list[Outcome | TrainingError] = []
        for block in blocks:
            results = SeedResults(block)
            for one in islice(returned, block.count):
                if isinstance(one, BaseException):
                    shown = "".join(traceback.format_exception(one)).rstrip()
                    results.add(crashed(one_line(named(one))), shown)
                else:
                    results.add(judged(one, self.success))
            outcomes.append(results.outcome())
        return outcomes

    def _launched(self, jobs: Sequence[SeedJob]) -> Sequence[object]:
        """What came of each job; where the launch itself fails, each job is launched alone."""
        try:
            return self.launch(jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            return [one for job in jobs for one in self._launched([job])]


class LaunchExecutor:
    """Trains up to so many batches at once, as one launch.

    Args:
        trainer: launches them.
        slots: batches; each holds at least one seed.
    """

    brief = False

    def __init__(self, trainer: LaunchedTrainer, slots: int) -> None:
        self._trainer, self.slots = trainer, slots
        self._waiting: list[tuple[Job, ...]] = []
        self._until: float | None = None
        self.done: deque[Done] = deque()

    def takes(self, batches: Batches) -> bool:  # noqa: ARG002  # one is as good as another
        """Whether the next launch has room."""
        return len(self._waiting) < self.slots

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Keep the batch for `wait`."""
        self._until = None if seconds_left is None else time.time() + seconds_left
        self._waiting.append(jobs)

    def wait(self, batches: Batches) -> None:  # noqa: ARG002  # all of it comes back
        """Launch what has been submitted."""
        waiting, self._waiting = self._waiting, []
        blocks = [job.block for jobs in waiting for job in jobs]
        began = time.perf_counter()
        results = train_blocks(self._trainer, blocks, deadline=self._until)
        seconds = time.perf_counter() - began
        worker, first = f"{socket.gethostname()}:{os.getpid()}", 0
        for jobs in waiting:
            share = seconds * sum(job.block.count for job in jobs) / sum(b.count for b in blocks)
            own = results
            if not isinstance(own, WorkerFailure):
                own = own[first : first + len(jobs)]
            self.done.append(Done(jobs, own, share, worker))
            first += len(jobs)

    def stop(self) -> None:
        """Nothing runs in between."""


def search_launched(
    launch: Launch,
    space: SpaceLike,
    output: Place,
    *,
    label: str,
    at_once: int = 1,
    resume: bool = False,
    dry_run: bool = True,
    command: Sequence[str] | None = None,
) -> Run:
    """Search a space by jobs that somebody else launches; no Ray is started.

    Args:
        launch: runs jobs.
        space: as in `search`, without a trainer.
        output: the run's directory.
        label: of what is launched, for the manifest.
        at_once: blocks of seeds in one launch, at most.
        resume: continue the run in `output`.
        dry_run: whether one job is launched, and not counted, before a new run begins.
        command: the command line, for the manifest.

    Raises:
        InputError: the space is not usable, or what the dry run returned cannot be judged.
        KeyboardInterrupt: the user interrupted; what had finished is in the run.
    """
    checked = load_space(space) if not isinstance(space, SearchSpace) else space
    trainer = LaunchedTrainer(launch, label, checked.success)
    executor = LaunchExecutor(trainer, at_once)
    return search_with(
        executor, trainer, checked, output, resume=resume, dry_run=dry_run, command=command
    )
