"""TensorBoard: one run for each configuration, which its HParams page shows as a row.

What belongs into a configuration's event file follows from the run's journal, byte by byte. So a
second call finds all of it there, one after a crash completes the record that was torn, and where
seeds have come, they are appended; TensorBoard reads on from where it was.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xortune.core.files import writing
from xortune.integrations.tracker import About, ConfigLog, Tracker
from xortune.runs.files import replace_file

FILE = "events.out.tfevents.0000000000.xortune"
"""TensorBoard knows event files by the middle of their name."""


class TensorBoard(Tracker):
    """Event files below a directory.

    Args:
        folder: the directory; None for `tensorboard` in the run's own.

    Raises:
        InputError: the package is not installed, or the directory cannot be written.
    """

    name = "TensorBoard"
    package = "tensorboard"

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self._folder = folder
        self.place = str(folder or "tensorboard")
        if folder is not None:
            with writing(folder, "give another directory"):
                folder.mkdir(parents=True, exist_ok=True)

    def begin(self, about: About) -> None:
        """Find out where that is: each configuration has a file of its own."""
        if self._folder is None:
            self.place = str(about.path / "tensorboard")

    def log(self, config: ConfigLog, about: About) -> None:
        """Bring a configuration's event file up to date."""
        below = Path(self.place) if self._folder is None else self._folder / about.title
        file = below / config.key / FILE
        wanted = events_of(config, closed=about.state == "finished")
        held = file.read_bytes() if file.exists() else b""
        if held == wanted:
            return
        # A link in a run that was got from somebody leads to what is no event file of it.
        if wanted.startswith(held) and not file.is_symlink():
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab") as end:
                end.write(wanted[len(held) :])
        else:  # it was closed and the search went on, or it is certified anew
            replace_file(file, wanted)


def events_of(config: ConfigLog, *, closed: bool) -> bytes:
    """A configuration's event file.

    Args:
        config: of which nothing may be missing that was logged before.
        closed: whether nothing follows: then it ends with what fresh seeds say, and as a success
            (it was evaluated; how many of its seeds are solved is its result).
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    memory = io.BytesIO()
    writer = RecordWriter(memory)

    def write(at: int, **what: Any) -> None:
        writer.write(Event(wall_time=float(at), **what).SerializeToString(deterministic=True))

    def scalars(at: int, step: int, numbers: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=v) for name, v in numbers.items()]
        write(at, step=step, summary=Summary(value=values))

    first, last = config.steps[0], config.steps[-1]
    given = {name: value for name, value in config.parameters.items() if value is not None}
    write(first.at, file_version="brain.Event:2")
    begin = hparams_pb(given, trial_id=config.key, start_time_secs=float(first.at))
    write(first.at, summary=_in_order(begin))
    for step in config.steps:
        scalars(step.at, step.n, step.metrics)
    if closed:
        if config.certified:
            scalars(last.at, last.n, config.certified)
        write(last.at, summary=_end(last.at))
    return memory.getvalue()


def _in_order(summary: Any) -> Any:
    """The same, with the map of its parameters in an order that no process has made up."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    plugin = summary.value[0].metadata.plugin_data
    data = HParamsPluginData.FromString(plugin.content)
    plugin.content = data.SerializeToString(deterministic=True)
    return summary


def _end(at: int) -> Any:
    """The end of a session; TensorBoard's own function for it imports TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    info = SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=float(at))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(HParamsPluginData(session_end_info=info)),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])
