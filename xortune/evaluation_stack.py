"""Outcomes that a journal holds, as one: their arrays are not unpacked one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.evaluation import StoredOutcome
from xortune.outcome import Outcome

__all__ = ["Stack", "stacked"]


@dataclass(frozen=True)
class Stack:
    """The arrays of C outcomes of S seeds and M judged rows, as one.

    Attributes:
        status: uint8, shape (C, S).
        solved_epoch: int32, shape (C, S).
        final_loss: float32, shape (C, S).
        bits: uint8, shape (C, S, bytes): the predictions, packed.
        width: M.
    """

    status: NDArray[np.uint8]
    solved_epoch: NDArray[np.int32]
    final_loss: NDArray[np.float32]
    bits: NDArray[np.uint8]
    width: int


def stacked(outcomes: Sequence[Outcome]) -> Stack | None:
    """What the outcomes hold, in their order; None unless all are stored and of one shape."""
    stored = [o for o in outcomes if isinstance(o, StoredOutcome) and "data" in o.__dict__]
    if not stored or len(stored) < len(outcomes):
        return None
    n, width, size = stored[0].n, stored[0].width, len(stored[0].data)
    if any((o.n, o.width, len(o.data)) != (n, width, size) for o in stored):
        return None
    raw = np.frombuffer(b"".join(o.data for o in stored), np.uint8).reshape(-1, size)
    epochs, losses = (np.ascontiguousarray(raw[:, a * n : (a + 4) * n]) for a in (1, 5))
    return Stack(
        status=raw[:, :n],
        solved_epoch=epochs.view("<i4").astype(np.int32, copy=False),
        final_loss=losses.view("<f4").astype(np.float32, copy=False),
        bits=raw[:, 9 * n :].reshape(len(stored), n, -1),
        width=width,
    )
