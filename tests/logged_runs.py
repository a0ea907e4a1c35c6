"""A run that trackers are tried with, and what is logged of it."""

from pathlib import Path

from hand_made import CONFIG, done, failed, solved

from xortune.integrations.following import RunFollower as Reader
from xortune.integrations.trackers import EVENT_FILE

ROOT = Path(__file__).parents[1]
OTHER = CONFIG | {"lr": 0.3, "activation": None}
STARTED = {"name": "hand", "started": "2026-01-02T03:04:05+00:00", "seed": 1}
BLOCKS = (
    done(0, CONFIG, solved(0, 1, 2)),
    done(1, OTHER, solved(0, 2, 2, epoch=100)),
    failed(0, CONFIG, 2, 2, final=False),
    failed(0, CONFIG, 2, 2),
    done(1, OTHER, solved(2, 2, 2, epoch=300)),
)


def logged(path):
    reader = Reader(path)
    reader.read_on()
    return list(reader.configs(reader.keys))


def sorted_files(path):
    return {file: file.read_bytes() for file in sorted(path.rglob(EVENT_FILE))}


def session_groups(path):
    """By name what the HParams page shows, asked of its own backend."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.list_session_groups import Handler

    events = EventMultiplexer().AddRunsFromDirectory(str(path)).Reload()
    backend = Context(TBContext(data_provider=MultiplexerDataProvider(events, str(path))))
    wanted = [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN]
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=wanted, start_index=0, slice_size=100
    )
    answer = Handler(RequestContext(), backend, "", request).run()
    return {group.name: group for group in answer.session_groups}
