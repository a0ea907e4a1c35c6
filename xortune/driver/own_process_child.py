"""What runs in the process of a user's function: it answers one request after the other."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import traceback
from typing import IO, Any

from xortune.core.errors import InputError, TrainingError, named
from xortune.trainers.function import CustomTrainer, form_asked
from xortune.trainers.limits import use_threads
from xortune.trainers.returned import one_line

CLOSED = 89
"""The exit code of a process whose function has closed the pipe for its answers."""

HEADER = struct.Struct("<Q")
"""Before each answer: its length."""


def serve(asked: IO[bytes], answers: int) -> None:
    """Answer until nobody asks any more."""
    depth = sys.getrecursionlimit()
    trainer: CustomTrainer | None = None
    while True:
        try:
            what, given = pickle.load(asked)  # noqa: S301  # from the process that began this one
        except EOFError:
            return
        except (OSError, ValueError):
            os._exit(CLOSED)
        answer: tuple[Any, ...]
        try:
            found = pickle.loads(given)  # noqa: S301
            if what == "form":
                answer = (form_asked(found),)
            elif what == "trainer":
                trainer = found
                use_threads(found.threads)
                answer = (None,)
            else:
                assert trainer is not None
                [result] = trainer.train([found])
                answer = (result,)
        except BaseException as error:  # whatever it is, ours must hear of it
            told = error if isinstance(error, InputError) else TrainingError(one_line(named(error)))
            answer = told, traceback.format_exc()
        sys.setrecursionlimit(depth)  # the function may have changed it
        packed = pickle.dumps(answer)
        view = memoryview(HEADER.pack(len(packed)) + packed)
        try:
            while view:
                view = view[os.write(answers, view) :]
        except OSError:
            os._exit(CLOSED)
