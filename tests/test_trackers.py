"""What is logged of a run: read as it grows, brought to trackers that may fail."""

import shutil
import threading
import time

import pytest
from commands import xortune
from hand_made import TINY_SPACE, append, write_run
from logged_runs import BLOCKS, ROOT, STARTED, logged, session_groups, sorted_files

import xortune as xt
from xortune.integrations import following
from xortune.integrations.following import RunFollower as Reader
from xortune.integrations.following import logged as logged_in
from xortune.integrations.following import logging
from xortune.integrations.trackers import EVENT_FILE, TensorBoard, events_of
from xortune.runs.run import JOURNAL


class Memory:
    """A tracker that keeps what it is given, and fails while it is told to."""

    name, live, place = "Memory", True, "here"

    def __init__(self, fails=0):
        self.fails, self.configs, self.states = fails, {}, []

    def begin(self, _about):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("nobody\nthere")

    def log(self, config, _about):
        self.configs.setdefault(config.key, []).append(config)

    def end(self, about):
        self.states.append(about.state)


def test_of_a_real_run_all_configs_are_logged_with_the_numbers_of_its_table():
    table = xt.load_run(ROOT / "reports" / "xor").table.set_index("key")
    found = logged(ROOT / "reports" / "xor")
    assert {config.key for config in found} == set(table.index)
    for config in found:
        row = table.loc[config.key].dropna()
        last = config.steps[-1]
        assert last.metrics == {name: row[name] for name in last.metrics}
        assert last.n == row.n
        assert set(last.metrics) >= {"k", "n", "rate", "low", "high", "wrong_pattern", "crashed"}
        assert ("epochs_to_solve" in last.metrics) == (row.k > 0)
        sizes = [step.n for step in config.steps]
        assert sizes == sorted(set(sizes))
    certificate = xt.load_run(ROOT / "reports" / "xor").certificate
    certified = {config.key: config.certified for config in found if config.certified}
    assert set(certified) == {one.key for one in certificate.finalists}
    best = certificate.best
    assert certified[best.key]["certified_k"] == best.k
    assert certified[best.key]["certified_lower_bound"] == best.lower_bound


def test_a_reader_reads_on_and_a_line_that_is_being_written_waits(tmp_path):
    write_run(tmp_path / "run", BLOCKS[:2], **STARTED)
    reader = Reader(tmp_path / "run")
    keys = reader.read_on()
    assert len(keys) == 2
    assert reader.read_on() == []
    append(tmp_path / "run", BLOCKS[3])
    journal = tmp_path / "run" / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-10])
    assert reader.read_on() == []
    with journal.open("ab") as file:
        file.write(whole[-10:])
    assert reader.read_on() == keys[:1]
    assert [len(config.steps) for config in reader.configs(reader.keys)] == [2, 1]
    assert list(reader.configs(reader.keys)) == logged(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert reader.read_on() == []
    write_run(tmp_path / "run", BLOCKS[1:2])
    assert reader.read_on() == keys[1:]
    assert reader.keys == (keys[1],)


def test_a_tracker_that_fails_is_told_once_and_gets_all_when_it_is_there(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(following, "PAUSE_SECONDS", 0.01)
    tracker, directory = Memory(fails=3), tmp_path / "run"
    with logging(directory, [tracker]):
        write_run(directory, BLOCKS[:1], **STARTED)
        for evaluation in BLOCKS[1:]:
            append(directory, evaluation)
            time.sleep(0.05)
    assert [len(found[-1].steps) for found in tracker.configs.values()] == [2, 2]
    assert tracker.states == ["stopped"]
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("note: Memory could not be told (nobody)")
    assert f"xortune log {directory}" in said


def test_a_tracker_that_hangs_is_left_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.3)
    over = threading.Event()
    tracker = Memory()
    tracker.begin = lambda _: over.wait(30)
    write_run(tmp_path / "run", BLOCKS, **STARTED)
    began = time.monotonic()
    with logging(tmp_path / "run", [tracker]):
        pass
    assert time.monotonic() - began < 15  # it hangs for 30
    over.set()
    [said] = capsys.readouterr().err.splitlines()
    assert "Memory could not be told (did not get on for 0 s)" in said


# The command line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nowhere to log to; fix: give --tensorboard, --mlflow or --wandb"),
        (("--tensorboard", "{file}"), "{file}: cannot be written"),
        (("--mlflow", "localhost:5000"), "'localhost:5000' is not a tracking URI"),
        (("--mlflow", "http://me:secret@host"), "http://host: has a password in it"),
        (("--wandb", "a/b/c"), "'a/b/c' is not a project"),
    ],
)
def test_what_is_not_usable_is_refused(tmp_path, words, message):
    run = write_run(tmp_path / "run", BLOCKS, **STARTED)
    file = tmp_path / "file"
    file.write_text("")
    result = xortune("log", run.path, *[word.format(file=file) for word in words])
    assert result.exit_code == 2
    assert message.format(file=file) in result.stderr
    assert "secret" not in result.stderr


def test_a_link_in_a_run_is_not_written_through(tmp_path):
    run = write_run(tmp_path / "run", BLOCKS, **STARTED)
    mine = tmp_path / "mine"
    mine.write_text("")
    link = run.path / "tensorboard" / run.results[0].key / EVENT_FILE
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    xt.log(run, tensorboard=True)
    assert mine.read_text() == ""
    assert not link.is_symlink()


@pytest.mark.usefixtures("no_ray")
def test_a_search_is_logged_and_a_tracker_that_is_away_stops_nothing(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    away = "http://127.0.0.1:9"
    result = xortune(
        *("search", tmp_path / "tiny.yaml", "--output", tmp_path / "run", "--quiet"),
        *("--tensorboard", "--mlflow", away),
    )
    assert result.exit_code == 0, result.output
    [told] = [line for line in result.stderr.splitlines() if "could not be told" in line]
    assert told.startswith(f"note: MLflow could not be told (nobody answers at {away}")
    run = xt.load_run(tmp_path / "run")
    groups = session_groups(run.path / "tensorboard")
    assert set(groups) == {found.key for found in run.results}
    assert {group.sessions[0].status for group in groups.values()} == {1}
    before = sorted_files(run.path / "tensorboard")
    xt.log(run, tensorboard=True)
    assert sorted_files(run.path / "tensorboard") == before
    began = run.evaluations[0].at
    assert all(group.sessions[0].start_time_secs >= began for group in groups.values())


def scalars(path):
    """By run and tag the (step, value)s, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for file in path.rglob(EVENT_FILE):
        events = EventAccumulator(str(file.parent)).Reload()
        for tag in events.Tags()["scalars"] + events.Tags()["tensors"]:
            if not tag.startswith("_hparams_"):
                values = events.Scalars(tag) if tag in events.Tags()["scalars"] else []
                found[file.parent.name, tag] = [(one.step, one.value) for one in values]
    return found


def test_the_hparams_page_has_a_row_for_each_config(tmp_path):
    run = write_run(tmp_path / "run", BLOCKS, complete=True, **STARTED)
    assert xt.log(run, tensorboard=True) == 2
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


def test_a_second_call_changes_no_byte_and_more_seeds_are_appended(tmp_path):
    directory = tmp_path / "run"
    write_run(directory, BLOCKS[:2], **STARTED)
    files = sorted_files(directory)
    assert files == {}
    xt.log(directory, tensorboard=tmp_path / "logs")
    before = sorted_files(tmp_path / "logs")
    assert len(before) == 2
    xt.log(str(directory), tensorboard=str(tmp_path / "logs"))
    assert sorted_files(tmp_path / "logs") == before
    append(directory, *BLOCKS[2:])
    xt.log(directory, tensorboard=tmp_path / "logs")
    after = sorted_files(tmp_path / "logs")
    assert set(after) == set(before)
    assert all(after[place].startswith(before[place]) for place in before)
    xt.log(directory, tensorboard=tmp_path / "anew")
    assert list(after.values()) == list(sorted_files(tmp_path / "anew").values())
    assert after != before


def test_a_record_that_was_torn_is_completed_and_a_file_that_is_not_ours_replaced(tmp_path):
    directory = tmp_path / "run"
    write_run(directory, BLOCKS, **STARTED)
    logged_in(directory, [TensorBoard(tmp_path / "logs")])
    whole = sorted_files(tmp_path / "logs")
    for number, file in enumerate(whole):
        file.write_bytes(whole[file][:-7] if number else b"something else")
    logged_in(directory, [TensorBoard(tmp_path / "logs")])
    assert sorted_files(tmp_path / "logs") == whole


def test_a_finished_config_is_closed_with_what_fresh_seeds_say(tmp_path):
    copied = tmp_path / "xor"
    copied.mkdir()
    for name in ("evaluations.jsonl", "manifest.json", "certificate.json", "space.yaml"):
        shutil.copyfile(ROOT / "reports" / "xor" / name, copied / name)
    best = xt.load_run(copied).certificate.best
    [config] = [one for one in logged(copied) if one.key == best.key]
    for closed in (False, True):
        file = tmp_path / str(closed) / best.key / EVENT_FILE
        file.parent.mkdir(parents=True)
        file.write_bytes(events_of(config, closed=closed))
        found = scalars(tmp_path / str(closed))
        if closed:
            step = config.steps[-1].n
            assert found[best.key, "certified_k"] == [(step, best.k)]
            [(_, bound)] = found[best.key, "certified_lower_bound"]
            assert bound == pytest.approx(best.lower_bound)
        else:
            assert (best.key, "certified_k") not in found
    files = [(tmp_path / str(c) / best.key / EVENT_FILE).read_bytes() for c in (False, True)]
    assert files[1].startswith(files[0])
