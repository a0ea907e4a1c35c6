"""An executor: the processes of `concurrent.futures`, where XORTUNE_FUTURES says how many."""

import multiprocessing
import os
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from xortune.training.executors import ExecutorKind
from xortune.training.jobs import WorkerFailure
from xortune.training.loop import Executor
from xortune.training.worker import pieces


def trained(trainer, blocks, until):
    """What a process does with a batch."""
    return list(pieces(trainer, blocks, until=until))


class Futures(Executor):
    """Sends each batch to a process that lives as long as the search.

    A process that dies breaks all others of its pool, and so all batches that train then are lost.
    """

    def __init__(self, trainer, slots):
        super().__init__(trainer, slots)
        self._pool, self._trains = self._processes(), {}

    def _processes(self):
        return ProcessPoolExecutor(self.slots, multiprocessing.get_context("spawn"))

    def send(self, batch):
        """Submit it; whatever breaks its process may be the fault of each of its seeds."""
        batch.worker = "futures"
        batch.begin_all()
        given = self.trainer, batch.blocks, batch.until
        try:
            future = self._pool.submit(trained, *given)
        except BrokenProcessPool:
            self._pool = self._processes()
            future = self._pool.submit(trained, *given)
        self._trains[future] = batch

    def receive(self, seconds):
        """Tell each batch that has ended what has come of it."""
        if not self._trains:
            time.sleep(seconds)
        ended, _ = wait(self._trains, seconds, return_when=FIRST_COMPLETED)
        for future in ended:
            batch = self._trains.pop(future)
            try:
                for piece in future.result():
                    batch.trained(piece.parts, piece.results, piece.seconds)
                batch.end()
            except BrokenProcessPool as error:
                batch.lose(WorkerFailure("batch", str(error)))
            except Exception as error:
                batch.fail(str(error), error)

    def stop(self):
        """Drop what waits; what trains ends by itself."""
        self._pool.shutdown(cancel_futures=True)
        self._trains = {f: batch for f, batch in self._trains.items() if not f.cancelled()}
        self.receive(0.0)


FUTURES = ExecutorKind(
    "futures",
    "processes of concurrent.futures",
    lambda asked: "XORTUNE_FUTURES" in os.environ,
    lambda asked: Futures(asked.trainer, int(os.environ["XORTUNE_FUTURES"])),
)
