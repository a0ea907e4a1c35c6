"""What trackers hold: TensorBoard's and MLflow's by their own readers, W&B's by its records."""

import json
import struct
import time

from xortune.integrations.trackers import EVENT_FILE


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
    statuses = [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN]
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=statuses, start_index=0, slice_size=100
    )
    answer = Handler(RequestContext(), backend, "", request).run()
    return {group.name: group for group in answer.session_groups}


def scalars(path):
    """By run and tag the (step, value)s, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for file in path.rglob(EVENT_FILE):
        events = EventAccumulator(str(file.parent)).Reload()
        for tag in events.Tags()["scalars"]:
            found[file.parent.name, tag] = [(one.step, one.value) for one in events.Scalars(tag)]
    return found


def mlflow_runs(uri, experiment="hand"):
    """By key (None: of the search) what MLflow has."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len({one.data.tags.get("xortune.key") for one in runs}) == len(runs)  # none twice
    return client, {one.data.tags.get("xortune.key"): one for one in runs}


def history(client, run, name):
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


def records(file):
    """What a .wandb file holds: LevelDB's log format, blocks of 32 KiB, with W&B's records."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, block = file.read_bytes(), 1 << 15
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:  # no room for a header: the next block
            at += block - at % block
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


def items(found):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in found}


def ended(file, patience=20.0):
    """All records of a .wandb file, when the process of W&B that writes it has ended."""
    deadline = time.monotonic() + patience
    while True:
        found = list(records(file)) if file.stat().st_size > 7 else []
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        assert time.monotonic() < deadline, f"{file} has no end"
        time.sleep(0.05)


def wandb_runs(folder):
    """By key what W&B's files hold: config, history by step, group, project, exit code."""
    runs = {}
    for file in folder.glob("wandb/offline-run-*/run-*.wandb"):
        config, steps, group, project, code = {}, {}, "", "", None
        for record in ended(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                group, project = record.run.run_group, record.run.project
                config |= items(record.run.config.update)
            elif kind == "history":
                row = items(record.history.item)
                steps[row.pop("_step", record.history.step.num)] = row
            elif kind == "exit":
                code = record.exit.exit_code
        assert config["key"] not in runs  # none twice
        runs[config["key"]] = (config, steps, group, project, code)
    return runs
