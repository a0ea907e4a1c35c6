"""Seeds that cannot be tried: which exceptions say so, and how many of them a run may have.

A rate limit or a lost mount says nothing of the training. Its seed is tried again by whoever trains
it (`worker.pieces`, `executors.EventLoop`), and in the end void: see `core.trainer.Void`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from xortune.core.errors import InputError, check_number, kind_of
from xortune.core.trainer import Trainer
from xortune.trainers.function import CustomTrainer

MAX_VOID = 0.05
"""The share of seeds that may be void where the user gives none."""

LEAST_JUDGED = 20
"""The share of void seeds is judged as if at least so many had been tried."""


def exceptions(retry: object) -> tuple[type[BaseException], ...]:
    """The argument `retry` as classes of exceptions.

    Raises:
        InputError: it is something else.
    """
    listed = retry if isinstance(retry, Sequence) else (retry,)
    for one in listed:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            allowed = "a class of exceptions, or several: (RateLimitError, ConnectionError)"
            raise InputError(kind_of(one), field="retry", allowed=allowed)
    return tuple(listed)


def retrying(trainer: Trainer, retry: object) -> Trainer:
    """The trainer that tries seeds again which raise one of these exceptions.

    Raises:
        InputError: it is no function, or these are no exceptions.
    """
    if not (classes := exceptions(retry)):
        return trainer
    if not isinstance(trainer, CustomTrainer) or trainer.form.stacked:
        raise InputError(
            "no function trains that could raise it",
            field="retry",
            allowed="with train=, a function",
            fix=f"a command exits with code {os.EX_TEMPFAIL} where it is to be tried again",
        )
    return replace(trainer, retry=classes)


def checked_max_void(share: float | None) -> float:
    """The argument `max_void`, a share.

    Raises:
        InputError: it is none.
    """
    if share is None:
        return MAX_VOID
    check_number("max_void", share, lambda one: 0 <= one <= 1, "0 to 1")
    return share
