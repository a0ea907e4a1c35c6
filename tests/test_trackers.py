"""What is logged of a run: read as it grows, brought to trackers that may fail, and read back."""

import dataclasses
import itertools
import json
import shutil
import struct
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from commands import refused, xortune
from drivers import claim_of, wait_until
from hand_made import CONFIG, TINY_SPACE, append, done, failed, solved, tiny_run, write_run

import xortune as xt
from xortune.core.audit import Audit
from xortune.core.outcome import Details
from xortune.core.trainer import AUDITED
from xortune.integrations import following as module
from xortune.integrations.following import RunFollower, following
from xortune.integrations.trackers import EVENT_FILE, events_of, mlflow_names
from xortune.runs import lock as run_lock

COMMITTED = Path(__file__).parents[1] / "reports" / "xor"
AWAY = "http://127.0.0.1:9"
STARTED = {"name": "hand", "started": "2026-01-02T03:04:05+00:00", "seed": 1}
OTHER = CONFIG | {"lr": 0.3, "activation": None}
MORE = done(1, OTHER, solved(2, 2, 2, epoch=300))
BLOCKS = (
    done(0, CONFIG, solved(0, 1, 2)),
    done(1, OTHER, solved(0, 2, 2, epoch=100)),
    failed(0, CONFIG, 2, 2, final=False),
    failed(0, CONFIG, 2, 2),
)


@pytest.fixture(scope="module", autouse=True)
def _at_home():
    """Files only; neither package tells its makers that it was used."""
    with pytest.MonkeyPatch.context() as patch:
        mlflow = "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE"
        for name in ("DO_NOT_TRACK", "WANDB_SILENT", *mlflow):
            patch.setenv(name, "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("WANDB_MODE", "offline")
        patch.delenv("WANDB_DIR", raising=False)
        yield


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", BLOCKS, **STARTED)


def logs_of(path):
    reader = RunFollower(path)
    reader.read_on()
    return list(reader.configs(reader.keys))


def test_of_a_real_run_all_configs_are_logged_with_the_numbers_of_its_table():
    table = xt.load_run(COMMITTED).table.set_index("key")
    found = logs_of(COMMITTED)
    assert {config.key for config in found} == set(table.index)
    for config in found:
        row = table.loc[config.key].dropna()
        last = config.steps[-1]
        assert last.metrics == {name: row[name] for name in last.metrics}
        assert last.n == row.n
        assert set(last.metrics) >= {"k", "n", "rate", "low", "high", "wrong_pattern", "crashed"}
        assert ("epochs_to_solve" in last.metrics) == (row.k > 0)
        assert all(one.n < other.n for one, other in itertools.pairwise(config.steps))
    certified = {config.key: config.certified for config in found if config.certified}
    for one in xt.load_run(COMMITTED).certificate.finalists:
        numbers = certified.pop(one.key)
        assert numbers["certified_k"] == one.k
        assert numbers["certified_lower_bound"] == one.lower_bound
    assert certified == {}


def test_a_reader_reads_on_and_begins_again_in_another_journal(tmp_path):
    write_run(tmp_path / "run", BLOCKS[:2], **STARTED)
    reader = RunFollower(tmp_path / "run")
    keys = reader.read_on()
    assert len(keys) == 2
    append(tmp_path / "run", failed(2, CONFIG | {"lr": 1.0}, 0, 2, final=False))
    assert reader.read_on() == []
    assert reader.keys == tuple(keys)  # what is tried again has no result yet
    append(tmp_path / "run", BLOCKS[3])
    assert reader.read_on() == keys[:1]
    assert [len(config.steps) for config in reader.configs(reader.keys)] == [2, 1]
    assert list(reader.configs(reader.keys)) == logs_of(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert reader.read_on() == []
    write_run(tmp_path / "run", BLOCKS[1:2])
    assert reader.read_on() == keys[1:]
    assert reader.keys == (keys[1],)


def test_a_run_whose_driver_elsewhere_was_killed_is_no_longer_running(run, monkeypatch):
    monkeypatch.setattr(run_lock, "_is_local", lambda _: False)
    claim_of(run.path, host="far", heartbeat=time.time())
    assert RunFollower(run.path).run().state == "running"
    claim_of(run.path, host="far", heartbeat=time.time() - 100)
    assert RunFollower(run.path).run().state == "stopped"


def memory(fails=0):
    """A tracker that keeps what it is told, and fails so many times."""
    tracker = Mock(live=True, options=("--memory", "its place"), told={}, states=[])
    tracker.name = "Memory"
    failures = iter([ConnectionError("nobody\nthere")] * fails)

    def write(run, configs):
        tracker.states.append(run.state)
        for failure in failures:
            raise failure
        tracker.told |= {config.key: config for config in configs}

    tracker.write = write
    return tracker


def grow(directory):
    """Write a run line by line, slower than it is read."""
    write_run(directory, BLOCKS[:1], **STARTED)
    for evaluation in (*BLOCKS[1:], MORE):
        append(directory, evaluation)
        time.sleep(0.05)


def test_a_tracker_is_told_all_that_a_search_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    tracker, failed_of = memory(), []
    with following(tmp_path / "run", [tracker], failed_of.append):
        grow(tmp_path / "run")
        wait_until(lambda: len(tracker.told) == 2)
    assert [len(config.steps) for config in tracker.told.values()] == [2, 2]
    assert tracker.states[-1] == "stopped"
    assert failed_of == []


def test_a_tracker_that_fails_is_said_once_with_the_command_that_sends_the_rest(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    tracker, other, said = memory(fails=1), memory(), []
    with following(tmp_path / "run", [tracker, other], said.append):
        grow(tmp_path / "run")
        wait_until(lambda: said)
    assert said == [
        "Memory could not be logged (nobody). The search is unaffected; "
        f"`xortune log {tmp_path}/run --memory 'its place'` sends what is missing"
    ]
    assert (len(tracker.states), tracker.told, len(other.told)) == (1, {}, 2)


def test_a_tracker_that_hangs_is_left_behind(run, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    over, tracker, said = threading.Event(), memory(), []
    tracker.write = lambda *_: over.wait(30)
    began = time.monotonic()
    with following(run.path, [tracker], said.append):
        pass
    assert time.monotonic() - began < 15  # it hangs for 30
    over.set()
    [sentence] = said
    assert "made no progress" in sentence


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nowhere to log to; fix: give --tensorboard, --mlflow, --wandb or --tracker"),
        (("--tensorboard", "{file}"), "{file}: cannot be written"),
        (("--mlflow", "localhost:5000"), "'localhost:5000' is not a tracking URI"),
        (("--mlflow", "http://me:secret@host"), "http://host: has a password in it"),
        (("--mlflow", AWAY), f"{AWAY}: MLflow fails (nobody answers at {AWAY}"),
        (("--wandb", "a/b/c"), "'a/b/c' is not a project"),
    ],
)
def test_what_is_not_usable_is_refused(run, tmp_path, words, message):
    file, began = tmp_path / "file", time.monotonic()
    file.touch()
    result = xortune("log", run.path, *[word.format(file=file) for word in words])
    assert "secret" not in refused(result, message.format(file=file))
    assert time.monotonic() - began < 60  # MLflow alone tries for minutes


def test_the_command_says_how_many_configurations_it_logged(tmp_path):
    tiny_run(tmp_path / "one", [solved(0, 3, 4, epochs=30)])
    result = xortune("log", tmp_path / "one", "--tensorboard", tmp_path / "logs", code=0)
    assert result.stdout == f"TensorBoard: 1 configuration in {tmp_path / 'logs'}\n"


@pytest.mark.usefixtures("no_ray")
def test_a_search_is_logged_and_a_tracker_that_is_away_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    result = xortune(
        *("search", tmp_path / "tiny.yaml", "--output", tmp_path / "run", "--quiet"),
        *("--tensorboard", "--mlflow", AWAY),
    )
    assert result.exit_code == 0, result.output
    [told] = [line for line in result.stderr.splitlines() if "could not be logged" in line]
    assert told.startswith(f"note: MLflow could not be logged (nobody answers at {AWAY}")
    assert told.endswith(f"`xortune log {tmp_path}/run --mlflow {AWAY}` sends what is missing")
    run = xt.load_run(tmp_path / "run")
    groups = session_groups(run.path / "tensorboard")
    assert set(groups) == {found.key for found in run.results}
    assert {group.sessions[0].status for group in groups.values()} == {1}
    before = sorted_files(run.path / "tensorboard")
    xt.log(run, [xt.TensorBoard()])
    assert sorted_files(run.path / "tensorboard") == before
    began = int(run.evaluations[0].at)  # trackers are told whole seconds
    assert all(group.sessions[0].start_time_secs >= began for group in groups.values())


# TensorBoard, by its own reader


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
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, slice_size=100)
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


def test_the_hparams_page_has_a_row_for_each_config(tmp_path):
    run = write_run(tmp_path / "run", [*BLOCKS, MORE], complete=True, **STARTED)
    assert xt.log(run, [xt.TensorBoard()]) == 2
    folder = run.path / "tensorboard"
    groups = session_groups(folder)
    assert set(groups) == {result.key for result in run.results}
    for result in run.results:
        group = groups[result.key]
        numbers = {metric.name.tag: metric for metric in group.metric_values}
        assert numbers["rate"].value == result.outcome.rate
        assert numbers["k"].training_step == numbers["n"].value == result.outcome.n
        shown = {
            name: value.number_value if value.HasField("number_value") else value.string_value
            for name, value in group.hparams.items()
        }
        shown["zero_grad"] = group.hparams["zero_grad"].bool_value
        assert shown == {k: v for k, v in result.point.items() if v is not None}
        [session] = group.sessions
        assert session.status == 1  # a success
    key = run.results[0].key
    assert scalars(folder)[key, "epochs_to_solve"] == [(2, 100.0), (4, 200.0)]


def test_lists_and_mappings_are_hyperparameters_as_json(tmp_path):
    parameters = {"widths": [16, 8], "options": {"nesterov": True}, "lr": 0.1}
    run = write_run(tmp_path / "run", [done(0, parameters, solved(0, 2, 2))], **STARTED)
    assert xt.log(run, [xt.TensorBoard()]) == 1
    [group] = session_groups(run.path / "tensorboard").values()
    shown = {name: group.hparams[name].string_value for name in ("widths", "options")}
    assert shown == {"widths": "[16, 8]", "options": '{"nesterov": true}'}


def test_files_are_appended_to_completed_or_replaced_and_no_link_is_followed(tmp_path):
    directory, logs = tmp_path / "run", tmp_path / "logs"
    write_run(directory, BLOCKS[:2], **STARTED)
    xt.log(directory, [xt.TensorBoard(logs)])
    before = sorted_files(logs)
    assert [file.parts[-3] for file in before] == [RunFollower(directory).run().title] * 2
    xt.log(str(directory), [xt.TensorBoard(str(logs))])
    assert sorted_files(logs) == before
    append(directory, *BLOCKS[2:], MORE)
    xt.log(directory, [xt.TensorBoard(logs)])
    whole = sorted_files(logs)
    assert set(whole) == set(before)
    assert all(whole[place].startswith(before[place]) for place in before)
    assert whole != before
    torn, other = whole
    torn.write_bytes(whole[torn][:-7])
    other.write_bytes(b"something else")
    xt.log(directory, [xt.TensorBoard(logs)])
    assert sorted_files(logs) == whole
    (tmp_path / "mine").touch()
    other.unlink()
    other.symlink_to(tmp_path / "mine")
    xt.log(directory, [xt.TensorBoard(logs)])
    assert sorted_files(logs) == whole
    assert not other.is_symlink()
    assert (tmp_path / "mine").read_bytes() == b""


def test_a_finished_config_is_closed_with_what_fresh_seeds_say(tmp_path):
    best = xt.load_run(COMMITTED).certificate.best
    [config] = [one for one in logs_of(COMMITTED) if one.key == best.key]
    still_open, closed = (events_of(config, closed=closed) for closed in (False, True))
    assert closed.startswith(still_open)
    file = tmp_path / best.key / EVENT_FILE
    file.parent.mkdir()
    file.write_bytes(still_open)
    assert (best.key, "certified_k") not in scalars(tmp_path)
    file.write_bytes(closed)
    found, step = scalars(tmp_path), config.steps[-1].n
    assert found[best.key, "certified_k"] == [(step, best.k)]
    assert found[best.key, "certified_lower_bound"] == [(step, pytest.approx(best.lower_bound))]


# MLflow, by its own reader


def mlflow_runs(uri, experiment="hand"):
    """By key (None: of the search) what MLflow has."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len({one.data.tags.get("xortune.key") for one in runs}) == len(runs)  # none twice
    return client, {one.data.tags.get("xortune.key"): one for one in runs}


def history(client, run, name):
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


def test_mlflow_has_a_run_for_each_config_and_a_second_call_adds_nothing(tmp_path, run):
    uri = (tmp_path / "mlruns").as_uri()
    assert xt.log(run, [xt.MLflow(uri)]) == 2
    first = {key: one.info.run_id for key, one in mlflow_runs(uri)[1].items()}
    append(run.path, MORE)
    for _ in range(2):
        xt.log(run, [xt.MLflow(uri)])
    client, runs = mlflow_runs(uri)
    assert {key: one.info.run_id for key, one in runs.items()} == first
    parent = runs.pop(None)
    assert parent.info.run_name == RunFollower(run.path).run().title
    assert parent.info.status == "KILLED"  # it was stopped
    results = xt.load_run(run.path).results
    assert set(runs) == {result.key for result in results}
    for result in results:
        one = runs[result.key]
        assert (one.info.run_name, one.info.status) == (result.key, "KILLED")
        assert one.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert one.data.params == {k: str(v) for k, v in result.point.items() if v is not None}
        assert one.data.metrics["rate"] == result.outcome.rate
        assert one.data.metrics["low"] == result.outcome.interval()[0]
        assert history(client, one, "n")[-1] == (result.outcome.n, result.outcome.n)
    mine = runs.pop(run.results[-1].key)
    assert history(client, mine, "k") == [(2, 1), (4, 1)]
    assert history(client, mine, "crashed") == [(2, 0), (4, 2)]
    [other] = runs.values()
    assert history(client, other, "epochs_to_solve") == [(2, 100), (4, 200)]


def test_what_an_audit_replaces_is_taken_back(tmp_path):
    stacked = [
        dataclasses.replace(
            line,
            outcome=dataclasses.replace(line.outcome, details=Details(audit=Audit(stacked=2))),
        )
        for line in BLOCKS[:2]
    ]
    run = write_run(tmp_path / "run", stacked, **STARTED)
    uri, folder = (tmp_path / "mlruns").as_uri(), tmp_path / "boards"
    trackers = [xt.MLflow(uri), xt.TensorBoard(), xt.TensorBoard(folder)]
    assert xt.log(run, trackers) == 2
    boards = (tmp_path / "run" / "tensorboard", folder)
    assert [len(list(place.rglob(EVENT_FILE))) for place in boards] == [2, 2]
    fault = failed(0, CONFIG, 0, 2, error=AUDITED, final=False)
    right = done(1, OTHER, solved(0, 1, 2))
    append(run.path, dataclasses.replace(fault, audit=Audit(fault="seed 1 differs")), right)
    for _ in range(2):
        assert xt.log(run, trackers) == 1
    client, runs = mlflow_runs(uri)
    assert set(runs) == {None, right.block.point.key}
    assert history(client, runs[right.block.point.key], "k") == [(2, 1)]
    for place in boards:
        [file] = place.rglob(EVENT_FILE)
        assert file.parent.name == right.block.point.key
    assert xt.status(run.path).seeds_done == 2
    assert len(xt.load_run(run.path).results) == 1


def test_names_that_mlflow_refuses_are_others_and_stay_apart():
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    given = ["lr", "a/b", "a:b", "..", "/x", "größe%", "a?b", "x" * 300, " "]
    names = mlflow_names({name: name for name in given})
    assert names["lr"] == "lr"
    assert list(names.values()) == given
    for name in names:
        _validate_metric_name(name)
        _validate_param_name(name)


# W&B, by the records in its files


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


def ended(file):
    """All records of a .wandb file, when the process of W&B that writes it has ended."""

    def found():
        return [*records(file)] if file.stat().st_size > 7 else []

    wait_until(lambda: [r.WhichOneof("record_type") for r in found()[-1:]] == ["exit"])
    return found()


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


def test_wandb_offline_holds_each_config_once(run):
    assert xt.log(run, [xt.WandB("robust")]) == 2
    before = sorted(run.path.glob("wandb/offline-run-*"))
    xt.log(run.path, [xt.WandB("robust")])
    assert sorted(run.path.glob("wandb/offline-run-*")) == before
    runs = wandb_runs(run.path)
    assert set(runs) == {result.key for result in run.results}
    for result in run.results:
        config, steps, *others = runs[result.key]
        assert {name: config[name] for name in result.point} == dict(result.point)
        assert steps[result.outcome.n]["rate"] == result.outcome.rate
        assert others == [RunFollower(run.path).run().title, "robust", 0]
    assert list(runs[run.results[-1].key][1]) == [2, 4]
    append(run.path, MORE)
    result = xortune("log", run.path, "--wandb", "robust")
    assert result.exit_code == 0, result.output
    assert [list(steps) for _, steps, *_ in wandb_runs(run.path).values()] == [[2, 4], [2, 4]]


def test_nobody_logged_in_to_wandb_is_told_before_anything_starts(run, monkeypatch, tmp_path):
    for name, value in (("WANDB_MODE", "online"), ("HOME", tmp_path), ("NETRC", tmp_path / "none")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    told = "nobody is logged in to W&B", "WANDB_MODE=offline"
    refused(xortune("log", run.path, "--wandb"), *told)
