"""A command as a trainer: run for each seed, in any language."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from xortune.engine.command_files import Kept, kept_files
from xortune.engine.command_process import ran
from xortune.engine.command_result import verdict_of
from xortune.engine.command_settings import EXIT_CODE, Command
from xortune.engine.time_over import time_is_over
from xortune.errors import TrainingError
from xortune.outcome import Outcome
from xortune.outcome_details import NO_DETAILS, Details
from xortune.point import Point
from xortune.success import Success
from xortune.trainer import Block, OutOfTime

__all__ = ["MOST_OUTPUTS", "CommandTrainer", "command_trainer"]

SECONDS = 0.1
"""Taken for a seed as long as nothing is measured; see `xortune.engine.custom.SECONDS`."""

MOST_OUTPUTS = 16
"""Seeds of a block whose output is kept: what others printed is mostly the same."""


@dataclass(frozen=True)
class CommandTrainer:
    """Trains by a command, seed after seed.

    A seed has crashed if the command cannot be started, takes too long, ends with another exit code
    than 0, or prints no number where one is due. The end of what it printed is kept then.

    Attributes:
        command: what is run.
        success: the rule for its numbers, or None.
        kept: its files, and where it runs.
        threads: that OMP_NUM_THREADS says it may use.
        users_code: a seed may take longer than a pack may; see `xortune.search.narrow`.
    """

    command: Command
    success: Success | None
    kept: Kept
    threads: int = 1
    users_code: ClassVar[bool] = True

    def check(self, point: Point) -> Point:
        """The point as it is: only the command knows what it means."""
        return point

    def cost(self, block: Block) -> float:
        """Seconds on one core; see `xortune.trainer.Trainer.cost`."""
        return block.count * SECONDS

    def describe(self) -> dict[str, str]:
        """The command, the digest of its files, and all that decides what its seeds come to."""
        command = self.command
        told = {"trainer": command.template.text, "source": self.kept.digest}
        if command.by_exit or self.success is not None:
            told["success"] = EXIT_CODE if command.by_exit else str(self.success)
        if command.metric is not None:
            told["metric"] = command.metric
        if command.timeout is not None:
            told["timeout"] = f"{command.timeout:g} s"
        if self.threads != 1:
            told["threads"] = str(self.threads)
        return told

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One outcome for each block."""
        folder = self.kept.folder()
        return [_trained(self, block, folder) for block in blocks]


def command_trainer(command: Command, success: Success | None, folder: Path) -> CommandTrainer:
    """The trainer of a command, whose files are read here.

    Args:
        command: what is run.
        success: the rule for its numbers.
        folder: of the space file.

    Raises:
        InputError: a file that cannot be read, or too many.
    """
    return CommandTrainer(command, success, kept_files(folder, command.template, command.files))


def _trained(trainer: CommandTrainer, block: Block, folder: Path) -> Outcome | TrainingError:
    command, config = trainer.command, block.point.as_dict()
    n = block.count
    status = np.empty(n, np.uint8)
    values: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    failed: dict[int, str] = {}
    output: dict[int, str] = {}
    first: str | None = None
    for place, seed in enumerate(block.seeds):
        if time_is_over():
            n = place
            break
        argv = command.template.argv(config, seed)
        came = ran(argv, folder, command.timeout, trainer.threads)
        verdict = verdict_of(came, trainer.success, command.metric, by_exit=command.by_exit)
        status[place] = verdict.status
        for name, number in verdict.values.items():
            values.setdefault(name, np.full(n, np.nan))[place] = number
        if verdict.reason is not None:
            failed[seed] = verdict.reason
            output[seed] = came.output.decode("utf-8", "replace")
            if first is None:
                first = _shown(argv, folder, output[seed], verdict.reason)
    if not n:
        return OutOfTime()
    values = {name: numbers[:n] for name, numbers in values.items()}
    outcome = Outcome(
        seeds=np.arange(block.first, block.first + n, dtype=np.int64),
        epochs=0,
        status=status[:n],
        solved_epoch=np.zeros(n, np.int32),
        final_loss=np.full(n, np.nan, np.float32),
        predictions=np.zeros((n, 0), np.bool_),
        details=Details(values, failed, first, _chosen(failed, output))
        if values or failed
        else NO_DETAILS,
    )
    return outcome if n == block.count else OutOfTime(outcome)


def _shown(argv: Sequence[str], folder: Path, output: str, reason: str) -> str:
    """A failure as a terminal would have shown it."""
    return "\n".join(
        part for part in (f"{folder}$ {shlex.join(argv)}", output.rstrip(), reason) if part
    )


def _chosen(failed: Mapping[int, str], output: Mapping[int, str]) -> dict[int, str]:
    """The output of some failed seeds: of each reason one before there is a second of any.

    Numbers in what a program said last make no other reason: they are mostly the seed.
    """
    seen: Counter[str] = Counter()
    rank = {}
    for seed, reason in failed.items():
        what, _, last = reason.partition(": ")
        kind = f"{what}: {re.sub('[0-9]+', '0', last)}"
        seen[kind] += 1
        rank[seed] = seen[kind]
    told = [seed for seed in failed if output[seed].strip()]
    chosen = sorted(told, key=lambda seed: (rank[seed], seed))[:MOST_OUTPUTS]
    return {seed: output[seed] for seed in sorted(chosen)}
