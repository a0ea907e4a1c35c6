"""Runs a user's async functions, in an event loop that a process keeps."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

END_SECONDS = 1.0
"""Seconds that awaited attempts have to end when the process does."""


@functools.cache
def _event_loop(process: int) -> asyncio.AbstractEventLoop:
    """The event loop of all async functions of a process, in a thread of its own.

    One loop serves the check and the search, since a client that a user's module keeps belongs to
    the loop that used it first. A notebook's own loop is running already.
    """
    loop = asyncio.new_event_loop()

    def run() -> None:
        is_ended = False
        while not is_ended:
            # A task that raises these leaves the loop, and who awaits it would wait for ever.
            with suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()
                is_ended = True

    thread = threading.Thread(target=run, name="async attempts", daemon=True)
    thread.start()

    async def cancel_all() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            if not task.cancelling():  # a second time would break off what it does to end
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_SECONDS)

    def end() -> None:
        if os.getpid() != process:
            return
        # An interrupt has cancelled attempts, which have to run on to end.
        with suppress(TimeoutError, KeyboardInterrupt):
            asyncio.run_coroutine_threadsafe(cancel_all(), loop).result(2 * END_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(1)

    atexit.register(end)
    return loop


def begin(attempt: Coroutine[Any, Any, Any]) -> Future[Any]:
    """Begin a coroutine in the event loop of async functions."""
    return asyncio.run_coroutine_threadsafe(attempt, _event_loop(os.getpid()))


def finished(attempt: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine."""
    future = begin(attempt)
    try:
        return future.result()
    finally:
        future.cancel()
