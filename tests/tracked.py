"""What trackers hold, by their own readers, and their servers for as long as a test needs them."""

import json
import struct
import time

FOR_ALL = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
"""Neither package tells its makers that it was used."""


def runs_of(uri, experiment="hand"):
    """By key (None: of the search) what MLflow has."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id])
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
    """What a .wandb file holds, to its end: a process of W&B writes it, when it gets to it."""
    until = time.monotonic() + patience
    while True:
        found = list(records(file)) if file.stat().st_size > 7 else []
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        assert time.monotonic() < until, f"{file} has no end"
        time.sleep(0.05)


def wandb_runs(folder):
    """By key what W&B's files hold: config, history by step, summary, group, project, exit code."""
    runs = {}
    for file in folder.glob("wandb/offline-run-*/run-*.wandb"):
        config, steps, summary, group, project, code = {}, {}, {}, "", "", None
        for record in ended(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                group, project = record.run.run_group, record.run.project
                config |= items(record.run.config.update)
            elif kind == "history":
                row = items(record.history.item)
                steps[row.pop("_step", record.history.step.num)] = row
            elif kind == "summary":
                summary |= items(record.summary.update)
            elif kind == "exit":
                code = record.exit.exit_code
        assert config["key"] not in runs  # none twice
        runs[config["key"]] = (config, steps, summary, group, project, code)
    return runs
