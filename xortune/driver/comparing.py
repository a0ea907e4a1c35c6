"""Fresh seeds for a comparison: the same for all configs, trained on this machine.

Built-in networks are trained in this process, a user's function in a process of its own.

What is trained goes into a journal of its own, one for each engine with its versions, so that a
comparison that was interrupted, or asks for more seeds, goes on where the last one stopped.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.trainer import Block, Trainer, runs_users_code
from xortune.driver.certifying import BLOCK_SECONDS, LEAST_SEEDS
from xortune.driver.jobs import ATTEMPTS, CrashBisector, Job, trained
from xortune.driver.own_process import ProcessEnded, let_go_after
from xortune.runs.evaluation import EncodedOutcome, Evaluation
from xortune.runs.journal import read
from xortune.runs.lock import RunLock, held
from xortune.runs.results import ConfigResults
from xortune.runs.sessions import SignedJournal, identity_of, made_id


@dataclass(frozen=True)
class WantedSeeds:
    """A config that lacks seeds.

    Attributes:
        point: the config.
        trainer: what trains it.
    """

    point: Point
    trainer: Trainer

    @property
    def made(self) -> str:
        """Digest of what trains it; see `sessions.made_id`."""
        return made_id(identity_of(self.trainer.describe()))


def train_shared(
    directory: Path,
    wanted: Sequence[WantedSeeds],
    seeds: range,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Train each config under all the seeds, those left out that the directory has already.

    Args:
        directory: where the journals are, or will be.
        wanted: what lacks seeds; one that is wanted twice is trained once.
        seeds: the same for all.
        on_progress: called with the seeds done and all seeds, at first and after each block; not
            if there is nothing to do.
        on_word: called with a sentence for the user.

    Returns:
        One outcome for each, of just these seeds in their order. Seeds of a block that finally
        produced nothing are in it as crashed.

    Raises:
        InputError: the directory cannot be written, or somebody else writes to it.
        KeyboardInterrupt: the user interrupted; an equal call goes on.
    """
    with held(directory, say=on_word) as lock:
        known = {one.made: _outcomes(directory, one.made) for one in wanted}
        missing = {
            (one.made, one.point.key): (one, _missing(seeds, known[one.made].get(one.point.key)))
            for one in wanted
        }
        total = len(missing) * len(seeds)
        done = total - sum(len(part) for _, parts in missing.values() for part in parts)
        tell = on_progress or (lambda *_: None)
        if done < total:
            tell(done, total)
        for one, parts in missing.values():
            for count in _train(one, parts, directory, lock):
                done += count
                tell(done, total)
        found = {made: _outcomes(directory, made) for made in known}
    return [_only(found[one.made][one.point.key], seeds) for one in wanted]


def _train(
    one: WantedSeeds, parts: Iterable[range], directory: Path, lock: RunLock
) -> Iterator[int]:
    """The number of seeds of each block, when its line is written."""
    worker = f"{socket.gethostname()}:{os.getpid()}"
    todo = deque(Job(0, block) for part in parts for block in _blocks(one, part))
    if not todo:
        return
    narrow = CrashBisector()  # if a seed of a user's function ends its process, which one is it?
    alike = not runs_users_code(one.trainer)  # a seed is as good as another, as in `Batches`
    place = directory / _journal(one.made)
    with SignedJournal.signing(place, one.made, lock=lock) as journal, let_go_after():
        while todo:
            job = todo.popleft()
            if not alike:
                job, *others = narrow.parts(job)
                todo.extendleft(reversed(others))
            started = time.perf_counter()
            result: EncodedOutcome | TrainingError
            try:
                tried = narrow.hopeless(job) or trained(one.trainer, [job.block], apart=True)
                result = tried if isinstance(tried, TrainingError) else tried[0]
                if not isinstance(result, TrainingError):
                    narrow.came(job)
            except ProcessEnded as error:
                result = TrainingError(str(error))
                if smaller := narrow.died(job, result):
                    todo.extendleft(reversed(smaller))
                    continue
            failed = isinstance(result, TrainingError)
            line = Evaluation(
                proposal=0,
                block=job.block,
                outcome=None if isinstance(result, TrainingError) else result,
                error=str(result) if isinstance(result, TrainingError) else None,
                final=not failed or job.attempt == ATTEMPTS,
                seconds=time.perf_counter() - started,
                worker=worker,
            )
            journal.append(line)
            if line.final:
                yield job.block.count
            else:
                todo.appendleft(replace(job, attempt=job.attempt + 1))


def _blocks(one: WantedSeeds, part: range) -> Iterator[Block]:
    """Of about a second each, so that little is lost when somebody interrupts."""
    whole = Block(one.point, part.start, len(part))
    each = one.trainer.cost(whole) / whole.count
    size = whole.count if each <= 0 else max(round(BLOCK_SECONDS / each), LEAST_SEEDS)
    for first in range(part.start, part.stop, size):
        yield Block(one.point, first, min(size, part.stop - first))


def _journal(made: str) -> str:
    return f"trained-{made}.jsonl"


def _outcomes(directory: Path, made: str) -> dict[str, Outcome]:
    """What the directory has of each config, by its key."""
    place = directory / _journal(made)
    if not place.exists():
        return {}
    return {result.key: result.outcome for result in ConfigResults(read(place)[0])}


def _missing(seeds: range, have: Outcome | None) -> list[range]:
    """What is left of the seeds, as ascending parts without gaps."""
    wanted = np.array(seeds)
    left = wanted if have is None else np.setdiff1d(wanted, have.seeds)
    parts = np.split(left, np.flatnonzero(np.diff(left) > 1) + 1)
    return [range(int(part[0]), int(part[-1]) + 1) for part in parts if part.size]


def _only(outcome: Outcome, seeds: range) -> Outcome:
    """The part of an outcome that is of these seeds, ascending."""
    kept = np.flatnonzero((outcome.seeds >= seeds.start) & (outcome.seeds < seeds.stop))
    kept = kept[np.argsort(outcome.seeds[kept])]
    return Outcome(
        seeds=outcome.seeds[kept],
        epochs=outcome.epochs,
        status=outcome.status[kept],
        solved_epoch=outcome.solved_epoch[kept],
        final_loss=outcome.final_loss[kept],
        predictions=outcome.predictions[kept],
    )
