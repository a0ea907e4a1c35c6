"""What is done with a pack of blocks where it is trained: on a worker, or in this process."""

from __future__ import annotations

from collections.abc import Sequence

from xortune.engine.custom import CustomTrainer
from xortune.engine.custom_result import one_line
from xortune.errors import TrainingError, named
from xortune.evaluation import Packed, pack
from xortune.outcome import Outcome
from xortune.search.own_process import ProcessEnded, kills_late, train_apart
from xortune.trainer import Block, Trainer, Unfinished

__all__ = ["trained"]


def trained(
    trainer: Trainer, blocks: Sequence[Block], *, apart: bool = False
) -> list[Packed | TrainingError] | TrainingError:
    """One result or error for each block, or one error for all.

    Outcomes are packed here, where there are many processors, and are small on their way.

    Args:
        trainer: what trains.
        blocks: what is trained.
        apart: in a process of its own, if it is a user's function; it is kept until `let_go`.

    Raises:
        ProcessEnded: a seed ended that process.
    """
    try:
        if isinstance(trainer, CustomTrainer) and (apart or kills_late(trainer)):
            results = [train_apart(trainer, block) for block in blocks]
        else:
            results = trainer.train(blocks)
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
        return Unfinished(pack(first, result.outcome))
    return result
