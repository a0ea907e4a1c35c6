"""A trainer for tests with Ray: on a device whose memory holds 64 networks at once."""

import logging
import os
from collections.abc import Sequence
from unittest.mock import patch

import torch

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block
from xortune.trainers import reference, stacked
from xortune.trainers.network import NetworkTrainer


class Small(NetworkTrainer):
    """Says which GPU it was given, and then runs out of memory where it may."""

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        given = os.environ.get("CUDA_VISIBLE_DEVICES")
        logging.getLogger("xortune.trainers").warning("was given GPU %s", given)
        with patch.object(stacked, "looks", looks):
            return super().train(blocks)


def looks(config, task, weights, optimizer, checkpoints):
    if weights.shape[1] > 64:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return reference.looks(config, task, weights, optimizer, checkpoints)
