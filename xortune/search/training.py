"""What is done with a pack of blocks where it is trained: on a worker, or in this process."""

from __future__ import annotations

from collections.abc import Sequence

from xortune.engine.custom import CustomTrainer
from xortune.engine.custom_result import one_line
from xortune.engine.time_over import ending_at, time_is_over
from xortune.errors import TrainingError, named
from xortune.evaluation import Packed, pack
from xortune.outcome import Outcome
from xortune.search.own_process import ProcessEnded, kills_late, train_apart
from xortune.trainer import Block, OutOfTime, Trainer, Unfinished, runs_users_code

__all__ = ["trained"]


def trained(
    trainer: Trainer, blocks: Sequence[Block], *, apart: bool = False, until: float | None = None
) -> list[Packed | TrainingError] | TrainingError:
    """One result or error for each block, or one error for all.

    Outcomes are packed here, where there are many processors, and are small on their way.

    Args:
        trainer: what trains.
        blocks: what is trained.
        apart: in a process of its own, if it is a user's function; it is kept until `let_go`.
        until: when the search's time is over, by `time.time`: nothing begins afterwards. What is
            not the code of users trains a pack as one, in seconds.

    Raises:
        ProcessEnded: a seed ended that process.
    """
    try:
        with ending_at(until):
            results: list[Outcome | TrainingError] = []
            for part in [[one] for one in blocks] if runs_users_code(trainer) else [blocks]:
                if time_is_over():
                    results += [OutOfTime() for _ in part]
                elif isinstance(trainer, CustomTrainer) and (apart or kills_late(trainer)):
                    results += [train_apart(trainer, block) for block in part]
                else:
                    results += trainer.train(part)
        return [_packed(block, result) for block, result in zip(blocks, results, strict=True)]
    except ProcessEnded:
        raise
    except Exception as error:  # a trainer's own; the worker lives on for the next pack
        return TrainingError(one_line(named(error)))


def _packed(block: Block, result: Outcome | TrainingError) -> Packed | TrainingError:
    if isinstance(result, Outcome):
        return pack(block, result)
    if isinstance(result, Unfinished) and result.outcome is not None:
        first = Block(block.point, block.first, result.outcome.n)
        return type(result)(pack(first, result.outcome))
    return result
