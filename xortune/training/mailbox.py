"""What the driver and the workers of Ray tell each other: an actor that both call.

A worker is busy with training and cannot be called, so it asks for its next batch. The process of
this actor is on the driver's machine. It imports nothing but this module, and passes on what it
gets as bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

HERE, TAKEN, SAID, ENDED = "here", "taken", "said", "ended"
"""Events: a worker has begun (its host and process id, its actor); it got a batch (its number);
it said something (pickled messages); it has ended (what the driver's other thread knows of that).
"""

Event: TypeAlias = tuple[str, str, Any]
"""The worker's id, what happened, and more of it."""

ForWorker: TypeAlias = tuple[bytes, float | None]
"""Pickled blocks, and the seconds left in which trainings may begin."""

BlockId: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class _WaitingBatch:
    """A batch that waits for a worker; `deadline` is of `time.monotonic` here."""

    number: int
    content: bytes
    deadline: float | None


class Mailbox:
    """Hands batches to workers, the oldest to whoever has waited longest, and keeps what they say.

    All methods are called in one thread, in the order in which their calls arrive.
    """

    def __init__(self) -> None:
        self._batches: deque[_WaitingBatch] = deque()
        self._waiting: dict[str, asyncio.Future[ForWorker]] = {}
        self._ended: set[str] = set()
        self._cancelled: set[BlockId] = set()
        self._events: list[Event] = []
        self._news = asyncio.Event()

    # The driver calls these.

    async def put(self, number: int, content: bytes, left: float | None) -> None:
        """Keep a batch for the next free worker.

        Args:
            number: of the batch.
            content: the pickled blocks.
            left: seconds in which trainings may begin; None: any time.
        """
        deadline = None if left is None else time.monotonic() + left
        self._batches.append(_WaitingBatch(number, content, deadline))
        self._hand_out()

    async def cancel(self, blocks: Iterable[BlockId]) -> None:
        """Note blocks whose results are not wanted any more."""
        self._cancelled.update(blocks)

    async def end(self, worker: str, why: bytes) -> None:
        """Note that a worker has ended; the driver gets this after all that the worker has said."""
        self._ended.add(worker)
        if (waits := self._waiting.pop(worker, None)) is not None:
            waits.cancel()
        self._add(worker, ENDED, why)

    async def wake(self) -> None:
        """Have `events` return what there is, perhaps nothing."""
        self._news.set()

    async def events(self) -> list[Event]:
        """What has happened since the last call; waits until something has."""
        await self._news.wait()
        self._news.clear()
        events, self._events = self._events, []
        return events

    # The workers call these.

    async def begin(self, worker: str, name: str, actor: bytes) -> None:
        """Note that a worker has begun.

        Args:
            worker: its id.
            name: its host and process id.
            actor: its pickled handle.
        """
        self._keep(worker, None)
        self._add(worker, HERE, (name, actor))

    async def next(self, worker: str, said: bytes | None) -> ForWorker:
        """Keep what a worker says of its last batch, and return its next one once there is one."""
        self._keep(worker, said)
        waits: asyncio.Future[ForWorker] = asyncio.get_running_loop().create_future()
        self._waiting[worker] = waits
        self._hand_out()
        return await waits

    async def say(self, worker: str, said: bytes | None, block: BlockId) -> bool:
        """Keep what a worker says, and return whether the results of a block are wanted."""
        self._keep(worker, said)
        return block not in self._cancelled

    def _keep(self, worker: str, said: bytes | None) -> None:
        if worker in self._ended:  # its batch is another worker's
            raise RuntimeError("the driver has given this worker up")
        if said is not None:
            self._add(worker, SAID, said)

    def _hand_out(self) -> None:
        while self._batches and self._waiting:
            batch, worker = self._batches.popleft(), next(iter(self._waiting))
            now = time.monotonic()
            left = None if batch.deadline is None else max(0.0, batch.deadline - now)
            self._waiting.pop(worker).set_result((batch.content, left))
            self._add(worker, TAKEN, batch.number)

    def _add(self, worker: str, what: str, content: Any) -> None:
        self._events.append((worker, what, content))
        self._news.set()
