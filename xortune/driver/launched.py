"""A search that trains each seed as a job of another program: a launcher of Hydra, a queue."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from xortune.core.errors import TrainingError, error_text
from xortune.core.outcome import Outcome
from xortune.core.success import Rule
from xortune.core.trainer import Block, Trainer, Traits
from xortune.driver.arguments import Place, SpaceLike
from xortune.driver.search import search_with
from xortune.runs.run import Run
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import load_space
from xortune.trainers.verdicts import SeedResults, crashed, judged, one_line
from xortune.training.executors import LocalExecutor

SeedJob: TypeAlias = tuple[dict[str, Any], int]
"""A configuration and a seed."""

Launch: TypeAlias = Callable[[Sequence[SeedJob]], Sequence[object]]
"""Runs jobs, possibly in parallel; returns for each what it returned or the exception it raised."""


@dataclass(frozen=True)
class LaunchedTrainer(Trainer):
    """Trains with a launcher: all seeds of all blocks are jobs of one launch.

    Attributes:
        launch: runs the jobs.
        label: name of the launched program, for the manifest.
        success: the rule for numbers; None if a job returns true or false.
    """

    launch: Launch
    label: str
    success: Rule | None

    @property
    def traits(self) -> Traits:
        """One call trains all blocks."""
        return Traits(takes_many_blocks=True, rule=self.success)

    def describe(self) -> dict[str, str]:
        """The label and the rule."""
        rule = {} if self.success is None else {"success": str(self.success)}
        return {"trainer": self.label, **rule}

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """Train each seed as a job; a job that raises is a crashed seed."""
        jobs = [(block.point.as_dict(), seed) for block in blocks for seed in block.seeds]
        returned = iter(self._launched(jobs))
        outcomes: list[Outcome | TrainingError] = []
        for block in blocks:
            results = SeedResults(block)
            for value in islice(returned, block.count):
                if isinstance(value, BaseException):
                    shown = "".join(traceback.format_exception(value)).rstrip()
                    results.add(crashed(one_line(error_text(value))), shown)
                else:
                    results.add(judged(value, self.success))
            outcomes.append(results.outcome())
        return outcomes

    def _launched(self, jobs: Sequence[SeedJob]) -> Sequence[object]:
        """What each job returned or raised. If the launch itself fails, launch each job alone."""
        try:
            return self.launch(jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            return [value for job in jobs for value in self._launched([job])]


def search_launched(
    launch: Launch,
    space: SpaceLike,
    output: Place,
    *,
    label: str,
    at_once: int = 1,
    resume: bool = False,
    check: bool = True,
    command: Sequence[str] | None = None,
) -> Run:
    """Search a space with jobs of another program, without Ray.

    Args:
        launch: runs jobs.
        space: as in `search`, without a trainer.
        output: the run's directory.
        label: name of the launched program, for the manifest.
        at_once: maximum blocks of seeds in one launch.
        resume: continue the run in `output`.
        check: whether to launch one job, which is not counted, before a new run begins.
        command: the command line, for the manifest.

    Raises:
        InputError: the space is not usable, or the result of the check cannot be judged.
        KeyboardInterrupt: the user interrupted; what had finished is in the run.
    """
    checked = space if isinstance(space, SearchSpace) else load_space(space)
    trainer = LaunchedTrainer(launch, label, checked.success)
    executor = LocalExecutor(trainer, at_once)
    return search_with(
        executor, trainer, checked, output, resume=resume, check=check, command=command
    )
