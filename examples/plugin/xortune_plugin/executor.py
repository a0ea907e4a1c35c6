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
    """Sends each batch to a process that lives as long as the search."""

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
        self._trains[self._pool.submit(trained, *given)] = batch

    def receive(self, seconds):
        """Tell each batch that has ended what has come of it."""
        if not self._trains:
            time.sleep(seconds)
        ended, _ = wait(self._trains, seconds, return_when=FIRST_COMPLETED)
        broken = False
        for future in ended:
            batch = self._trains.pop(future)
            try:
                for piece in future.result():
                    batch.trained(piece.parts, piece.results, piece.seconds)
                batch.end()
            except BrokenProcessPool as error:
                batch.lose(WorkerFailure("batch", str(error)))
                broken = True
            except Exception as error:
                batch.fail(str(error), error)
        if broken:
            self._pool = self._processes()

    def stop(self):
        """Drop what waits; what trains ends by itself."""
        self._pool.shutdown(cancel_futures=True)
        self.receive(0.0)


FUTURES = ExecutorKind(
    "futures",
    "processes of concurrent.futures",
    lambda asked: "XORTUNE_FUTURES" in os.environ,
    lambda asked: Futures(asked.trainer, int(os.environ["XORTUNE_FUTURES"])),
)
