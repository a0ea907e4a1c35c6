"""The verb `status`: where a run stands, while it runs or afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from xortune.errors import InputError
from xortune.run import Run
from xortune.status import RunStatus, Watcher, run_status

__all__ = ["status", "watched"]


def status(run: Run | str | os.PathLike[str]) -> RunStatus:
    """Where a run stands at this moment; its directory is read and never written to.

    Args:
        run: its directory, or a run that was loaded, whose directory is looked at again.

    Raises:
        InputError: there is no run, or a line of its journal, its manifest or its certificate is
            damaged.
    """
    return run_status(run.path if isinstance(run, Run) else run)


def watched(path: str | os.PathLike[str], *, interval: float = 2.0) -> Iterator[RunStatus]:
    """Looks at a run, one at once and then one after each interval; the last one is of its end.

    Each look reads only what was appended since the one before.

    Args:
        path: the run's directory.
        interval: seconds between two looks.

    Raises:
        InputError: as `status`, or an interval that is not above 0.
    """
    if not 0 < interval <= 86_400:
        raise InputError(
            f"{interval}", field="interval", allowed="seconds, above 0 and at most a day"
        )
    watcher = Watcher(path)
    while True:
        found = watcher.look()
        yield found
        if found.state != "running":
            return
        time.sleep(interval)
