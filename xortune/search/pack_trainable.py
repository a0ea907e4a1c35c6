"""What runs on a worker: the training of packs, one after the other."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import xortune.search.ray_settings  # noqa: F401  # before Ray itself
from xortune.engine.custom_call import asked_of_reports
from xortune.engine.threads import use_threads
from xortune.engine.words import heard
from xortune.search.given_up import Reader
from xortune.search.training import trained
from xortune.search.uses_of_ray import refusing_tasks
from xortune.search.versions import refuse_other_versions
from xortune.trainer import Block, Trainer, runs_users_code

# isort: split
from ray import tune

__all__ = ["PackTrainable"]


class PackTrainable(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Trains the pack of blocks in its config, once."""

    def setup(
        self,
        config: dict[str, Any],  # noqa: ARG002
        trainer: Trainer,
        drivers: dict[str, str],
        board: Any = None,
    ) -> None:
        """Keep the trainer; the actor is used for many packs."""
        refuse_other_versions(drivers)
        if runs_users_code(trainer) and (threads := getattr(trainer, "threads", None)):
            use_threads(threads)
        self._trainer = trainer
        self._given_up = None if board is None else Reader(board).given_up

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
        """Nothing of the last pack is left."""
        return True

    def step(self) -> dict[str, Any]:
        """One result or error for each block of the pack, or one error for all."""
        started = time.perf_counter()
        # Out of the config, which Tune sends back with the result.
        blocks: Sequence[Block] = self.config.pop("pack")
        own = refusing_tasks() if runs_users_code(self._trainer) else nullcontext()
        with heard() as words, asked_of_reports(self._given_up), own:
            results = trained(self._trainer, blocks, until=self.config.get("until"))
        return {
            "done": True,
            "results": results,
            "words": words,
            "pack_seconds": time.perf_counter() - started,
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }
