"""A driver without Ray, for tests: `python study_driver.py SPACE RUN STORAGE`."""

import sys
import time
from pathlib import Path

from fakes import Plain, Queue, by_rate

from xortune.driver.propose import join_study, proposer_for, shared_study
from xortune.runs.journal import Journal
from xortune.runs.run import JOURNAL, create
from xortune.spaces.space import parse_space


def drive(space, directory, storage, *, pause=0.0, most=None):
    """Search into a directory that may hold some of it; stop after `most` results, as if killed."""
    shared = join_study(shared_study(space, storage, None), space, directory, lambda _: None)
    known = ()
    if (directory / JOURNAL).exists():
        from xortune.runs.run import load_run

        known = load_run(directory).evaluations
    else:
        create(directory, space_text=space.text, manifest={"study": shared.entry})
    with Journal.open(directory / JOURNAL) as journal:
        proposer = proposer_for(space, shared=shared)
        queue = Queue(space, Plain(), proposer, journal, window=3, known=known)
        while most != 0 and (job := queue.next_job()) is not None:
            time.sleep(pause)
            queue.receive(job, by_rate(job.block), seconds=0.1, worker="here:1")
            most = None if most is None else most - 1
        assert most is not None or queue.finished
    return shared.run


if __name__ == "__main__":
    text, run, storage = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    drive(parse_space(text, "space"), Path(run), storage, pause=0.02)
